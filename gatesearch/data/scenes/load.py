"""Loads the sources of a scene for one split, and draws scenes from them.

A scene is a labelled stream. A source is an origin of clips, such as a folder of recordings or a speech synthesiser.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from pydantic import ValidationError

from gatesearch._lib import console
from gatesearch.data.scenes.settings import SceneSettings, SourceSettings, SyntheticNoise
from gatesearch.data.scenes.sources import Source, Sources
from gatesearch.data.scenes.spec import SceneSpec, SpecSource, SplitName
from gatesearch.errors import UserError

SOUND_RATE_HZ = 16_000.0
QUIET = "quiet"
ROOM_TONE = SyntheticNoise(kind="synthetic_noise", name="room_tone", backgrounds=("quiet",))

# Module and function of each loader. A loader is imported when a scene first needs it, because imports such as
# scipy.signal are slow.
LOADERS: Mapping[str, tuple[str, str]] = {
    "synthetic_speech": ("synthetic_sound", "load_speech"),
    "synthetic_noise": ("synthetic_sound", "load_noise"),
    "folders": ("recorded_sound", "load_folders"),
    "archive": ("recorded_sound", "load_archive"),
    "recordings": ("recorded_sound", "load_recordings"),
    "motion": ("motion", "load_motion"),
    "frames": ("frames", "load_frames"),
}
DRAWERS: Mapping[str, tuple[str, str]] = {
    "sound": ("draw", "draw_sound"),
    "motion": ("motion", "draw_motion"),
    "frames": ("frames", "draw_frames"),
}


def load_sources(settings: SceneSettings) -> Sources:
    """Load the clips of the split that the settings name, and print a warning for each doubt.

    If no source of sound has a quiet clip, generated noise replaces the quiet clips, with a warning.

    Raises:
        UserError: a source cannot be used, or there are other sources beside a source of motion or of frames.
    """
    signal = find_signal(settings)
    rate = settings.sample_rate or (SOUND_RATE_HZ if signal == "sound" else None)
    if signal == "sound" and rate is not None and rate % 1:
        raise UserError(f"sample_rate: {rate:g} Hz; sound has a whole number of samples a second")
    sources = [_load(each, settings.split, rate) for each in settings.sources]
    if signal == "sound" and not any(clip.kind == QUIET for source in sources for clip in source.clips):
        console.warn(f"the sources hold no quiet background in the {settings.split} split; generated noise replaces it")
        sources.append(_load(ROOM_TONE, settings.split, rate))
    for remark in (remark for source in sources for remark in source.remarks):
        console.warn(remark)
    own_rates = [source.sample_rate for source in sources if source.sample_rate is not None]
    return Sources(settings.split, own_rates[0] if own_rates else rate or SOUND_RATE_HZ, sources)


def find_signal(settings: SceneSettings) -> str:
    """Return the signal of the sources: sound, motion or frames.

    Raises:
        UserError: there are other sources beside a source of motion or of frames.
    """
    signals = [source.kind if source.kind in DRAWERS else "sound" for source in settings.sources]
    other = next((signal for signal in signals if signal != "sound"), "sound")
    if other != "sound" and len(signals) > 1:
        raise UserError(f"sources: {len(signals)} of them; a scene of {other} has one source")
    return other


def draw_scene(settings: SceneSettings, sources: Sources) -> SceneSpec:
    """Draw the specification of a scene; the same settings and sources give the same specification.

    Raises:
        UserError: a kind of background or an event has no clip in the split, or there is too little room.
    """
    drawer: Callable[[SceneSettings, Sources], SceneSpec] = _import(DRAWERS[find_signal(settings)])
    return drawer(settings, sources)


def reload_sources(spec: SceneSpec, roots: Mapping[str, str] | None = None) -> Sources:
    """Load the sources of a specification again.

    Args:
        spec: the specification of a scene.
        roots: for the name of a source, its folder or file on this machine; other sources keep the paths that the
            specification holds.

    Raises:
        UserError: a source cannot be loaded, or ``roots`` names a source that does not exist.
    """
    names = [source.name for source in spec.sources]
    for name in roots or {}:
        if name not in names:
            raise UserError(f"scene {spec.name!r} has no source {name!r}; it has: {', '.join(names)}")
    tree = {
        "split": spec.split,
        "sample_rate": spec.sample_rate,
        "sources": [_with_root(source, roots or {}) for source in spec.sources],
    }
    try:
        settings = SceneSettings.model_validate(tree)
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        key = ".".join(map(str, detail["loc"]))
        raise UserError(f"scene {spec.name!r}: {key}: {detail['msg']}") from None
    return load_sources(settings)


def _load(settings: SourceSettings, split: SplitName, rate: float | None) -> Source:
    loader: Callable[[SourceSettings, SplitName, float | None], Source] = _import(LOADERS[settings.kind])
    return loader(settings, split, rate)


def _import(place: tuple[str, str]) -> Any:
    module, function = place
    return getattr(import_module(f"gatesearch.data.scenes.{module}"), function)


def _with_root(source: SpecSource, roots: Mapping[str, str]) -> dict[str, Any]:
    return dict(source.settings) | ({"root": roots[source.name]} if source.name in roots else {})
