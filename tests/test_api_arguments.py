"""Tests that wrong arguments of ``gatesearch.run`` give a one-line error before files are written."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import gatesearch
from gatesearch import recipe
from gatesearch.errors import UserError
from gatesearch.recipe.schema import SearchSpace, Stream
from tests.pipeline.small_run import SETTINGS, images, network

SHIPPED = recipe.find("kws_clips.yaml", "recipes", "recipe").absolute()
LOOP: dict[str, Any] = {}
LOOP["a"] = LOOP["b"] = LOOP


@pytest.fixture(autouse=True)
def nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path.parent / f"{tmp_path.name}-cache"))
    (tmp_path / "file").write_text("mine")
    yield
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def refusal(model: Any = None, data: Any = None, **arguments: Any) -> str:
    with pytest.raises(UserError) as error:
        gatesearch.run(
            network() if model is None else model, images() if data is None else data, **(SETTINGS | arguments)
        )
    line = str(error.value)
    assert len(line.splitlines()) == 1 and line.isprintable()
    return line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"model": "ds_cnn"}, "model: is a str, not a torch.nn.Module"),
        ({"model": nn.Linear}, "model: is a type, not a torch.nn.Module"),
        ({"data": "speech"}, "data is a str, not a gatesearch.data.Dataset"),
        ({"data": torch.zeros(3)}, "data is a Tensor, not a gatesearch.data.Dataset"),
        ({"space": 3}, "gatesearch.run: space: 3 is not a group of keys"),
        ({"space": None}, "gatesearch.run: space: null is not a group of keys"),
        ({"space": ["kws_gc"]}, "gatesearch.run: space: ['kws_gc'] is not a group of keys"),
        ({"space": Path("nowhere.yaml")}, "gatesearch.run: space: unknown search space 'nowhere.yaml'"),
        ({"space": {"kind": {}}}, "gatesearch.run: space.kind: unknown key 'kind'; nearest: 'kinds'"),
        ({"space": {}}, "missing key 'kinds'"),
        ({"space": b"kws_gc"}, "gatesearch.run: space: b'kws_gc' is not a group of keys"),
        ({"stream": None}, "gatesearch.run: stream: null is not a group of keys"),
        ({"stream": 0.1}, "gatesearch.run: stream: 0.1 is not a group of keys"),
        ({"stream": [("period_s", 1)]}, "gatesearch.run: stream: "),
        (
            {"stream": {"shares": {"positive": torch.ones(2), "other": 0.9}}},
            "gatesearch.run: stream.shares.positive",
        ),
        ({"stream": {"shares": {1: 1.0}}}, "gatesearch.run: stream.shares"),
        ({"stream": {"shares": {"positive": True, "other": 0.0}}}, "stream.shares.positive: true is not a number"),
        ({"stream": {"period_s": 1e-320, "shares": {"positive": 1.0}}}, "1e-320 is out of range"),
        ({"device": None}, "gatesearch.run: device: null is not text"),
        ({"device": 7}, "gatesearch.run: device: 7 is not text"),
        ({"device": "three_core.yaml"}, "unknown device 'three_core.yaml'"),
        ({"name": ""}, "gatesearch.run: name: empty"),
        ({"name": 3}, "gatesearch.run: name: 3 is not text"),
        ({"name": "../../x"}, "gatesearch.run: name: '../../x' is no name of a folder under runs/; write 'x'"),
        ({"out": 3}, "gatesearch.run: out: 3 is not the path of a folder"),
        ({"out": ""}, "gatesearch.run: out: '' is not the path of a folder"),
        ({"out": "file"}, "out=file: cannot be a run folder"),
        ({"out": "file/inside"}, "out=file/inside: cannot be a run folder"),
        ({"out": "a\nb"}, "out=a\\nb: a path with line breaks"),
        ({"out": "\udcff"}, "out=\\xff: a path with"),
        ({"resume": "nowhere"}, "gatesearch.run: resume=nowhere: holds no run"),
        ({"resume": True}, "gatesearch.run: resume: True is not the path of a folder"),
        ({"resume": "x", "out": "y"}, "leave one of them out"),
        ({"trust": "yes"}, "gatesearch.run: trust: 'yes' is neither True nor False"),
        ({"backbone": "ds_cnn"}, "gatesearch.run: backbone: this group stands for the model"),
        ({"backbone_args": {}}, "gatesearch.run: backbone_args: this group stands for"),
        ({"serch": {}}, "unknown key 'serch'; nearest: 'search'"),
        ({"search": 3}, "gatesearch.run: search: 3 is not a group of keys"),
        ({"search": {"trials": np.int64(3)}}, "gatesearch.run: search.trials"),
        ({"search": {"trials": True}}, "gatesearch.run: search.trials: true is not an integer"),
        ({"search": {"trials": "1e3"}}, "gatesearch.run: search.trials: '1e3' is not an integer"),
        ({"search": {"trials": 10**400}}, "a number of 1329 bits is out of range"),
        ({"search": {3: 4}}, "gatesearch.run: search"),
        ({"search": LOOP}, "nested too deeply"),
        ({"training": {"learning_rate": float("nan")}}, "gatesearch.run: training.learning_rate"),
        ({"training": object()}, "gatesearch.run: training: "),
        ({"seed": 0.5}, "gatesearch.run: seed: 0.5 is not an integer"),
        ({"title": "${oc.env:HOME}"}, "gatesearch.run: title: ${oc.env:HOME} is no reference"),
        ({"title": "a\ud800b"}, "gatesearch.run: title: "),
        ({"goal": "classify"}, "unknown goal 'classify'; nearest: 'classification'"),
        ({"frontend": "mfcc"}, "gatesearch.run: frontend: 'mfcc' is not a group of keys"),
        ({"frontend": {"name": "os:system"}}, "frontend.name: 'os:system' is of Python's own module 'os'"),
        ({"frontend": {"name": "mfccs"}}, "unknown front end 'mfccs'; nearest: 'mfcc'"),
        ({"export": {"formats": "tflite"}}, "gatesearch.run: export.formats"),
        ({"augment": True}, "gatesearch.run: augment: true is not a group of keys"),
    ],
)
def test_an_argument_that_cannot_be_used_gives_an_error_of_one_line(arguments: dict[str, Any], words: str) -> None:
    assert words in refusal(**arguments)


def test_data_that_cannot_be_used_is_refused_before_a_folder_is_made() -> None:
    data = images()
    broken = dataclasses.replace(data.train, inputs=data.train.inputs.clone().fill_(float("nan")))
    assert "train split, sample 0" in refusal(data=dataclasses.replace(data, train=broken))


def test_a_changed_device_has_to_be_a_file() -> None:
    device = gatesearch.load_device("three_core")
    assert "the profile 'mine' cannot be loaded by its name" in refusal(
        device=device.model_copy(update={"name": "mine"})
    )


@pytest.mark.parametrize(
    "arguments",
    [
        {"space": SearchSpace.model_validate(SETTINGS["space"])},
        {"space": SHIPPED.parent.parent / "search_spaces/kws_gc.yaml"},
        {"stream": Stream(period_s=1.0, shares={"positive": 0.1, "other": 0.9})},
        {"device": gatesearch.load_device("three_core")},
        {"device": SHIPPED.parent.parent / "gatesearch/devices/profiles/host.yaml"},
        {"name": None},
        {"search": recipe.schema.Search(trials=3)},
    ],
)
def test_names_paths_and_objects_are_accepted(arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    class Started(Exception):
        pass

    def start(*_: Any) -> None:
        raise Started

    monkeypatch.setattr("gatesearch.pipeline.run.start", start)
    with pytest.raises(Started):
        gatesearch.run(network(), images(), **(SETTINGS | arguments))
