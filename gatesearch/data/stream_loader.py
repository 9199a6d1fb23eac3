"""Loads the data set ``scenes``: a scene for each split, and windows of the scenes for training.

A scene is a long synthetic recording with labels: random clips of words are mixed into clips of background.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter, signature
from typing import Any

import torch
from pydantic import ValidationError

from gatesearch.data.scenes import Scene, SceneSettings, draw_scene, load_sources, make_scene
from gatesearch.data.scenes.faults import describe_fault
from gatesearch.data.scenes.load import LOADERS
from gatesearch.data.scenes.spec import MAX_HOURS
from gatesearch.data.scenes.speech_defaults import wake_word_sources
from gatesearch.data.scenes.windows import draw_windows, window_length
from gatesearch.data.stream_dataset import ROUNDING_SAMPLES, StreamDataset, check_streams
from gatesearch.data.types import SPLITS, Split
from gatesearch.errors import UserError, quote, unknown

SCENES = "scenes"  # name of the data set in recipes
HOURS = {"train": 1.0, "validation": 0.5, "test": 0.5}
OWN_ARGUMENTS = ("progress", "only_shapes")  # arguments of the loader that no recipe sets
MIN_WINDOWS = 10
MAX_WINDOW_S = 3600.0
# Length of a scene in hours, number of windows, and number of utterances, if only shapes matter.
SHORT_H, SHORT_WINDOWS, SHORT_UTTERANCES = 0.2, 400, 8
HELD_OUT_SHARE = 0.2  # windows of the validation split, and of the test split, for each training window


def load(
    sources: Sequence[Mapping[str, Any]] | None = None,
    *,
    phrase: str | Sequence[str] | None = None,
    root: str | None = None,
    positives: Sequence[str] | None = None,
    hours: Mapping[str, float] = HOURS,
    events_per_hour: float | Mapping[str, float] | None = None,
    seconds: float = 1.0,
    hop_ms: float = 40.0,
    windows: int = 6000,
    positive_share: float = 0.3,
    inside: float = 1.0,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    only_shapes: bool = False,
    **drawing: Any,
) -> StreamDataset:
    """Draw a scene for each split, and windows from each.

    Args:
        sources: sources of clips, as in the settings of a scene; None for synthetic speech and noise.
        phrase, root, positives: replace the sources; see
            :func:`gatesearch.data.scenes.speech_defaults.wake_word_sources`.
        hours: length of the scene of each split, in hours.
        events_per_hour: number of events in an hour of each scene, or one number for each split; None for the default
            of a scene. Many events in the training scene give a network more examples, and few events in the other
            scenes are closer to use.
        seconds: length of a window in seconds.
        hop_ms: length of a hop in milliseconds: the time from one decision to the next.
        windows: number of training windows in an epoch.
        positive_share: share of the windows with an event in them.
        inside: share of an event that has to lie in a window, so that the window is a positive.
        seed: the seed of the scenes and of the windows.
        progress: called with the number of scenes that are done, and the number of all scenes.
        only_shapes: whether only the shapes of the windows matter; then the scenes are short and have few voices.
        **drawing: other settings of a scene, such as ``snr_db`` and ``level_db``.

    Raises:
        UserError: a setting does not fit, or a source cannot be used.
    """
    sources = wake_word_sources(sources, phrase=phrase, root=root, positives=positives, seed=seed)
    if set(hours) != set(SPLITS):
        raise UserError(f"data.hours: {dict(hours)!r}; wanted: hours for {', '.join(SPLITS)}")
    if isinstance(events_per_hour, Mapping) and set(events_per_hour) != set(SPLITS):
        raise UserError(
            f"data.events_per_hour: {dict(events_per_hour)!r}; wanted: one number, or one each for {', '.join(SPLITS)}"
        )
    for split, length in hours.items():
        is_number = isinstance(length, int | float) and not isinstance(length, bool)
        if not (is_number and math.isfinite(length) and 0 < length <= MAX_HOURS):
            raise UserError(f"data.hours.{split}: {quote(length)}; wanted: a number above 0, at most {MAX_HOURS}")
    if not isinstance(windows, int) or windows < MIN_WINDOWS:
        raise UserError(f"data.windows: {windows!r}; wanted: a whole number from {MIN_WINDOWS}")
    _check_range("seconds", seconds, 0, MAX_WINDOW_S)
    _check_range("hop_ms", hop_ms, 0, 1e3 * seconds)
    _check_range("positive_share", positive_share, 0, 1, below=True)
    _check_range("inside", inside, 0, 1)
    if only_shapes:
        sources, hours, windows = _few_utterances(sources), {split: SHORT_H for split in SPLITS}, SHORT_WINDOWS
    scenes = {}
    for number, split in enumerate(SPLITS):
        density = setting_of_split(events_per_hour, split)
        own_drawing = drawing if density is None else {**drawing, "events_per_hour": density}
        settings = _check_drawing(own_drawing, sources, seed)
        own = settings.model_copy(update={"split": split, "hours": float(hours[split]), "name": None})
        clips = load_sources(own)
        at = f"{clips.sample_rate:g} Hz"
        _check_whole("seconds", seconds, clips.sample_rate, at)
        _check_whole("hop_ms", hop_ms, clips.sample_rate / 1e3, at)
        scenes[split] = make_scene(draw_scene(own, clips), clips)
        if progress is not None:
            progress(number + 1, len(SPLITS))
        synthetic = clips.synthetic
    return from_scenes(
        scenes,
        name=SCENES,
        source=f"scenes drawn from {clips.describe()}",
        synthetic=synthetic,
        window_s=seconds,
        hop_s=hop_ms / 1e3,
        windows=windows,
        positive_share=positive_share,
        inside=inside,
        seed=seed,
    )


def setting_of_split(value: Any, split: str) -> Any:
    """Return the value of a setting in a split; a mapping holds a value for each split.

    >>> setting_of_split({"train": 900, "test": 300}, "test"), setting_of_split(300, "test")
    (300, 300)
    """
    return value[split] if isinstance(value, Mapping) and split in value else value


def _check_range(key: str, value: Any, least: float, most: float, below: bool = False) -> None:
    """Refuse a value of a key that is no number above ``least`` and up to ``most``, or below ``most``."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (is_number and least < value <= most and not (below and value == most)):
        limit = "below" if below else "at most"
        raise UserError(f"data.{key}: {quote(value)}; wanted: a number above {least:g}, {limit} {most:g}")


