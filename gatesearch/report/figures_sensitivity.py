"""How far the gain moves with each assumed constant: a tornado, groups on top."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gatesearch.report.sensitivity_view import gains, shown
from gatesearch.report.style import GATED, INK, MUTED, PAPER, PICKED, figure
from gatesearch.report.values import TIMES, Record, at

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LESS, _MORE = "#e69f00", GATED


def tornado(record: Record) -> Figure | None:
    """Draw, for the groups and the ten constants that matter most, the gain at the least and at the most of each."""
    from matplotlib.patches import Patch

    nominal = at(record, "sensitivity", "nominal", "gain")
    rows = shown(record)
    if nominal is None or not rows:
        return None
    groups = sum(at(row, "value") is None for row in rows)
    # A gap sets the groups apart from the constants that they are made of.
    places = [-place - (0.6 if place >= groups else 0.0) for place in range(len(rows))]
    drawing = figure(6.2, 1.15 + 0.27 * len(rows))
    axes = drawing.subplots()
    for place, row in zip(places, rows, strict=True):
        for factor, gain in gains(row):
            colour = _LESS if factor < 1 else _MORE
            axes.barh(place, gain - nominal, 0.62, left=nominal, color=colour, edgecolor=PAPER, linewidth=0.4)
        _ends(axes, place, row)
    axes.axvline(nominal, color=INK, linewidth=1.0)
    axes.set_yticks(places, [_name(row) for row in rows])
    for text, row in zip(axes.get_yticklabels(), rows, strict=True):
        if at(row, "other_plan"):
            text.set_color(PICKED)
    axes.margins(x=0.13)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("energy gain of the picked plan, end to end")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}{TIMES}")
    factors = [factor for factor, _ in gains(rows[0])]
    less, more = (f"{100 * (factor - 1):+.0f} %".replace("-", "\u2212") for factor in (factors[0], factors[-1]))
    keys = [Patch(color=_LESS, label=less), Patch(color=_MORE, label=more)]
    if any(at(row, "other_plan") for row in rows):
        keys.append(Patch(color=PICKED, label="in this colour: another plan is picked"))
    drawing.legend(handles=keys, loc="outside lower center", ncols=3, handlelength=1.2, columnspacing=1.4)
    return drawing


def _ends(axes: Any, place: float, row: Mapping[str, Any]) -> None:
    """Write the gains at either end of a row beside its bars, unless they are one and the same."""
    found = [gain for _, gain in gains(row)]
    low, high = min(found), max(found)
    digits = 3 if high - low > 0.02 * high else 4
    texts = f"{low:.{digits}g}", f"{high:.{digits}g}"
    for gain, text, side in ((low, texts[0], -1), (high, texts[1], 1)):
        if texts[0] != texts[1]:
            align = "right" if side < 0 else "left"
            axes.annotate(
                text,
                (gain, place),
                (4 * side, 0),
                textcoords="offset points",
                ha=align,
                va="center",
                fontsize=7,
                color=MUTED,
            )


def _name(row: Mapping[str, Any]) -> str:
    """Name a row as the table of constants does, less what all names begin with."""
    name: str = at(row, "name", default="?")
    return name.removeprefix("cores.").replace(".timing.", ".")
