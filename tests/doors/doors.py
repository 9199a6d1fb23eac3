"""Damages valid inputs at random, and passes them to each entry for user input, called a door."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np
import soundfile
import torch
import yaml

import gatesearch
from gatesearch import backbones, frontends, recipe
from gatesearch.data import Dataset, Split, load_dataset
from gatesearch.devices import profile
from gatesearch.export.bundle import write_bundle
from gatesearch.graph.sites import cut_sites, layer_sites
from gatesearch.model import GatedModel
from gatesearch.pipeline.problem import Inputs, load_problem
from gatesearch.plan import GatePlan, PlacedGate
from gatesearch.recipe import Recipe
from gatesearch.runtime.bundle import Bundle
from gatesearch.training import FeatureSplit
from tests.doors.mutations import (
    OBJECTS,
    VALUES,
    YAML_VALUES,
    copy_value,
    list_paths,
    mutate_arrays,
    mutate_bytes,
    mutate_file,
    mutate_tree,
)
from tests.doors.values import WINDOWS
from tests.pipeline.small_run import SETTINGS, images, network

RECIPES = ("kws_clips.yaml", "har_hmd.yaml", "codec_dsl.yaml", "digits_hybrid.yaml", "kws_vit_gc.yaml")
SPACES = ("kws_gc", "digits_pg_fbs", "har_rnn_hmd", "codec_switch")


class Seeds(NamedTuple):
    """Valid inputs.

    Args:
        folder: the folder with a bundle and data sets.
        recipes, spaces, profiles: the contents of YAML files, by the names of the files.
    """

    folder: Path
    recipes: Mapping[str, Any]
    spaces: Mapping[str, Any]
    profiles: Mapping[str, Any]


Door = Callable[[Seeds, Random, Path], str]
"""A function that damages an input in an empty working folder, passes it to the door, and returns the input's name."""


def write_seeds(folder: Path) -> Seeds:
    """Write the valid inputs that are files, and return all valid inputs."""
    folder.mkdir(parents=True)
    _write_bundle(folder / "bundle")
    _write_words(folder / "words")
    np.savez(folder / "har.npz", **HAR)
    np.savez(folder / "cifar.npz", **CIFAR)
    return Seeds(
        folder,
        {name: yaml.safe_load(recipe.find(name, "recipes", "recipe").read_text()) for name in RECIPES},
        {name: _read_space(name) for name in SPACES},
        {name: yaml.safe_load(path.read_text()) for name, path in profile.shipped().items()},
    )


def _read_space(name: str) -> Any:
    """Return a shipped space without names of sites, so that it fits any network."""
    space = yaml.safe_load(recipe.find(name, "search_spaces", "space").read_text())
    layers = {"layers": {**space["layers"], "sites": "all"}} if "layers" in space else {}
    return {**space, **layers, "sites": "all", "min_work": 0.0}


def _write_bundle(folder: Path) -> None:
    backbone, data = network().eval(), images()
    plan = GatePlan((PlacedGate.of("gc", "0", mode="channel", keep=0.5, recall=0.9),), ("host", "host"))
    x = data.train.inputs
    sites, layers = cut_sites(backbone, x[:1]), layer_sites(backbone, x[:1])
    model = GatedModel(backbone, plan, sites, 3, layers=layers).eval()
    split = FeatureSplit(x, data.train.labels, data.kinds(data.train.labels))
    positive = torch.tensor(data.positive)
    device = profile.load("host")
    write_bundle(
        folder, model, device, x[:16], split, positive, formats=["tflite"], classes=data.classes, about={"recipe": "x"}
    )


def _write_words(folder: Path) -> None:
    generator = np.random.default_rng(0)
    for word in ("hey", "you", "hum"):
        for speaker in range(8):
            path = folder / word / f"s{speaker}_nohash_0.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            wave = (3000 * generator.standard_normal(800)).astype(np.int16)
            soundfile.write(path, wave, 8000, subtype="PCM_16")


