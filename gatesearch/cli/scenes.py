"""The command ``scene``: makes, shows and checks scenes, which are streams with labelled events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gatesearch.cli.arguments import AsJson, read_positive, refuse_rest, take
from gatesearch.errors import UserError, unknown

if TYPE_CHECKING:
    from gatesearch.data.scenes import Outline, SceneSettings, SceneSpec

SPEC_SUFFIX = ".json"
RECORDING_SUFFIX = ".wav"
RECIPE_KEYS = ("data", "backbone")  # a YAML file with one of them is a recipe

_Action = Annotated[str, typer.Argument(metavar="make|show|check", help="What to do.", show_default=False)]
_Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="FILE key=value",
        help="make: a recipe or settings, OUT.json, settings to change, audio=OUT.wav; show: a scene; check: scenes, "
        "fa_per_hour=N.",
        show_default=False,
    ),
]


def scene(action: _Action = "", words: _Words = None, as_json: AsJson = False) -> None:
    """Make, show and check labelled streams.

    make SETTINGS.yaml OUT.json draws a scene; a recipe may take the place of the settings, and audio=OUT.wav makes the
    sound, too. make SPEC.json audio=OUT.wav makes the sound of an existing specification; NAME.root=DIR says where a
    source lies. show prints the contents of a scene. check refuses scenes that share a recording or a speaker between
    splits. A scene is a specification (.json), or a recording (.wav) with a label track (.txt, .csv) beside it.
    """
    actions: Mapping[str, Callable[[list[str], bool], None]] = {"make": _make, "show": _show, "check": _check}
    if not action:
        raise UserError("scene: nothing to do; write: gatesearch scene make SETTINGS.yaml OUT.json, or show, or check")
    if action not in actions:
        raise unknown("scene", "action", action, actions)
    actions[action](list(words or []), as_json)


def _make(words: list[str], as_json: bool) -> None:
    """Draw a scene from settings, or read a specification, and write the files that the command names."""
    from gatesearch._lib import console
    from gatesearch.data.scenes import draw_scene, load_sources, read_spec, reload_sources, write_spec
    from gatesearch.data.scenes.wav_output import write_wav

    audio = take(words, "audio")
    files = [word for word in words if "=" not in word and not word.startswith("~")]
    changes = [word for word in words if word not in files]
    if len(files) == 1 and files[0].endswith(SPEC_SUFFIX):
        if audio is None:
            raise UserError(
                f"scene make {files[0]}: write audio=OUT.wav to make the sound of this specification, or the settings "
                f"before it to draw it anew: gatesearch scene make SETTINGS.yaml {files[0]}"
            )
        spec = read_spec(Path(files[0]))
        sources = reload_sources(spec, _read_roots(changes))
    elif len(files) == 2 and files[1].endswith(SPEC_SUFFIX):
        settings = _load_settings(files[0], changes)
        sources = load_sources(settings)
        spec = draw_scene(settings, sources)
        write_spec(Path(files[1]), spec)
        _say_made(files[1], spec, as_json)
    else:
        written = " ".join(["scene make", *files])
        raise UserError(f"{written}: write: gatesearch scene make SETTINGS.yaml OUT.json [audio=OUT.wav]")
    if audio is not None:
        write_wav(Path(audio), spec, sources)
        if not as_json:
            console.say(f"{audio}: the sound of scene {spec.name!r}")


def _say_made(path: str, spec: SceneSpec, as_json: bool) -> None:
    from gatesearch._lib import console
    from gatesearch.cli.scene_tables import describe_outline
    from gatesearch.data.scenes import outline_spec

    document = describe_outline(outline_spec(spec))
    if as_json:
        console.print_json(document)
        return
    console.say(f"{path}: {document['seconds']:g} s, {document['events']} events, split {spec.split}, seed {spec.seed}")


def _load_settings(name: str, changes: list[str]) -> SceneSettings:
    """Return the scene settings of a YAML file, or those that follow from a recipe, with the changes applied.

    Raises:
        UserError: the file or recipe does not exist, or a key or a value cannot be used.
    """
    from gatesearch.data.scenes import SceneSettings
    from gatesearch.recipe.check import check
    from gatesearch.recipe.overrides import Override
    from gatesearch.recipe.yaml_file import read_yaml

    path = Path(name.removeprefix("recipe="))
    overrides = [Override.parse(word) for word in changes]
    tree = read_yaml(path) if path.is_file() else {}
    if not path.is_file() or any(key in tree for key in RECIPE_KEYS):
        own = [each for each in overrides if each.key[0] in SceneSettings.model_fields]
        split = next((str(each.value) for each in reversed(own) if each.key == ("split",)), "train")
        tree = _settings_of_recipe(str(path), [each.text for each in overrides if each not in own], split)
        overrides = own
    for override in overrides:
        tree = override.apply(tree)
    return check(SceneSettings, tree, name, overrides)


def _settings_of_recipe(name: str, overrides: list[str], split: str) -> dict[str, Any]:
    """Return the settings of the scene that a run of the recipe draws for a split."""
    from gatesearch.data.scenes import SceneSettings
    from gatesearch.data.scenes.speech_defaults import speech_sources, wake_word_sources
    from gatesearch.data.stream_loader import HOURS, SCENES, setting_of_split
    from gatesearch.recipe import load
    from gatesearch.recipe.schema.data import Speech

    recipe = load(name, overrides, trust=True)  # this command imports nothing that the recipe names
    data = recipe.data
    if data.name == SCENES:  # the recipe holds the settings of its scenes, beside those of its windows
        own = {key: value for key, value in data.arguments.items() if key in SceneSettings.model_fields}
        written = {key: data.arguments.get(key) for key in ("sources", "phrase", "root", "positives")}
        clips = wake_word_sources(written.pop("sources"), **written, seed=own.get("seed", 0))
        own |= {} if clips is None else {"sources": clips}
        by_split = {"hours": HOURS} | {key: own[key] for key in ("hours", "events_per_hour") if key in own}
        return own | {key: setting_of_split(value, split) for key, value in by_split.items()}
    if not isinstance(data, Speech):
        raise UserError(
            f"{name}: no scenes follow from data.name={data.name}; write settings with sources: "
            "{kind: motion}, {kind: frames}, {kind: archive} or {kind: recordings}"
        )
    sources = speech_sources(data.root, data.positives, data.negatives, data.seed)
    return {"sample_rate": float(data.sample_rate), "sources": sources}


def _read_roots(words: list[str]) -> dict[str, str]:
    roots = {}
    for word in words:
        key, _, value = word.partition("=")
        if not key.endswith(".root") or not value:
            raise UserError(
                f"{word}: a specification cannot be changed; only NAME.root=DIR may say where a source lies"
            )
        roots[key.removesuffix(".root")] = value
    return roots


def _show(words: list[str], as_json: bool) -> None:
    from gatesearch._lib import console
    from gatesearch.cli.scene_tables import describe_outline, print_outline

    if len(words) != 1:
        raise UserError("scene show: write one scene: gatesearch scene show SPEC.json")
    outline = _load_outline(words[0])
    if as_json:
        console.print_json(describe_outline(outline))
    else:
        print_outline(outline)


def _check(words: list[str], as_json: bool) -> None:
    """Check the scenes that the command names, and print an overview of them."""
    from gatesearch._lib import console
    from gatesearch.cli.scene_tables import describe_outline, print_overview
    from gatesearch.data.scenes import check_scenes

    written = take(words, "fa_per_hour")
    files = [word for word in words if "=" not in word]
    refuse_rest("scene check", [word for word in words if word not in files], ["fa_per_hour"])
    if not files:
        raise UserError("scene check: no scenes; write: gatesearch scene check train.json validation.json test.json")
    outlines = [_load_outline(name) for name in files]
    check_scenes(outlines, fa_per_hour=None if written is None else read_positive("fa_per_hour", written))
    if as_json:
        console.print_json([describe_outline(outline) for outline in outlines])
    else:
        print_overview(outlines)


def _load_outline(name: str) -> Outline:
    """Return the outline of a specification, or of a recording with a label track."""
    from gatesearch.data.scenes import outline_spec, read_recording, read_spec

    path = Path(name)
    if path.suffix.lower() == RECORDING_SUFFIX:
        return read_recording(path)
    return outline_spec(read_spec(path))
