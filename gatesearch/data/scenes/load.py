"""Loads the sources that settings name, for one split, and draws scenes from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gatesearch._lib import console
from gatesearch.data.scenes.draw import QUIET, draw_sound
from gatesearch.data.scenes.settings import SceneSettings, SyntheticNoise, SyntheticSpeech
from gatesearch.data.scenes.sources import Source, Sources
from gatesearch.data.scenes.spec import SceneSpec, SpecSource, SplitName
from gatesearch.errors import UserError

SOUND_RATE_HZ = 16_000.0
ROOM_TONE = "room_tone"

Loader = Callable[[Any, SplitName, float], Source]


def load_sources(settings: SceneSettings, cache_dir: str | Path | None = None) -> Sources:
    """Load the clips of the settings' split, and print a warning for each doubt.

    Where no source of sound has a quiet clip, generated noise stands in, which a warning says.

    Args:
        settings: of a scene.
        cache_dir: folder of synthetic speech; None is the user's cache folder.

    Raises:
        UserError: a source cannot be used, or sound and another signal are mixed.
    """
    signal = find_signal(settings)
    rate = settings.sample_rate or SOUND_RATE_HZ
    sources = []
    for each in settings.sources:
        if isinstance(each, SyntheticSpeech):
            from gatesearch.data.scenes.synthetic_sound import load_speech  # imports scipy.signal, which is slow

            sources.append(load_speech(each, settings.split, rate, cache_dir))
        else:
            sources.append(_loaders()[each.kind](each, settings.split, rate))
    if signal == "sound" and not any(clip.kind == QUIET for source in sources for clip in source.clips):
        console.warn(f"the sources hold no quiet background in the {settings.split} split; generated noise stands in")
        room_tone = SyntheticNoise(kind="synthetic_noise", name=ROOM_TONE, backgrounds=("quiet",))
        sources.append(_loaders()["synthetic_noise"](room_tone, settings.split, rate))
    for remark in (remark for source in sources for remark in source.remarks):
        console.warn(remark)
    return Sources(settings.split, rate, sources)


def find_signal(settings: SceneSettings) -> str:
    """Return what the sources are of: sound, motion or frames.

    Raises:
        UserError: motion or frames beside another source.
    """
    signals = [SIGNALS.get(source.kind, "sound") for source in settings.sources]
    if len(settings.sources) > 1 and set(signals) != {"sound"}:
        raise UserError(
            f"sources: a scene of {max(signals, key='sound'.__ne__)} has one source; there are {len(signals)}"
        )
    return signals[0]


SIGNALS: Mapping[str, str] = {"motion": "motion", "frames": "frames"}
"""What a kind of source is of; those that are not listed are of sound."""


def _loaders() -> Mapping[str, Loader]:
    """Return the loader of each kind of source; what one needs is imported with it."""
    from gatesearch.data.scenes import recorded_sound, synthetic_sound

    return {
        "synthetic_noise": synthetic_sound.load_noise,
        "folders": recorded_sound.load_folders,
        "archive": recorded_sound.load_archive,
        "recordings": recorded_sound.load_recordings,
    }


def draw_scene(settings: SceneSettings, sources: Sources) -> SceneSpec:
    """Draw the specification of a scene; the same settings and sources give the same one.

    Raises:
        UserError: a kind of background or an event has no clip in the split, or there is too little room.
    """
    return draw_sound(settings, sources)


def reload_sources(spec: SceneSpec, roots: Mapping[str, str] | None = None) -> Sources:
    """Load the sources of a specification again.

    Args:
        spec: of a scene.
        roots: where a source lies on this machine, by its name; others lie where the specification says.

    Raises:
        UserError: a source cannot be loaded.
    """
    settings = SceneSettings.model_validate(
        {
            "split": spec.split,
            "sample_rate": spec.sample_rate,
            "sources": [_with_root(source, roots or {}) for source in spec.sources],
        }
    )
    return load_sources(settings)


def _with_root(source: SpecSource, roots: Mapping[str, str]) -> dict[str, Any]:
    return dict(source.settings) | ({"root": roots[source.name]} if source.name in roots else {})
