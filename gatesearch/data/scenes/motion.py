"""Loads streams of motion and draws scenes from them, in which labelled activities are the events.

A scene is a labelled stream.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gatesearch import errors
from gatesearch._lib import console
from gatesearch.data import har
from gatesearch.data.archives import Arrays, check_whole, read_archive
from gatesearch.data.scenes.clip_table import ClipTable
from gatesearch.data.scenes.settings import Motion, SceneSettings
from gatesearch.data.scenes.sources import Clip, Run, Source, Sources, name_place
from gatesearch.data.scenes.spec import SPLIT_NAMES, SceneSpec, SpecEvent, SpecPiece, SpecSegment, SplitName
from gatesearch.data.scenes.types import Samples
from gatesearch.errors import UserError

KEYS = ("x", "label", "offsets", "subject", "classes", "sample_rate")
TEST_SHARE = 0.25  # share of the subjects that are for test, if no setting or file names test subjects

Subjects = npt.NDArray[np.integer]


def load_motion(settings: Motion, split: SplitName, sample_rate: float | None) -> Source:
    """Return the streams of a split's subjects, each with its runs of activities.

    The .npz holds ``x`` [samples, axes], ``label`` [samples] with indices into ``classes``, ``offsets`` [streams + 1],
    ``subject`` [streams], ``sample_rate`` (Hz), and optionally ``device`` [streams].

    Raises:
        UserError: the file does not exist or has another form; an activity, a device or a subject is unknown; there are
            too few subjects; or the sample rate differs from the file's.
    """
    where = f"sources.{settings.name}: {settings.root!r}"
    path = Path(settings.root).expanduser()
    arrays = _read(path, where)
    rate = float(arrays["sample_rate"].item())
    if sample_rate not in (None, rate):
        raise UserError(
            f"sample_rate: {sample_rate:g}; {settings.root!r} is at {rate:g} Hz, and motion is not resampled"
        )
    classes = [str(name) for name in arrays["classes"]]
    for name in settings.events:
        if name not in classes:
            raise errors.unknown(where, "activity", name, classes)
    own = np.isin(arrays["subject"], _choose_subjects(settings, split, arrays["subject"], path, where))
    if settings.device is not None:
        devices = [str(name) for name in np.unique(arrays.get("device", np.empty(0, "U1")))]
        if settings.device not in devices:
            raise errors.unknown(where, "device", settings.device, devices)
        own &= arrays["device"] == settings.device
    x = np.ascontiguousarray(arrays["x"], np.float32)
    clips = []
    for index in np.flatnonzero(own):
        start, end = int(arrays["offsets"][index]), int(arrays["offsets"][index + 1])
        subject = f"subject {int(arrays['subject'][index])}"
        name = f"{subject}/{index}"
        clips.append(
            Clip(
                source=settings.name,
                name=name,
                recording=f"{name_place(settings.root)}:{name}",
                speaker=f"{name_place(settings.root)}:{subject}",
                read=partial(x.__getitem__, slice(start, end)),
                runs=_find_runs(arrays["label"][start:end], classes),
            )
        )
    return Source(name=settings.name, settings=settings.model_dump(mode="json"), clips=tuple(clips), sample_rate=rate)


def draw_motion(settings: SceneSettings, sources: Sources) -> SceneSpec:
    """Draw a scene: streams of the split in random order, each once, up to the length in the settings.

    Raises:
        UserError: the settings name a number of events, or the split has no stream or no event.
    """
    if settings.events is not None:
        raise UserError(f"events: {settings.events}; the events of motion are its labelled activities: leave it out")
    source = settings.sources[0]
    assert isinstance(source, Motion)
    rng = np.random.default_rng([settings.seed, SPLIT_NAMES.index(settings.split)])
    table = ClipTable(sources)
    target = max(1, round(settings.hours * 3600 * sources.sample_rate))
    pieces: list[SpecPiece] = []
    segments: list[SpecSegment] = []
    events: list[SpecEvent] = []
    position = 0
    for index in rng.permutation(len(sources.clips)):
        if position == target:
            break
        clip = sources.clips[index]
        length = min(len(sources.read(clip)), target - position)
        pieces.append(SpecPiece(clip=table.add(clip), clip_start=0, start=position, samples=length))
        for run in clip.runs:
            samples = min(run.samples, length - run.start)
            if samples <= 0:
                break
            if run.label in source.events:
                events.append(SpecEvent(label=run.label, start=position + run.start, samples=samples))
            else:
                segments.append(SpecSegment(kind=run.label, start=position + run.start, samples=samples))
        position += length
    if not events:
        raise UserError(f"sources: the {settings.split} split holds no {' or '.join(source.events)}")
    if position < target:
        hours = f"{position / sources.sample_rate / 3600:.2g}"
        console.warn(f"hours: {settings.hours:g}; the {settings.split} split holds {hours} hours of motion, all used")
    return table.build_spec(
        settings, "motion", position, source.events, pieces=pieces, segments=segments, events=events
    )


def _choose_subjects(settings: Motion, split: str, subjects: Subjects, path: Path, where: str) -> Subjects:
    """Return the subjects of a split; the data set ``har`` draws the same validation subjects for its windows."""
    everyone = np.unique(subjects)
    test = _list_test_subjects(settings, everyone, path, where)
    candidates = everyone[~np.isin(everyone, test)]
    if settings.validation_subjects >= len(candidates):
        count = f"{settings.validation_subjects} of {len(candidates)}"
        raise UserError(f"{where}: validation_subjects takes {count} subjects and leaves none to train on")
    validation = har.draw_subjects(candidates, settings.validation_subjects, settings.seed)
    train = candidates[~np.isin(candidates, validation)]
    return {"train": train, "validation": validation, "test": test}[split]


def _list_test_subjects(settings: Motion, everyone: Subjects, path: Path, where: str) -> Subjects:
    windows = path.with_name(har.FILE)
    if settings.test_subjects is not None:
        test = np.array(settings.test_subjects, np.int64)
    elif windows.is_file():
        arrays = read_archive(windows, where)
        test = np.unique(arrays["subject"][arrays["is_test"].astype(bool)])
    else:
        test = np.random.default_rng([settings.seed, 8]).permutation(everyone)[: round(TEST_SHARE * len(everyone))]
    strangers = test[~np.isin(test, everyone)]
    if len(strangers) or not len(test):
        written = f"subject {int(strangers[0])} is not" if len(strangers) else "there is no subject to test on"
        raise UserError(f"{where}: test_subjects: {written} among {', '.join(map(str, everyone.tolist()))}")
    return np.sort(test)


def _find_runs(labels: npt.NDArray[np.integer], classes: list[str]) -> tuple[Run, ...]:
    """Return the stretches in which the label stays the same, in order."""
    starts = [0, *(np.flatnonzero(np.diff(labels)) + 1).tolist()]
    ends = [*starts[1:], len(labels)]
    return tuple(
        Run(label=classes[int(labels[start])], start=start, samples=end - start)
        for start, end in zip(starts, ends, strict=True)
    )


def _read(path: Path, where: str) -> Arrays:
    """Read the arrays of a file of motion streams, and check that they fit each other."""
    arrays = read_archive(path, where)
    for key in KEYS:
        if key not in arrays:
            raise UserError(f"{where}: has no array {key!r}; wanted: {', '.join(KEYS)}")
    x: Samples = arrays["x"]
    if x.ndim != 2 or x.dtype.kind not in "iuf" or not np.isfinite(x.astype(np.float64)).all():
        raise UserError(f"{where}: x is {list(x.shape)} of {x.dtype}; wanted: finite samples [samples, axes]")
    if arrays["classes"].ndim != 1 or arrays["classes"].dtype.kind != "U":
        raise UserError(f"{where}: classes is {arrays['classes'].dtype}; wanted: names [classes]")
    check_whole(arrays["label"], "label", where, count=len(x), most=arrays["classes"].size - 1)
    check_whole(arrays["offsets"], "offsets", where, count=arrays["subject"].size + 1, most=len(x))
    check_whole(arrays["subject"], "subject", where, count=arrays["subject"].size)
    if (np.diff(arrays["offsets"].astype(np.int64)) < 1).any():
        raise UserError(f"{where}: offsets do not rise; wanted: the first sample of each stream, and the end")
    rate = arrays["sample_rate"]
    if rate.size != 1 or rate.dtype.kind not in "iuf" or not rate.item() > 0:
        raise UserError(f"{where}: sample_rate is {rate.tolist()!r}; wanted: samples per second")
    return arrays
