"""Scenes: labelled streams, mixed from clips by a specification, or recorded by a user.

The way from settings to windows:

    settings = SceneSettings(split="test", hours=1, sources=[...])
    sources  = load_sources(settings)             clips of one split
    spec     = draw_scene(settings, sources)      JSON: every event and piece of background, no sound
    scene    = make_scene(spec, sources)          samples, events, backgrounds
"""

from gatesearch.data.scenes.load import draw_scene, load_sources, reload_sources
from gatesearch.data.scenes.mix import make_scene
from gatesearch.data.scenes.settings import SceneSettings
from gatesearch.data.scenes.sources import Clip, Source, Sources
from gatesearch.data.scenes.spec import SceneSpec, outline_spec, read_spec, write_spec
from gatesearch.data.scenes.types import Outline, Scene

__all__ = [
    "Clip",
    "Outline",
    "Scene",
    "SceneSettings",
    "SceneSpec",
    "Source",
    "Sources",
    "draw_scene",
    "load_sources",
    "make_scene",
    "outline_spec",
    "read_spec",
    "reload_sources",
    "write_spec",
]
