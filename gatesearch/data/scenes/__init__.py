"""Scenes: labelled streams, mixed from clips by a specification, or recorded by a user.

These calls lead from settings to windows:

    settings = SceneSettings(split="train", hours=1, sources=[...])
    sources  = load_sources(settings)             clips of one split
    spec     = draw_scene(settings, sources)      JSON: every event and piece of background, no sound
    scene    = make_scene(spec, sources)          samples, events, backgrounds
    check_scenes([scene, ...])                    no two splits share anything, no event is out of place
    windows  = draw_windows(scene, 1.0, 16_000, seed=0)           16,000 windows of 1 s, drawn at random
    windows  = mine_windows(scene, false_accepts, 1.0, seed=0)    windows of 1 s at the times of false accepts

:func:`read_recording` makes a scene of a user's recording with a label track. ``write_spec`` writes a specification to
a file, and ``read_spec`` reads it. ``reload_sources`` loads the sources of a specification again. ``outline_spec``
returns the contents of a specification's scene without the samples.
"""

from gatesearch.data.scenes.check import check_scenes
from gatesearch.data.scenes.labels import read_recording
from gatesearch.data.scenes.load import draw_scene, load_sources, reload_sources
from gatesearch.data.scenes.mix import make_scene
from gatesearch.data.scenes.settings import SceneSettings
from gatesearch.data.scenes.sources import Clip, Source, Sources
from gatesearch.data.scenes.spec import SceneSpec, outline_spec, read_spec, write_spec
from gatesearch.data.scenes.types import Outline, Scene
from gatesearch.data.scenes.windows import Windows, draw_windows, mine_windows

__all__ = [
    "Clip",
    "Outline",
    "Scene",
    "SceneSettings",
    "SceneSpec",
    "Source",
    "Sources",
    "Windows",
    "check_scenes",
    "draw_scene",
    "draw_windows",
    "load_sources",
    "make_scene",
    "mine_windows",
    "outline_spec",
    "read_recording",
    "read_spec",
    "reload_sources",
    "write_spec",
]
