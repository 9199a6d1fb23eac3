"""The report: one HTML file, made from ``record.json`` alone, that opens without a network."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gatesearch._lib.plugins import need
from gatesearch.errors import UserError
from gatesearch.report import figures, layer_view, paths_view, plan_view, sensitivity_view, values
from gatesearch.report.figures_search import trained, ungated_point
from gatesearch.report.headline import comparison, provenance, tiles
from gatesearch.report.values import Record, at

_FRONT_ROWS = 12


def write(run_dir: str | Path, record: Record | None = None) -> Path:
    """Write ``report.html`` into a run folder, from its ``record.json`` and nothing else.

    Works at any point of a run: what the record does not hold yet is shown as "not yet". The file replaces an
    older one in one step, so that a reader never meets half a page.

    Args:
        run_dir: the run folder.
        record: what to show in place of ``record.json``, of a run that has not got so far.

    Raises:
        UserError: the folder holds no readable ``record.json``.
    """
    source = Path(run_dir) / "record.json"
    if record is not None:
        return _replace(source.with_name("report.html"), render(record))
    try:
        # NaN and Infinity are not JSON and not results: both read as "not yet".
        record = json.loads(source.read_text(encoding="utf-8"), parse_constant=lambda _: None)
    except FileNotFoundError as error:
        raise UserError(f"{source}: no such file; a run writes it: gatesearch run resume={run_dir}") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{source}: not JSON ({error})") from error
    if not isinstance(record, dict):
        raise UserError(f"{source}: holds a {type(record).__name__}, not a record")
    return _replace(source.with_name("report.html"), render(record))


def render(record: Record) -> str:
    """Return the report as text.

    >>> page = render({"title": "an empty run"})
    >>> "an empty run" in page and "not yet" in page
    True
    """
    need("report", "jinja2", "matplotlib")
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        name: getattr(values, name)
        for name in ("percent", "points", "si", "micro", "times", "plain", "moment", "kind_label")
    }
    drawn = {name: svg and Markup(svg) for name, svg in figures.draw(record).items()}
    ungated = ungated_point(record)
    return environment.get_template("template.html.j2").render(
        r=record,
        at=at,
        figures=drawn,
        tiles=tiles(record),
        comparison=comparison(record),
        known=provenance(record),
        stages=plan_view.stages(record),
        frontend_colour=plan_view.colour(record, at(record, "frontend", "core")),
        front=_front(record),
        front_timed=any(at(trial, "measured_path_us") is not None for trial in _front(record)),
        layers=layer_view.table(record),
        layer_columns=list(layer_view.observed(record).values()),
        layer_totals=layer_view.totals(record),
        layer_share=layer_view.share_left(record),
        kernels_known=sorted({at(row, "kernels", "provenance", default="assumed") for row in _layers(record)}),
        kernels={
            at(row, "core"): at(row, "kernels", "source") for row in _layers(record) if at(row, "kernels", "source")
        },
        stops=values.stops(record),
        labelled=values.labelled(record),
        quality=values.quality_word(record),
        ways=paths_view.table(record),
        path_costs=paths_view.costs(record),
        published=paths_view.PUBLISHED,
        ungated_from=ungated and ungated[2],
        terms=_terms(record),
        stream_share=_ratio(at(record, "streaming", "gated_us"), at(record, "streaming", "ungated_us")),
        classes=list(
            zip(
                at(record, "data", "classes", default=()),
                at(record, "data", "positive", default=()),
                strict=False,
            )
        ),
        confusions=list(_flat(at(record, "parity", "confusions", default={}))),
        plan_json=json.dumps(at(record, "plan"), ensure_ascii=False) if at(record, "plan") else None,
        moved=sensitivity_view.table(record),
        moved_told=sensitivity_view.sentences(record),
        versions=at(record, "machine", "versions", default={}),
    )


def _front(record: Record) -> list[Mapping[str, Any]]:
    best = at(record, "best", "digest")
    chosen = [t for t in trained(record) if at(t, "on_front", default=False) or (best and at(t, "digest") == best)]
    kinds = at(record, "layer_kinds", default=())
    return [
        {**trial, "told": "; ".join(layer_view.told(at(trial, "plan", "gates", default=()), kinds))}
        for trial in sorted(chosen, key=lambda trial: float(trial["expected_energy_uj"]))[:_FRONT_ROWS]
    ]


def _layers(record: Record) -> list[Mapping[str, Any]]:
    return list(at(record, "layers", default=()))


def _terms(record: Record) -> list[tuple[str, float, float | None, float | None]]:
    """Return name, µJ per window, share of the total, and the ungated µJ; largest first."""
    terms = {name: at(record, "energy", "by_term", name) for name in at(record, "energy", "by_term", default={})}
    known = {name: value for name, value in terms.items() if value is not None}
    total = sum(known.values())
    rows = sorted(known.items(), key=lambda row: -row[1])
    ungated = at(record, "energy", "ungated_by_term", default={})
    return [(name, value, value / total if total else None, at(ungated, name)) for name, value in rows]


def _ratio(one: float | None, other: float | None) -> float | None:
    return None if one is None or not other else one / other


def _flat(tree: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(tree, Mapping):
        for key, branch in tree.items():
            yield from _flat(branch, f"{path}, {key}" if path else str(key))
    else:
        yield path, json.dumps(tree) if isinstance(tree, list) else values.plain(tree)


def _replace(path: Path, text: str) -> Path:
    with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".html.part", delete=False, encoding="utf-8") as file:
        try:
            file.write(text)
            file.flush()
            os.chmod(file.name, 0o644)  # temporary files are private, reports are for sharing
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise
    return path
