"""Hand-written hostile inputs for each door. A door is an entry for user inputs, such as recipes or bundles.

No random change of a valid input produces these inputs. Each one is a function that gets the valid inputs and an empty
working folder, and calls the door. The call must end with an error of one line, or with success if the input is valid.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

import gatesearch
from gatesearch import backbones, frontends, recipe
from gatesearch.data import Dataset, Split, load_dataset
from gatesearch.devices import profile
from gatesearch.pipeline.problem import Inputs, load_problem
from gatesearch.plan import GatePlan
from gatesearch.runtime.bundle import Bundle
from tests.doors.doors import CIFAR, HAR, Seeds, load_parts
from tests.doors.files import ARRAYS, TREES
from tests.doors.texts import MANIFESTS, OVERRIDES, PLAN_TEXTS, PLAN_TREES, YAML_TEXTS
from tests.doors.values import PYTHON_VALUES, WINDOWS
from tests.pipeline.small_run import SETTINGS, images, network

Hostile = Callable[[Seeds, Path], object]


def hostile_yaml(load: Callable[[Path], object], text: Callable[[Seeds], str]) -> dict[str, Hostile]:
    """Return hostile inputs for a door that reads a YAML file."""

    def build(change: Callable[[str], bytes]) -> Hostile:
        def enter(seeds: Seeds, folder: Path) -> object:
            path = folder / "mine.yaml"
            path.write_bytes(change(text(seeds)))
            return load(path)

        return enter

    return {name: build(change) for name, change in YAML_TEXTS.items()} | hostile_files(load)


def hostile_files(load: Callable[[Path], object]) -> dict[str, Hostile]:
    """Return inputs with something else in the place of a file, such as a folder or a pipe."""

    def folder_for_file(seeds: Seeds, folder: Path) -> object:
        (folder / "mine.yaml").mkdir()
        return load(folder / "mine.yaml")

    def pipe_for_file(seeds: Seeds, folder: Path) -> object:
        os.mkfifo(folder / "mine.yaml")
        return load(folder / "mine.yaml")

    def empty(seeds: Seeds, folder: Path) -> object:
        (folder / "mine.yaml").touch()
        return load(folder / "mine.yaml")

    def sparse(seeds: Seeds, folder: Path) -> object:
        with (folder / "mine.yaml").open("wb") as file:
            file.truncate(10**11)
        return load(folder / "mine.yaml")

    def link(target: str) -> Hostile:
        def enter(seeds: Seeds, folder: Path) -> object:
            (folder / "mine.yaml").symlink_to(target)
            return load(folder / "mine.yaml")

        return enter

    return {
        "folder for a file": folder_for_file,
        "pipe for a file": pipe_for_file,
        "empty file": empty,
        "sparse file": sparse,
        "endless device": link("/dev/zero"),
        "empty device": link("/dev/null"),
        "link to itself": link("mine.yaml"),
        "link to a folder": link("/"),
        "through a file": lambda seeds, folder: load(Path("/etc/passwd/mine.yaml")),
    }


def load_recipe(path: Path) -> None:
    load_parts(recipe.load(path))


def load_run(path: Path) -> None:
    run = Path("run").absolute()
    (run / "best").mkdir(parents=True)
    if path.parent.is_dir() and os.path.lexists(path):
        os.replace(path, run / "recipe.yaml")
    load_parts(recipe.load_run(run))


def load_space(path: Path) -> None:
    tree = {"data": {"name": "x:y"}, "backbone": "x:y", "device": "three_core", **SETTINGS}
    tree["space"] = recipe.load_space(path)
    load_problem(recipe.build_recipe(tree, "test"), Inputs(network(), images()), with_features=False)


def load_profile(path: Path) -> None:
    device = profile.load(path)
    assert device.core_names and all(constant.source for _, constant in profile.list_constants(device))


def override(text: str) -> Hostile:
    return lambda seeds, folder: load_parts(recipe.load("kws_clips.yaml", [text]))


def with_manifest(change: Callable[[dict[str, Any]], object]) -> Hostile:
    """Return an input that opens a bundle after a change of its manifest, or with the text that the change returns."""

    def enter(seeds: Seeds, folder: Path) -> object:
        bundle = folder / "bundle"
        shutil.copytree(seeds.folder / "bundle", bundle)
        manifest = json.loads((bundle / "manifest.json").read_text())
        changed = change(manifest)
        text = changed if isinstance(changed, str) else json.dumps(manifest)
        (bundle / "manifest.json").write_bytes(text.encode(errors="surrogateescape"))
        return Bundle(bundle)(np.zeros((1, 8, 8), np.float32))

    return enter


def open_bundle(*arguments: Any, **keywords: Any) -> Hostile:
    def enter(seeds: Seeds, folder: Path) -> object:
        folder_of = {"BUNDLE": seeds.folder / "bundle"}
        values = [folder_of.get(each, each) if isinstance(each, str) else each for each in arguments]
        return Bundle(*values, **keywords)(np.zeros((1, 8, 8), np.float32))

    return enter


def feed_bundle(window: Callable[[], Any]) -> Hostile:
    return lambda seeds, folder: Bundle(seeds.folder / "bundle")(window())


def arguments_entry(key: str, make: Callable[[], Any]) -> Hostile:
    def enter(seeds: Seeds, folder: Path) -> object:
        data: Any = images()
        model: Any = network()
        value = make()
        if key == "model":
            return gatesearch.run(value, data, **SETTINGS)
        if key == "data":
            return gatesearch.run(model, value, **SETTINGS)
        if "." in key:
            group, name = key.split(".")
            tree = {**SETTINGS, group: {**(SETTINGS.get(group) or {}), name: value}}
            return gatesearch.run(model, data, **tree)
        return gatesearch.run(model, data, **{**SETTINGS, key: value})

    return enter


RUN_KEYS = (
    "model", "data", "space", "stream", "device", "name", "out", "resume", "trust", "seed", "title", "goal",
    "frontend", "augment", "search", "training", "export", "constraints", "training.epochs", "search.trials",
    "training.learning_rate", "stream.shares", "stream.period_s", "frontend.name", "export.formats", "verify",
    "search.executor", "retrain", "objectives", "pick",
)  # fmt: skip


def dataset_entry(**changes: Callable[[], Any]) -> Hostile:
    def enter(seeds: Seeds, folder: Path) -> object:
        whole = images()
        fields: dict[str, Any] = {name: getattr(whole, name) for name in Dataset.__dataclass_fields__}
        dataset = Dataset(**{**fields, **{name: make() for name, make in changes.items()}})
        return gatesearch.run(network(), dataset, **SETTINGS)

    return enter


def split_entry(**changes: Callable[[], Any]) -> Hostile:
    def enter(seeds: Seeds, folder: Path) -> object:
        whole = images().train
        fields: dict[str, Any] = {"inputs": whole.inputs, "labels": whole.labels, "names": whole.names}
        fields |= {name: make() for name, make in changes.items()}
        return dataset_entry(train=lambda: Split(**fields))(seeds, folder)

    return enter


def loader_entry(name: str, key: str, make: Callable[[], Any]) -> Hostile:
    def enter(seeds: Seeds, folder: Path) -> object:
        arguments: dict[str, Any]
        if name == "speech":
            arguments = {"sample_rate": 8000, "seconds": 0.1, "seed": 0, "root": str(seeds.folder / "words")}
            arguments |= {"positives": ["hey"], "negatives": {"other": ["*"]}, "clips_per_class": 10}
        elif name == "har":
            arguments = {"root": str(seeds.folder / "har.npz"), "validation_subjects": 1}
        else:
            arguments = {"root": str(seeds.folder / "cifar.npz"), "validation": 10}
        return load_dataset(name, **{**arguments, key: make()})

    return enter


def data_tree(change: Callable[[Path], object]) -> Hostile:
    """Return an input that loads a folder of words after a change."""

    def enter(seeds: Seeds, folder: Path) -> object:
        root = folder / "words"
        shutil.copytree(seeds.folder / "words", root)
        change(root)
        arguments: dict[str, Any] = {"sample_rate": 8000, "seconds": 0.1, "seed": 0, "root": str(root)}
        return load_dataset("speech", positives=["hey"], negatives={"other": ["*"]}, clips_per_class=10, **arguments)

    return enter


def npz(name: str, change: Callable[[dict[str, Any]], object]) -> Hostile:
    """Return an input that loads an archive of arrays after a change, or the bytes that the change returns."""

    def enter(seeds: Seeds, folder: Path) -> object:
        arrays = dict(HAR if name == "har" else CIFAR)
        written = change(arrays)
        path = folder / "set.npz"
        if isinstance(written, bytes):
            path.write_bytes(written)
        else:
            np.savez(path, **arrays)
        extra: dict[str, Any] = {"validation_subjects": 1} if name == "har" else {"validation": 10}
        return load_dataset(name, root=str(path), **extra)

    return enter


DATA_KEYS = (
    ("speech", "root"), ("speech", "positives"), ("speech", "negatives"), ("speech", "sample_rate"), ("har", "root"),
    ("speech", "clips_per_class"), ("speech", "seconds"), ("cifar10", "validation"), ("har", "validation_subjects"),
)  # fmt: skip
PLUGIN_KEYS = (
    ("mfcc", "coefficients"), ("mfcc", "window_ms"), ("mfcc", "hop_ms"), ("log_mel", "bands"),
    ("sequence", "average"), ("identity", "x"),
)  # fmt: skip
NETWORK_KEYS = (("ds_cnn", "width"), ("kwt", "heads"), ("kws_lstm", "hidden"), ("m_cifarnet", "width"), ("codec", "x"))


def frontend_entry(name: str, key: str, make: Callable[[], Any]) -> Hostile:
    def enter(seeds: Seeds, folder: Path) -> object:
        tree = {
            "data": {"name": "x:y"},
            "backbone": "x:y",
            "device": "host",
            **SETTINGS,
            "frontend": {"name": name, key: make()},
        }
        loaded = recipe.build_recipe(tree, "test")
        front = frontends.build_for(loaded.frontend.name, loaded.frontend.arguments, sample_rate=16000, samples=16000)
        return front.fit(torch.randn(4, 16000).clamp(-1, 1))

    return enter


def backbone_entry(name: str, key: str, make: Callable[[], Any]) -> Hostile:
    def enter(seeds: Seeds, folder: Path) -> object:
        tree = {"data": {"name": "x:y"}, "backbone": name, "backbone_args": {key: make()}, "device": "host", **SETTINGS}
        loaded = recipe.build_recipe(tree, "test")
        return backbones.build(name, num_classes=3, input_shape=(1, 49, 10), args=loaded.backbone_args)

    return enter


def device_entry(make: Callable[[], Any]) -> Hostile:
    return lambda seeds, folder: gatesearch.load_device(make())


def plan_tree(value: Any) -> Hostile:
    return lambda seeds, folder: GatePlan.from_dict(value)


def plan_text(value: Any) -> Hostile:
    return lambda seeds, folder: GatePlan.from_json(value)


def numbered(entries: Iterable[Any], build: Callable[[Any], Hostile]) -> dict[str, Hostile]:
    return {str(index): build(entry) for index, entry in enumerate(entries)}


def every(keys: Iterable[Any], build: Callable[..., Hostile]) -> dict[str, Hostile]:
    """Return an input for each Python value at each key."""
    return {
        f"{key} {name}": build(*(key if isinstance(key, tuple) else (key,)), make)
        for key in keys
        for name, make in PYTHON_VALUES.items()
    }


TEXTS: Mapping[str, Callable[[Seeds], str]] = {
    "recipe": lambda seeds: yaml.safe_dump(seeds.recipes["kws_clips.yaml"], sort_keys=False),
    "run folder": lambda seeds: recipe.to_yaml(recipe.load("kws_clips.yaml")),
    "space": lambda seeds: yaml.safe_dump(seeds.spaces["kws_gc"], sort_keys=False),
    "profile": lambda seeds: yaml.safe_dump(seeds.profiles["three_core"], sort_keys=False),
}

HOSTILE: Mapping[str, Mapping[str, Hostile]] = {
    "recipes": hostile_yaml(load_recipe, TEXTS["recipe"]),
    "run folders": hostile_yaml(load_run, TEXTS["run folder"]),
    "overrides": numbered(OVERRIDES, override),
    "search spaces": hostile_yaml(load_space, TEXTS["space"]),
    "profiles": hostile_yaml(load_profile, TEXTS["profile"]),
    "manifests": {name: with_manifest(change) for name, change in MANIFESTS.items()},
    "bundles": {name: open_bundle(make()) for name, make in PYTHON_VALUES.items()}
    | {f"engines {name}": open_bundle("BUNDLE", make()) for name, make in PYTHON_VALUES.items()}
    | {f"engine {name}": open_bundle("BUNDLE", {"host": make()}) for name, make in PYTHON_VALUES.items()},
    "windows": {name: feed_bundle(make) for name, make in WINDOWS.items()},
    "data sets": {name: data_tree(change) for name, change in TREES.items()}
    | {f"{name} {kind}": npz(kind, change) for kind in ("har", "cifar10") for name, change in ARRAYS.items()},
    "data arguments": every(DATA_KEYS, loader_entry),
    "front ends": every(PLUGIN_KEYS, frontend_entry),
    "backbones": every(NETWORK_KEYS, backbone_entry),
    "arguments": every(RUN_KEYS, arguments_entry),
    "data of a program": every(Dataset.__dataclass_fields__, lambda key, make: dataset_entry(**{key: make}))
    | every(("inputs", "labels", "names"), lambda key, make: split_entry(**{key: make})),
    "devices": {name: device_entry(make) for name, make in PYTHON_VALUES.items()},
    "plans": numbered(PLAN_TREES, plan_tree),
    "texts of plans": numbered(PLAN_TEXTS, plan_text),
}  # fmt: skip
