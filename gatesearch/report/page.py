"""The report: one HTML file, made from ``record.json`` alone, that opens without a network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gatesearch._lib.files import write_whole
from gatesearch._lib.plugins import need
from gatesearch.errors import UserError
from gatesearch.report import figures, text
from gatesearch.report.fields import Record, can_stop, has_labels, quality_name, read
from gatesearch.report.figures.front import ungated_point
from gatesearch.report.sections import (
    comparison,
    energy,
    front,
    gate_names,
    headline,
    layers,
    parity,
    paths,
    plan,
    sensitivity,
    stream,
)

_FILTERS = {
    "percent": text.format_percent,
    "si": text.format_si,
    "micro": text.format_micro,
    "factor": text.format_factor,
    "value": text.format_value,
    "moment": text.format_moment,
    "kind": text.format_kind,
}


def write_page(run_dir: str | Path, record: Record | None = None) -> Path:
    """Write ``report.html`` into a run folder, from its ``record.json`` alone.

    A report can be written at any point of a run; it says "not yet" where the record has no value.

    Args:
        run_dir: the run folder.
        record: the record to show; None shows the record in ``record.json``. An unfinished run, which has no
            ``record.json`` yet, passes its record.

    Raises:
        UserError: the folder holds no readable ``record.json``.
    """
    folder = Path(run_dir)
    if record is None:
        record = _load_record(folder)
    return write_whole(folder / "report.html", render(record))


def render(record: Record) -> str:
    """Return the page as text.

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
    environment.filters |= _FILTERS
    pictures = figures.draw_pictures(record)
    svgs = {name: picture and Markup(picture.svg) for name, picture in pictures.items()}
    marks = {name: Markup(embed_json(picture.marks)) for name, picture in pictures.items() if picture and picture.marks}
    constants = Markup(embed_json(list_constants(record)))
    context = _describe_run(record) | _build_sections(record)
    return environment.get_template("template.html.j2").render(
        record=record,
        read=read,
        figures=svgs,
        marks=marks,
        constants_data=constants,
        pointer=Markup((Path(__file__).parent / "pointer.js").read_text(encoding="utf-8")),
        **context,
    )


def embed_json(value: Any) -> str:
    """Return a value as JSON that can stand in a ``<script>`` element.

    >>> embed_json(["</script>"])
    '["\\\\u003c/script>"]'
    """
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def list_constants(record: Record) -> list[list[str]]:
    """Return path, value with its unit, provenance and source of each constant, for the cards of marks."""
    return [
        [
            str(read(constant, "path", default="")),
            f"{text.format_value(read(constant, 'value'))} {read(constant, 'unit', default='')}".strip(),
            str(read(constant, "provenance", default="")),
            str(read(constant, "source", default="")),
        ]
        for constant in read(record, "constants", default=())
    ]


def parse_record(content: bytes) -> dict[str, Any]:
    """Return the record in the bytes of ``record.json``.

    Raises:
        ValueError: the bytes are not a JSON object.
    """
    # NaN and Infinity are not JSON and not results: the page shows both as "not yet".
    record = json.loads(content, parse_constant=lambda _: None)
    if not isinstance(record, dict):
        raise ValueError(f"holds a {type(record).__name__}, not a record")
    return record


def _load_record(folder: Path) -> Record:
    source = folder / "record.json"
    try:
        return parse_record(source.read_bytes())
    except FileNotFoundError as error:
        raise UserError(f"{source}: no such file; a run writes it: gatesearch run resume={folder}") from error
    except OSError as error:
        raise UserError(f"{source}: cannot be read: {error.strerror or error}") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{source}: not JSON ({error})") from error
    except ValueError as error:
        raise UserError(f"{source}: {error}") from error


def _describe_run(record: Record) -> dict[str, Any]:
    """Return the values of the whole run that several sections of the template use."""
    names, positives = read(record, "data", "classes", default=()), read(record, "data", "positive", default=())
    verdict = read(record, "verdict")  # records of version 0.1 have this line in place of headlines
    return {
        "headlines": read(record, "headlines", default=[verdict] if verdict else []),
        "can_stop": can_stop(record),
        "has_labels": has_labels(record),
        "quality": quality_name(record),
        "provenance": headline.build_provenance(record),
        "classes": list(zip(names, positives, strict=False)),
        "plan_json": json.dumps(read(record, "plan"), ensure_ascii=False) if read(record, "plan") else None,
        "versions": read(record, "machine", "versions", default={}),
    }


def _build_sections(record: Record) -> dict[str, Any]:
    """Return the tables, tiles and sentences of the sections."""
    ungated = ungated_point(record)
    return {
        "gate_kinds": gate_names.describe_kinds(record),
        "tiles": headline.build_tiles(record),
        "comparison": comparison.build_table(record),
        "stream": stream.build_table(record),
        "stream_sentence": stream.describe_stream(record),
        "stream_groups": stream.build_groups(record),
        "stream_power": stream.describe_power(record),
        "stream_gain": stream.describe_gain(record),
        "stream_signal": stream.describe_signal(record),
        "stream_bound": stream.describe_perfect(record),
        "stream_listening": stream.describe_listening(record),
        "stream_parts": stream.build_parts(record),
        "stream_missing": stream.list_missing(record),
        "stages": plan.build_stages(record),
        "frontend_colour": plan.core_colour(record, read(record, "frontend", "core")),
        "front": front.build_table(record),
        "front_is_timed": front.is_timed(record),
        "ungated_origin": ungated.origin if ungated else None,
        "layers": layers.build_table(record),
        "layer_columns": list(layers.list_columns(record).values()),
        "layer_totals": layers.total_macs(record),
        "layer_share": layers.share_left(record),
        "kernel_sources": layers.list_kernel_sources(record),
        "kernel_provenances": layers.list_kernel_provenances(record),
        "routings": paths.build_table(record),
        "path_costs": paths.build_costs(record),
        "published": paths.PUBLISHED,
        "terms": energy.build_table(record),
        "stream_ratio": energy.stream_ratio(record),
        "confusions": parity.list_confusions(record),
        "assumed_constants": sensitivity.build_table(record),
        "sensitivity_sentences": sensitivity.build_sentences(record),
    }
