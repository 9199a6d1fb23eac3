"""Prints what is in a scene: tables of events and backgrounds, and a timeline (`gatesearch scene`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from gatesearch._lib import console
from gatesearch._lib.format import format_duration, format_percent
from gatesearch.data.scenes import Outline
from gatesearch.data.scenes.check import smallest_claim

SNR_BAND_DB = 5
BAR_CHARACTERS = 30
LINE_CHARACTERS, MAX_LINES = 72, 6
MANY_EVENTS = 9  # largest number of events that one character of the timeline can show


def describe_outline(outline: Outline) -> dict[str, Any]:
    """Return what is in a scene as plain values, for programs."""
    return {
        "name": outline.name,
        "split": outline.split,
        "seconds": outline.seconds,
        "sample_rate": outline.rate,
        "events": len(outline.events),
        "events_by_class": dict(Counter(event.label for event in outline.events)),
        "background_seconds": _sum_backgrounds(outline),
        "events_by_background": dict(Counter(event.background or "-" for event in outline.events)),
        "events_by_snr": _count_snr(outline),
        "recordings": len(outline.recordings),
        "speakers": len(outline.speakers),
        "smallest_claim_fa_per_hour": smallest_claim(outline.hours),
    }


def print_outline(outline: Outline) -> None:
    """Print what is in a scene: its length, events, backgrounds, signal-to-noise ratios, and a timeline."""
    print_overview([outline])
    lengths: dict[str, list[float]] = {}
    for event in outline.events:
        lengths.setdefault(event.label, []).append(event.end_s - event.start_s)
    rows = [(label, len(own), sum(own) / len(own)) for label, own in sorted(lengths.items())]
    console.say()
    console.table("events by class", ("class", "events", "mean length (s)"), rows)
    seconds = _sum_backgrounds(outline)
    events = Counter(event.background for event in outline.events)
    console.say()
    console.table(
        "backgrounds",
        ("kind", "length", "share", "events"),
        [
            (kind, format_duration(length), format_percent(length / outline.seconds), events[kind])
            for kind, length in seconds.items()
        ],
    )
    bands = _count_snr(outline)
    if bands:
        highest = max(bands.values())
        console.say()
        console.table(
            "events by signal-to-noise ratio",
            ("band", "events", ""),
            [(band, count, "#" * round(BAR_CHARACTERS * count / highest)) for band, count in bands.items()],
        )
    console.say()
    for line in draw_timeline(outline):
        console.say(line)


def print_overview(outlines: Sequence[Outline]) -> None:
    """Print a row for each scene: length, events, and the lowest rate of false accepts that its length can prove."""
    console.table(
        f"{len(outlines)} scenes" if len(outlines) > 1 else f"scene {outlines[0].name}",
        ("scene", "split", "length", "rate (Hz)", "events", "recordings", "speakers", "provable FA/h"),
        [
            (
                outline.name,
                outline.split,
                format_duration(outline.seconds),
                f"{outline.rate:g}",
                len(outline.events),
                len(outline.recordings),
                len(outline.speakers),
                smallest_claim(outline.hours),
            )
            for outline in outlines
        ],
    )


def draw_timeline(outline: Outline) -> list[str]:
    """Return lines that show the scene over time: a letter for the background, below it the number of events.

    >>> from gatesearch.metrics.streams.events import Background, Event
    >>> events = (Event("yes", 1.0, 2.0), Event("yes", 50.0, 51.0))
    >>> backgrounds = (Background("quiet", 0, 36), Background("speech", 36, 72))
    >>> toy = Outline(name="toy", rate=10, length=720, classes=("yes",), events=events, segments=backgrounds)
    >>> for line in draw_timeline(toy):
    ...     print(line)
    timeline: 1 s a character; q quiet, s speech; events below
       0 s qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqssssssssssssssssssssssssssssssssssss
           .1................................................1.....................
    """
    seconds = outline.seconds
    step = max(1.0, seconds / (LINE_CHARACTERS * MAX_LINES))
    count = max(1, -int(-seconds // step))
    letters = _choose_letters([segment.kind for segment in outline.segments])
    backgrounds = ["."] * count
    for index in range(count):
        middle = (index + 0.5) * step
        kinds = (segment.kind for segment in outline.segments if segment.start_s <= middle < segment.end_s)
        kind = next(kinds, None)
        backgrounds[index] = "." if kind is None else letters[kind]
    counts = Counter(min(count - 1, int(event.start_s / step)) for event in outline.events)
    marks = ["." if not counts[index] else str(min(counts[index], MANY_EVENTS)) for index in range(count)]
    legend = ", ".join(f"{letter} {kind}" for kind, letter in letters.items())
    lines = [f"timeline: {step:.3g} s a character; {legend or 'no backgrounds'}; events below"]
    for first in range(0, count, LINE_CHARACTERS):
        last = first + LINE_CHARACTERS
        lines.append(f"{format_duration(first * step):>6} {''.join(backgrounds[first:last])}")
        lines.append(f"{'':6} {''.join(marks[first:last])}")
    return lines


def _choose_letters(kinds: Sequence[str]) -> Mapping[str, str]:
    """Return a letter for each kind of background: the first letter of its name that is still free."""
    letters: dict[str, str] = {}
    for kind in sorted(set(kinds)):
        own = next((c for c in kind.lower() if c.isalpha() and c not in letters.values()), "?")
        letters[kind] = own
    return letters


def _sum_backgrounds(outline: Outline) -> dict[str, float]:
    seconds: Counter[str] = Counter()
    for segment in outline.segments:
        seconds[segment.kind] += segment.end_s - segment.start_s  # type: ignore[assignment]
    return {kind: float(length) for kind, length in sorted(seconds.items())}


def _count_snr(outline: Outline) -> dict[str, int]:
    """Return the number of events in each band of signal-to-noise ratios, also of empty bands between others."""
    bands = Counter(int(event.snr_db // SNR_BAND_DB) for event in outline.events if event.snr_db is not None)
    if not bands:
        return {}
    numbers = range(min(bands), max(bands) + 1)
    return {f"{number * SNR_BAND_DB} to {(number + 1) * SNR_BAND_DB} dB": bands[number] for number in numbers}
