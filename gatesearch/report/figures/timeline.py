"""Figures of the test stream over time: level, parts that ran, events, detections and power."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from gatesearch.report.fields import Record, read
from gatesearch.report.marks import Card, mark_box, mark_point
from gatesearch.report.stream_names import part_colours
from gatesearch.report.style import INK, PAPER, figure, legend_below
from gatesearch.report.text import format_kind, format_si

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colours of the stream's kinds of background, in the order of their names.
BACKGROUNDS = ("#009e73", "#e69f00", "#d55e00", "#6b7280", "#8d7cb8", "#56b4e9", "#cc79a7", "#0072b2")
DETECTED, MISSED, FALSE = "#009e73", "#d55e00", "#cc79a7"
_MINUTE_S = 60.0
_ROW_HEIGHT = 0.6


def draw_detail(record: Record) -> Figure | None:
    """Draw in detail one minute of the test stream, which the record picks for the errors and events in it."""
    detail = read(record, "stream", "timeline", "detail")
    if detail is None:
        return None
    return _draw(record, detail, read(detail, "start_s"), read(detail, "end_s"), unit_s=1.0)


def draw_whole(record: Record) -> Figure | None:
    """Draw the whole test stream."""
    whole, seconds = read(record, "stream", "timeline", "whole"), read(record, "stream", "timeline", "seconds")
    if whole is None or not seconds:
        return None
    return _draw(record, whole, 0.0, seconds, unit_s=1.0 if seconds < 3 * _MINUTE_S else _MINUTE_S)


def draw_power(record: Record) -> Figure | None:
    """Draw the mean power of each part over the test stream, stacked."""
    whole = read(record, "stream", "timeline", "whole")
    power, times = read(whole, "power_mw", default={}), read(whole, "times_s", default=())
    seconds = read(record, "stream", "timeline", "seconds")
    if not power or not seconds:
        return None
    colours = part_colours(list(power))
    unit_s = 1.0 if seconds < 3 * _MINUTE_S else _MINUTE_S
    drawing = figure(5.8, 2.8)
    axes = drawing.subplots()
    edges = [time / unit_s for time in [*times, seconds]]
    below = [0.0] * len(times)
    for name, values in power.items():
        above = [low + value for low, value in zip(below, values, strict=True)]
        axes.fill_between(
            edges,
            [*below, below[-1]],
            [*above, above[-1]],
            step="post",
            color=colours[name],
            linewidth=0,
            label=name,
        )
        below = above
    for k, (start, end) in enumerate(pairwise(edges)):
        rows = [(name, format_si(values[k] / 1e3, "W"), "modelled") for name, values in power.items()]
        total = ("all parts", format_si(below[k] / 1e3, "W"), "modelled")
        card = Card(f"{start * unit_s:.0f} to {end * unit_s:.0f} s: mean power", (*rows, total))
        mark_box(axes, (start, end), (0.0, below[k]), card)
    rival = _mean_power(record, "ungated_hops")
    if rival is not None:
        axes.axhline(rival, color=INK, linewidth=1.2, linestyle="--", label="ungated, hop by hop (mean)")
    axes.set_xlim(0, edges[-1])
    axes.set_ylim(bottom=0)
    axes.set_xlabel(f"time in the stream ({'s' if unit_s == 1 else 'min'})")
    axes.set_ylabel("mean power (mW)")
    legend_below(drawing, axes, columns=3)
    return drawing


def _mean_power(record: Record, rival: str) -> float | None:
    power: float | None = read(record, "stream", "rivals", rival, "mean_power_mw")
    return power


def _draw(record: Record, curve: Mapping[str, Any], start_s: float, end_s: float, unit_s: float) -> Figure:
    """Draw level, parts and events of a stretch, one above the other on one axis of time."""
    timeline = read(record, "stream", "timeline")
    opens = read(timeline, "open", default={})
    levels = read(curve, "level_db", default=())
    heights = [1.3] * bool(levels) + [0.34 * (len(opens) + 2) + 0.25]
    drawing = figure(5.8, 1.15 + sum(heights))
    panels = drawing.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    everywhere = read(timeline, "segments", default=())
    kinds = sorted({each["kind"] for each in everywhere})  # a kind has the same colour in both figures
    colours = {kind: BACKGROUNDS[place % len(BACKGROUNDS)] for place, kind in enumerate(kinds)}
    segments = [each for each in everywhere if _overlaps(each, start_s, end_s)]
    if levels:
        axes = panels[0]
        for each in segments:
            left, right = max(each["start_s"], start_s), min(each["end_s"], end_s)
            axes.axvspan(left / unit_s, right / unit_s, color=colours[each["kind"]], alpha=0.16, linewidth=0)
        axes.plot([time / unit_s for time in read(curve, "times_s", default=())], levels, color=INK, linewidth=0.9)
        axes.set_ylabel("level (dB)")
    _draw_rows(panels[-1], timeline, opens, start_s, end_s, unit_s)
    panels[-1].set_xlim(start_s / unit_s, end_s / unit_s)
    panels[-1].set_xlabel(f"time in the stream ({'s' if unit_s == 1 else 'min'})")
    _add_legend(drawing, colours if levels else {}, segments)
    return drawing


def _draw_rows(
    axes: Axes, timeline: Mapping[str, Any], opens: Mapping[str, Any], start_s: float, end_s: float, unit_s: float
) -> None:
    """Draw a row for each part on demand, one for events, and one for detections."""
    colours = part_colours(list(opens))
    rows = [*opens, "events", "detections"]
    places = {name: len(rows) - 1 - place for place, name in enumerate(rows)}
    least_s = (end_s - start_s) / 700  # narrower bars would be invisible
    for name, stretches in opens.items():
        inside = [(a, b) for a, b in stretches if b >= start_s and a <= end_s]
        bars = [(a / unit_s, max(b - a, least_s) / unit_s) for a, b in inside]
        place = places[name]
        axes.broken_barh(bars, (place - _ROW_HEIGHT / 2, _ROW_HEIGHT), facecolors=colours[name], linewidth=0)
        if end_s - start_s > _MINUTE_S:
            continue  # bars of a longer stretch are too narrow to point at
        for (start, end), (left, width) in zip(inside, bars, strict=True):
            card = Card(f"{name} runs", (("from", f"{start:.2f} s", ""), ("to", f"{end:.2f} s", "")))
            edges = max(left, start_s / unit_s), min(left + width, end_s / unit_s)
            mark_box(axes, edges, (place - _ROW_HEIGHT / 2, place + _ROW_HEIGHT / 2), card)
    for detected, colour in ((True, DETECTED), (False, MISSED)):
        events = [
            event
            for event in read(timeline, "events", default=())
            if event["detected"] is detected and _overlaps(event, start_s, end_s)
        ]
        bars = [(e["start_s"] / unit_s, max(e["end_s"] - e["start_s"], least_s) / unit_s) for e in events]
        axes.broken_barh(bars, (places["events"] - _ROW_HEIGHT / 2, _ROW_HEIGHT), facecolors=colour, linewidth=0)
        for event, (left, width) in zip(events, bars, strict=True):
            card = _event_card(event)
            place = places["events"]
            mark_box(axes, (left, left + width), (place - _ROW_HEIGHT / 2, place + _ROW_HEIGHT / 2), card)
    for is_false, colour, marker in ((False, DETECTED, "v"), (True, FALSE, "X")):
        detections = [
            each
            for each in read(timeline, "detections", default=())
            if each["false"] is is_false and start_s <= each["time_s"] <= end_s
        ]
        times = [each["time_s"] / unit_s for each in detections]
        if not times:  # the layout would make room for a line without points
            continue
        for each, time in zip(detections, times, strict=True):
            mark_point(axes, time, places["detections"], _detection_card(each))
        axes.plot(
            times,
            [places["detections"]] * len(times),
            marker,
            color=colour,
            markersize=7 if is_false else 5,
            markeredgecolor=PAPER,
            markeredgewidth=0.4,
            linestyle="none",
            clip_on=False,
            zorder=5 if is_false else 4,
        )
    axes.set_yticks(list(places.values()), list(places))
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)


def _event_card(event: Mapping[str, Any]) -> Card:
    outcome = "detected" if event["detected"] else "missed"
    rows = (("from", f"{event['start_s']:.2f} s", ""), ("to", f"{event['end_s']:.2f} s", ""))
    return Card(f"event {format_kind(read(event, 'label', default=''))}, {outcome}", rows)


def _detection_card(detection: Mapping[str, Any]) -> Card:
    confidence = read(detection, "confidence")
    rows = [("time", f"{detection['time_s']:.2f} s", "")]
    if confidence is not None:
        rows.append(("confidence", f"{confidence:.2f}", "measured"))
    label = format_kind(read(detection, "label", default=""))
    return Card(f"false accept {label}" if detection["false"] else f"detection {label}", tuple(rows))


def _add_legend(drawing: Figure, colours: Mapping[str, str], segments: Sequence[Mapping[str, Any]]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    kinds = list(dict.fromkeys(each["kind"] for each in segments)) if colours else []
    handles: list[Any] = [Patch(color=DETECTED, label="event, detected"), Patch(color=MISSED, label="event, missed")]
    for marker, colour, label in (("v", DETECTED, "detection"), ("X", FALSE, "false accept")):
        handles.append(Line2D([], [], marker=marker, color=colour, linestyle="none", markersize=6, label=label))
    handles += [Patch(color=colours[kind], alpha=0.3, label=format_kind(kind).replace("_", " ")) for kind in kinds]
    drawing.legend(handles=handles, loc="outside lower center", ncols=4, handlelength=1.3, columnspacing=1.3)


def _overlaps(stretch: Mapping[str, Any], start_s: float, end_s: float) -> bool:
    return bool(stretch["end_s"] >= start_s and stretch["start_s"] <= end_s)