_subjects = np.repeat(np.arange(6), 10)
HAR: dict[str, Any] = {
    "x": np.random.default_rng(0).standard_normal((60, 16, 6)).astype(np.float16),
    "y": (np.arange(60) % 3).astype(np.uint8),
    "subject": _subjects.astype(np.uint8),
    "is_test": _subjects > 3,
    "classes": np.array(["SIT", "STAND", "WALK"]),
}
CIFAR: dict[str, Any] = {
    "x_train": np.random.default_rng(1).integers(0, 256, (60, 32, 32, 3)).astype(np.uint8),
    "y_train": (np.arange(60) % 10).astype(np.uint8),
    "x_test": np.random.default_rng(2).integers(0, 256, (20, 32, 32, 3)).astype(np.uint8),
    "y_test": (np.arange(20) % 10).astype(np.uint8),
}


def load_parts(loaded: Recipe) -> None:
    """Build the parts that a recipe names, except for its data; check that it stays equal if it is written and read."""
    Path("again.yaml").write_text(recipe.to_yaml(loaded))
    assert recipe.load("again.yaml", trust=True) == loaded
    Path("again.yaml").unlink()
    profile.load(loaded.device)
    if loaded.data.name == "speech":
        front = frontends.build_for(loaded.frontend.name, loaded.frontend.arguments, sample_rate=16000, samples=16000)
        shape = front.output_shape
    else:
        shape = (1, 49, 10)
    backbones.build(loaded.backbone, num_classes=12, input_shape=shape, args=loaded.backbone_args)


def enter_recipe(seeds: Seeds, random: Random, folder: Path) -> str:
    name = random.choice(RECIPES)
    text = yaml.safe_dump(seeds.recipes[name], sort_keys=False)
    if random.random() < 0.6:
        tree = mutate_tree(seeds.recipes[name], random, YAML_VALUES)
        content = yaml.safe_dump(tree, sort_keys=False, allow_unicode=random.random() < 0.5).encode()
    else:
        content = mutate_bytes(text.encode(), random)
    (folder / "mine.yaml").write_bytes(content)
    load_parts(recipe.load("mine.yaml"))
    return name


def enter_run_folder(seeds: Seeds, random: Random, folder: Path) -> str:
    whole = recipe.to_yaml(recipe.load(random.choice(RECIPES))).encode()
    (folder / "best").mkdir()
    (folder / "recipe.yaml").write_bytes(mutate_bytes(whole, random))
    load_parts(recipe.load_run(folder))
    return "run folder"


def enter_overrides(seeds: Seeds, random: Random, folder: Path) -> str:
    name = random.choice(RECIPES)
    paths = [".".join(map(str, path)) for path in list_paths(seeds.recipes[name])]
    words = []
    for _ in range(random.choice((1, 1, 2, 3))):
        key = random.choice([*paths, "space.gates.max", "name", "nmae", "space.kinds.gc.keep", "a.b.c", "", "."])
        value = random.choice(VALUES)
        written = value if isinstance(value, str) else yaml.safe_dump(value, default_flow_style=True).split("\n...")[0]
        words.append(random.choice((f"{key}={written}", f"{key}={written}", f"~{key}", f"{key}.x={written}", f"{key}")))
    load_parts(recipe.load(name, words))
    return " ".join(words)


def enter_space(seeds: Seeds, random: Random, folder: Path) -> str:
    name = random.choice(SPACES)
    path = folder / "mine.yaml"
    content = yaml.safe_dump(mutate_tree(seeds.spaces[name], random, YAML_VALUES)).encode()
    if random.random() < 0.4:
        content = mutate_bytes(content, random)
    path.write_bytes(content)
    space = recipe.load_space(str(path))
    arguments = {**SETTINGS, "space": space}
    tree = {"data": {"name": "x:y"}, "backbone": "x:y", "device": "three_core", **arguments}
    load_problem(recipe.build_recipe(tree, "test"), Inputs(network(), images()), with_features=False)
    return name