def _check_whole(key: str, value: float, rate: float, at: str) -> None:
    """Refuse a length that is no whole number of samples; ``rate`` counts the samples of one unit of the key."""
    count = value * rate
    if round(count) < 1 or abs(count - round(count)) > ROUNDING_SAMPLES:
        near = max(1, round(count)) / rate
        raise UserError(f"data.{key}: {value:g} is {count:g} samples at {at}; nearest: {near:.12g}")


def _few_utterances(sources: Sequence[Mapping[str, Any]] | None) -> list[Mapping[str, Any]] | None:
    """Return the sources with few utterances of synthetic speech, because their synthesis takes time."""
    if sources is None:
        return None
    few = {"utterances": SHORT_UTTERANCES, "sentences": SHORT_UTTERANCES}
    return [{**source, **few} if source.get("kind") == "synthetic_speech" else source for source in sources]


def from_scenes(
    scenes: Mapping[str, Scene],
    *,
    name: str,
    source: str,
    synthetic: bool,
    window_s: float = 1.0,
    hop_s: float = 0.04,
    windows: int = 6000,
    positive_share: float = 0.3,
    inside: float = 1.0,
    seed: int = 0,
) -> StreamDataset:
    """Return a data set of labelled scenes, such as scenes made of the user's own recordings.

    Args:
        scenes: one scene each for train, validation and test.
        name, source, synthetic: see :class:`gatesearch.data.types.Dataset`.
        window_s: length of a window in seconds.
        hop_s: length of a hop in seconds: the time from one decision to the next.
        windows: number of training windows; validation and test get a fifth as many each.
        positive_share: share of the windows with an event in them.
        inside: share of an event that has to lie in a window, so that the window is a positive.
        seed: the seed of the windows.

    Raises:
        UserError: a scene has a class of events that the training scene lacks, or is too short for the windows; or
            :func:`gatesearch.data.scenes.check_scenes` refuses the scenes.
    """
    missing = [split for split in SPLITS if split not in scenes]
    if missing or len(scenes) > len(SPLITS):
        raise UserError(f"data {name!r}: scenes for {', '.join(scenes)}; wanted: one each for {', '.join(SPLITS)}")
    if not isinstance(windows, int) or windows < MIN_WINDOWS:
        raise UserError(f"data {name!r}: windows is {windows!r}; wanted: a whole number from {MIN_WINDOWS}")
    positives = scenes["train"].classes
    for scene in scenes.values():
        window_length(scene, window_s)  # raises an error for a scene that is too short
    check_streams(scenes, positives)
    kinds = dict.fromkeys(segment.kind for split in SPLITS for segment in scenes[split].segments)
    classes = tuple(dict.fromkeys((*positives, *kinds)))
    splits = {}
    for split in SPLITS:
        scene = scenes[split]
        count = windows if split == "train" else max(10, round(HELD_OUT_SHARE * windows))
        drawn = draw_windows(
            scene, window_s, count, seed, positive_share=positive_share, inside=inside, classes=classes
        )
        names = tuple(f"{scene.name}@{start / scene.rate:.3f}s#{k}" for k, start in enumerate(drawn.starts.tolist()))
        splits[split] = Split(torch.from_numpy(drawn.read()), torch.from_numpy(drawn.labels), names)
    return StreamDataset(
        name=name,
        source=source,
        synthetic=synthetic,
        classes=classes,
        positive=tuple(label in positives for label in classes),
        train=splits["train"],
        validation=splits["validation"],
        test=splits["test"],
        sample_rate=round(scenes["train"].rate),
        streams={split: scenes[split] for split in SPLITS},
        window_s=window_s,
        hop_s=hop_s,
        positive_share=positive_share,
        inside=inside,
    )


def _loader_keys() -> list[str]:
    """Return the keys of data ``scenes`` that are not settings of a scene."""
    keyword = [p.name for p in signature(load).parameters.values() if p.kind is Parameter.KEYWORD_ONLY]
    return [name for name in keyword if name not in OWN_ARGUMENTS]


def _check_drawing(drawing: Mapping[str, Any], sources: Sequence[Mapping[str, Any]] | None, seed: int) -> SceneSettings:
    keys = set(SceneSettings.model_fields) - {"split", "hours", "name", "seed"}
    for key in drawing:
        if key not in keys:
            raise unknown("data", "key", key, sorted({*keys, *_loader_keys()}))
    tree = {**drawing, "seed": seed} | ({} if sources is None else {"sources": list(sources)})
    try:
        return SceneSettings.model_validate(tree)
    except ValidationError as error:
        raise UserError(describe_fault(error, "data", tuple(LOADERS))) from None
