"""The look of every figure: colours, matplotlib settings, and SVG that can be put into an HTML page."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

from gatesearch._lib.plugins import need

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


INK, MUTED, GRID, PAPER = "#1f2933", "#5f6b76", "#e4e8ec", "#ffffff"
GATED, UNGATED, PICKED = "#0072b2", "#6b7280", "#d55e00"
POSITIVE, STREAM = "#0072b2", "#3b4652"
# The colour-blind safe set of Okabe and Ito, without black, yellow and the blue of POSITIVE.
NEGATIVES = ("#e69f00", "#d55e00", "#cc79a7", "#56b4e9", "#009e73")
# Each hue darkens with the cost of the core, so that a grey print shows the order.
CORES = ("#7fbfa9", "#2f8f78", "#0d4f45", "#8d7cb8", "#4b3b7a")
# The terms of a window's energy.
TERMS = {
    "sense": "#b4bcc4",
    "frontend": "#56b4e9",
    "compute": "#0072b2",
    "weights": "#003f66",
    "link": "#e69f00",
    "wake": "#d55e00",
    "idle": "#dfe3e7",
}

_RC: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # names come from users, and a dollar sign in a name starts no formula
    "font.family": "sans-serif",
    "font.size": 8.5,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 8.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.5,
}


def settings() -> Any:
    """Return a context in which figures are drawn and saved with the report's settings, not the user's."""
    need("report", "matplotlib")
    import matplotlib as mpl

    return mpl.rc_context(_RC)


def figure(width: float = 4.8, height: float = 3.0) -> Figure:
    """Return an empty figure of the given size in inches, without a window system or global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", facecolor=PAPER)


def legend_below(figure: Figure, axes: Axes, columns: int = 3) -> None:
    """Put the legend of the axes under the figure, where it hides no data."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, handlelength=1.6, columnspacing=1.4)


def clear_row_axis(axes: Axes) -> None:
    """Drop grid lines and ticks beside horizontal bars, because each bar stands beside its name."""
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)


def core_colours(cores: tuple[str, ...]) -> dict[str, str]:
    """Return a colour for each core."""
    return {core: CORES[place % len(CORES)] for place, core in enumerate(cores)}


def kind_colours(kinds: tuple[str, ...]) -> dict[str, str]:
    """Return a colour for each kind of input, and for the stream that mixes them."""
    negatives = [kind for kind in kinds if kind != "positive"]
    colours = {kind: NEGATIVES[place % len(NEGATIVES)] for place, kind in enumerate(negatives)}
    return {"positive": POSITIVE, **colours, "stream": STREAM}


def inline_svg(drawing: Figure, name: str, label: str) -> str:
    """Return the figure as an ``<svg>`` element for a page that holds several of them.

    Text stays text, in the page's own font. Identifiers contain the figure's name, so that no two figures share an
    identifier. Nothing in the element refers to anything outside the page.
    """
    import matplotlib as mpl

    with mpl.rc_context({**_RC, "svg.hashsalt": name}):
        target = io.StringIO()
        drawing.savefig(target, format="svg", metadata={"Creator": None, "Date": None, "Format": None, "Type": None})
    text = target.getvalue()
    head, rest = text[text.index("<svg") :].split(">", 1)
    view = re.search(r'viewBox="[^"]*"', head)
    rest = re.sub(r"<metadata>.*?</metadata>", "", rest, flags=re.DOTALL).replace("xlink:href", "href")
    rest = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", rest)
    label = label.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return f'<svg {view.group(0) if view else ""} role="img" aria-label="{label}">{rest.strip()}'