def enter_profile(seeds: Seeds, random: Random, folder: Path) -> str:
    name = random.choice(list(seeds.profiles))
    path = folder / "mine.yaml"
    content = yaml.safe_dump(mutate_tree(seeds.profiles[name], random, YAML_VALUES), sort_keys=False).encode()
    if random.random() < 0.4:
        content = mutate_bytes(content, random)
    path.write_bytes(content)
    device = profile.load(path)
    assert device.core_names and all(constant.source for _, constant in profile.list_constants(device))
    return name


def enter_bundle(seeds: Seeds, random: Random, folder: Path) -> str:
    bundle = folder / "bundle"
    shutil.copytree(seeds.folder / "bundle", bundle)
    manifest = bundle / "manifest.json"
    what = "manifest"
    if random.random() < 0.6:
        manifest.write_text(json.dumps(mutate_tree(json.loads(manifest.read_text()), random)))
    elif random.random() < 0.5:
        manifest.write_bytes(mutate_bytes(manifest.read_bytes(), random))
    else:
        files = sorted(path for path in bundle.rglob("*") if path.is_file())
        what = random.choice(files).name
        mutate_file(next(path for path in files if path.name == what), random)
    engines = copy_value(random.choice((*VALUES, *OBJECTS))) if random.random() < 0.1 else None
    loaded = Bundle(bundle, engines)
    loaded(random.choice(list(WINDOWS.values()))() if random.random() < 0.2 else np.zeros((1, 8, 8), np.float32))
    return what


def enter_data(seeds: Seeds, random: Random, folder: Path) -> str:
    kind = random.choice(("words", "words", "sound", "har", "cifar10"))
    arguments: dict[str, Any] = {}
    if kind in ("words", "sound"):
        root = folder / "words"
        shutil.copytree(seeds.folder / "words", root)
        for _ in range(random.choice((0, 1, 1, 3))):
            files = sorted(path for path in root.rglob("*.wav") if path.is_file() and not path.is_symlink())
            mutate_file(random.choice(files), random)
        arguments = {"sample_rate": 8000, "seconds": 0.1, "seed": 0, "root": str(root)}
        if kind == "words":
            arguments |= {"positives": ["hey"], "negatives": {"other": ["*"]}, "clips_per_class": 10}
        name = "speech" if kind == "words" else "sound"
    else:
        name, arrays = (kind, HAR) if kind == "har" else (kind, CIFAR)
        root = folder / "set.npz"
        np.savez(root, **mutate_arrays(arrays, random))
        if random.random() < 0.3:
            mutate_file(root, random)
        arguments = {"root": str(root)}
        arguments |= {"validation_subjects": 1} if kind == "har" else {"validation": 10}
    if random.random() < 0.4:
        key = random.choice([key for key in arguments if key != "seed"])
        arguments[key] = random.choice([value for value in VALUES if value is not None])
    load_dataset(name, **arguments)
    return f"{name} {list(arguments)}"


PLUGINS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("mfcc", {"coefficients": 10, "bands": 40, "window_ms": 40, "hop_ms": 20}),
    ("log_mel", {"bands": 40}),
    ("sequence", {"average": 4}),
    ("wave", {}),
    ("image", {}),
    ("identity", {}),
)
NETWORKS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("ds_cnn", {"width": 16, "blocks": 2}),
    ("kwt", {"dim": 16, "depth": 1, "heads": 1}),
    ("kws_lstm", {"hidden": 16}),
    ("m_cifarnet", {"width": 0.25}),
    ("codec", {}),
)


def enter_plugin(seeds: Seeds, random: Random, folder: Path) -> str:
    """Damage the arguments of a front end or a backbone in a recipe, and build it."""
    name, whole = random.choice((*PLUGINS, *NETWORKS))
    arguments = mutate_tree(whole or {"extra": 1}, random)
    if (name, whole) in PLUGINS:
        group = {"frontend": {"name": name, **{str(key): value for key, value in arguments.items()}}}
        tree = {"data": {"name": "x:y"}, "backbone": "x:y", "device": "host", **SETTINGS, **group}
        loaded = recipe.build_recipe(tree, "test")
        front = frontends.build_for(loaded.frontend.name, loaded.frontend.arguments, sample_rate=16000, samples=16000)
        front.fit(torch.randn(4, 16000).clamp(-1, 1))
    else:
        tree = {"data": {"name": "x:y"}, "backbone": name, "backbone_args": arguments, "device": "host", **SETTINGS}
        loaded = recipe.build_recipe(tree, "test")
        backbones.build(name, num_classes=3, input_shape=(1, 49, 10), args=loaded.backbone_args)
    return f"{name} {arguments}"[:300]


