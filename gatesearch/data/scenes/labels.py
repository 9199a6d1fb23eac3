"""Reads a user's recording as a scene: a WAV file and a label track, either Audacity's or CSV."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from gatesearch import errors
from gatesearch._lib import console
from gatesearch._lib.files import read_bytes
from gatesearch.data import wav, wav_blocks
from gatesearch.data.scenes.sources import KINDS, digest_samples
from gatesearch.data.scenes.types import UNLABELLED as UNLABELLED_IN_PROGRAM
from gatesearch.data.scenes.types import Scene, fill_gaps
from gatesearch.data.waveforms import resample
from gatesearch.errors import UserError
from gatesearch.metrics.streams.events import Background, Event

TRACK_SUFFIXES = (".txt", ".csv")
ROUNDING_S = 0.001  # the last label may exceed the recording by this time, because label tracks round
UNLABELLED = "recording"  # kind of background if no label of the track marks one
RESERVED = (UNLABELLED, UNLABELLED_IN_PROGRAM)  # kinds of what no label covers, here and in scenes of programs


@dataclass(frozen=True, slots=True)
class Label:
    """One line of a label track: a text from ``start_s`` to ``end_s``; ``place`` is file and line, for errors."""

    start_s: float
    end_s: float
    text: str
    place: str


def read_labels(path: Path) -> list[Label]:
    """Read a label track: Audacity's (start, end and label, separated by tabs) or CSV (``start,end,label``).

    Times are in seconds. The function skips empty lines, the head of a CSV, and Audacity's lines of frequencies, which
    start with a backslash.

    Returns:
        The labels in the order of their starts.

    Raises:
        UserError: the file does not exist or is not UTF-8, or a line is no label.
    """
    content = read_bytes(path)
    if content is None:
        raise UserError(f"{path}: no such label track")
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}:{content[: error.start].count(10) + 1}: is not UTF-8") from None
    labels = []
    for number, line in enumerate(lines, 1):
        is_tabbed = "\t" in line
        cells = line.split("\t", 2) if is_tabbed else next(csv.reader([line], skipinitialspace=True), [])
        cells = [cell.strip() for cell in cells]
        if not any(cells) or line.startswith("\\") or [cell.lower() for cell in cells] == ["start", "end", "label"]:
            continue
        labels.append(_parse_label(cells, f"{path}:{number}"))
    return sorted(labels, key=lambda label: (label.start_s, label.end_s))


def _parse_label(cells: Sequence[str], place: str) -> Label:
    """Return the label of one line of a label track, and check its times and text."""
    if len(cells) != 3:
        written = ",".join(cells)
        raise UserError(f"{place}: {written!r} is no label; wanted: start, end, label, with tabs or commas between")
    times = []
    for cell in cells[:2]:
        try:
            time_s = float(cell)
        except ValueError:
            hint = f"; write {cell.replace(',', '.')}" if "," in cell else ""
            raise UserError(f"{place}: {cell!r} is no time in seconds{hint}") from None
        if not math.isfinite(time_s) or time_s < 0:
            raise UserError(f"{place}: {cell!r} is no time in the recording; wanted: seconds from its start")
        times.append(time_s)
    if not cells[2]:
        raise UserError(f"{place}: the label from {cells[0]} to {cells[1]} s has no text; wanted: a class")
    if times[0] == times[1]:
        raise UserError(f"{place}: {cells[2]!r} is a point at {cells[0]} s; wanted: its start and its end")
    if times[0] > times[1]:
        raise UserError(f"{place}: {cells[2]!r} starts at {cells[0]} s and ends at {cells[1]} s")
    return Label(start_s=times[0], end_s=times[1], text=cells[2], place=place)


def find_track(recording: Path) -> Path:
    """Return the label track beside a recording: the same name with .txt or .csv.

    Raises:
        UserError: neither of the two files exists, or both do.
    """
    tracks = [path for suffix in TRACK_SUFFIXES if (path := recording.with_suffix(suffix)).is_file()]
    if not tracks:
        names = " or ".join(recording.with_suffix(suffix).name for suffix in TRACK_SUFFIXES)
        raise UserError(f"{recording}: no label track {names} beside it")
    if len(tracks) > 1:
        raise UserError(f"{recording}: both {tracks[0].name} and {tracks[1].name} are beside it; keep one")
    return tracks[0]


def read_recording(
    path: Path,
    rate: int | None = None,
    track: Path | None = None,
    classes: Sequence[str] | None = None,
    split: str | None = None,
    speaker: str | None = None,
) -> Scene:
    """Return a labelled recording as a scene.

    A label marks background if its text is a kind of background (quiet, environment, speech, near_word, music, noise)
    and not one of the classes. Any other label marks an event.

    Args:
        path: a WAV file of any sample rate and sample format.
        rate: the sample rate of the scene in Hz; None for the recording's own rate.
        track: the label track; None for the track beside the recording.
        classes: the classes that events may have; None for all classes in the track.
        split: the split of the recording.
        speaker: id of the speaker in the recording, with which checks find a speaker who is in two splits.

    Raises:
        UserError: the file or the track cannot be read, a label lies outside the recording, two events overlap, a label
            is none of the classes, or a label is nearly a kind of background or another label, such as ``Noise``.
    """
    own_rate = wav_blocks.sample_rate(path)
    rate = rate or own_rate
    if own_rate < rate:
        console.warn(
            f"{path}: is sampled at {own_rate} Hz; resampled to {rate} Hz, it has no sound above {own_rate // 2} Hz"
        )
    samples = resample(wav.read(path, own_rate), own_rate, rate)
    seconds = len(samples) / rate
    labels = read_labels(track or find_track(path))
    kinds = [label for label in labels if label.text in KINDS and label.text not in (classes or ())]
    events = [label for label in labels if label not in kinds]
    _check_names(events, classes or ())
    _check_labels(labels, events, seconds, classes)
    names = classes if classes is not None else sorted({label.text for label in events})
    own_events = tuple(
        Event(
            label=label.text,
            start_s=label.start_s,
            end_s=min(label.end_s, seconds),
            background=_kind_under(label, kinds),
        )
        for label in events
    )
    segments = [Background(label.text, label.start_s, min(label.end_s, seconds)) for label in kinds]
    return Scene(
        name=path.stem,
        rate=rate,
        length=len(samples),
        classes=tuple(names),
        events=own_events,
        segments=fill_gaps(segments, own_events, seconds, rate, UNLABELLED),
        split=split,
        recordings=frozenset([str(path.resolve())]),
        speakers=frozenset([speaker] if speaker else []),
        digests={digest_samples(samples): str(path)},
        samples=samples,
    )


def _check_labels(
    labels: Sequence[Label], events: Sequence[Label], seconds: float, classes: Sequence[str] | None
) -> None:
    """Check that labels lie in the recording, name known classes, and that events do not overlap."""
    for label in labels:
        if label.end_s > seconds + ROUNDING_S:
            span = f"{label.start_s:g} to {label.end_s:g} s"
            raise UserError(f"{label.place}: {label.text!r} lies at {span}; the recording has {seconds:g} s")
    for label in events:
        if classes is not None and label.text not in classes:
            raise errors.unknown(label.place, "class", label.text, classes)
    for before, after in pairwise(events):
        if after.start_s < before.end_s:
            raise UserError(
                f"{after.place}: {after.text!r} starts at {after.start_s:g} s, and {before.text!r} of "
                f"line {before.place.rpartition(':')[2]} ends at {before.end_s:g} s; events may not overlap"
            )


def _check_names(events: Sequence[Label], classes: Sequence[str]) -> None:
    """Refuse a text that differs from a kind of background, or from an earlier text, in its spelling alone.

    It would become a class of its own, for which the device wakes.
    """
    own = {_plain(form): kind for kind in KINDS for form in (kind, f"{kind}s")}
    for label in events:
        if label.text in classes:
            continue
        plain = _plain(label.text)
        if plain in RESERVED:
            raise UserError(
                f"{label.place}: {label.text!r} is the name of what no label covers; leave it without a label, or "
                f"write a kind of background ({', '.join(KINDS)})"
            )
        other = own.setdefault(plain, label.text)
        if other != label.text:
            use = " for background" if other in KINDS else ""
            raise UserError(
                f"{label.place}: {label.text!r} is spelled nearly as {other!r}; write {other!r}{use}, or another name"
            )


def _plain(text: str) -> str:
    """Return a text without what differs between spellings of one name.

    >>> _plain("Near-Word"), _plain("near_word"), _plain("...")
    ('nearword', 'nearword', '...')
    """
    return "".join(each for each in text.casefold() if each.isalnum()) or text


def _kind_under(event: Label, kinds: Sequence[Label]) -> str:
    """Return the kind of background in which the middle of an event lies."""
    middle = (event.start_s + event.end_s) / 2
    return next((kind.text for kind in kinds if kind.start_s <= middle < kind.end_s), UNLABELLED)