def enter_arguments(seeds: Seeds, random: Random, folder: Path) -> str:
    """Damage arguments of ``gatesearch.run``, and call it; the tests replace the run itself."""
    whole = {**SETTINGS, "device": "three_core", "name": "x", "out": "run", "resume": None, "trust": False, "seed": 0}
    whole |= {"frontend": {"name": "identity"}, "augment": None, "title": "x", "goal": "classification"}
    arguments = mutate_tree(whole, random, (*VALUES, *OBJECTS))
    arguments = {str(key): value for key, value in arguments.items()}
    model, data = network(), images()
    if random.random() < 0.1:
        model = random.choice((*VALUES, *OBJECTS))
    elif random.random() < 0.1:
        data = random.choice((*VALUES, *OBJECTS))
    arguments.setdefault("space", SETTINGS["space"])
    arguments.setdefault("stream", SETTINGS["stream"])
    for name in ("model", "self"):
        arguments.pop(name, None)
    arguments.pop("data", None)
    gatesearch.run(model, data, **arguments)
    return "arguments"


def enter_dataset(seeds: Seeds, random: Random, folder: Path) -> str:
    """Damage fields of a data set that a program makes, or of its training split, and call ``gatesearch.run``."""
    whole = images()
    split = {name: getattr(whole.train, name) for name in ("inputs", "labels", "names")}
    fields = {name: getattr(whole, name) for name in Dataset.__dataclass_fields__}
    values = (*VALUES, *OBJECTS)
    for _ in range(random.choice((1, 1, 2))):
        holder = random.choice((fields, split))
        holder[random.choice(list(holder))] = copy_value(random.choice(values))
    if fields["train"] is whole.train:
        fields["train"] = Split(**split)
    gatesearch.run(network(), Dataset(**fields), **SETTINGS)
    return "data of a program"


def enter_plan(seeds: Seeds, random: Random, folder: Path) -> str:
    """Damage a plan as a tree or as JSON, and read it; check that an accepted plan stays equal if written and read."""
    gates = [PlacedGate.of("gc", "0", mode="channel", keep=0.5).to_dict(), PlacedGate.of("fbs", "1").to_dict()]
    tree = {"gates": gates, "cores": ["host", "host"]}
    if random.random() < 0.5:
        plan = GatePlan.from_dict(mutate_tree(tree, random, (*VALUES, *OBJECTS)))
    elif random.random() < 0.5:
        plan = GatePlan.from_json(mutate_bytes(json.dumps(tree).encode(), random).decode(errors="surrogateescape"))
    else:
        plan = GatePlan.from_json(json.dumps(mutate_tree(tree, random)))
    assert GatePlan.from_json(plan.to_json()).digest == plan.digest and len({plan}) == 1
    return "plan"


def enter_device(seeds: Seeds, random: Random, folder: Path) -> str:
    """Load a device by an odd value in place of its name or path."""
    gatesearch.load_device(copy_value(random.choice((*VALUES, *OBJECTS))))
    return "device"


DOORS: Mapping[str, tuple[Door, int]] = {
    "recipes": (enter_recipe, 600),
    "run folders": (enter_run_folder, 200),
    "overrides": (enter_overrides, 400),
    "search spaces": (enter_space, 300),
    "profiles": (enter_profile, 400),
    "bundles": (enter_bundle, 300),
    "data sets": (enter_data, 300),
    "plug-in arguments": (enter_plugin, 200),
    "arguments": (enter_arguments, 300),
    "data of a program": (enter_dataset, 200),
    "plans": (enter_plan, 200),
    "devices": (enter_device, 100),
}
"""Each door, with the number of its damaged inputs in the long form of the tests: 3,500 in all."""
