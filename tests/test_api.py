"""Tests of ``gatesearch.run`` with a network and data in memory."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import gatesearch
from gatesearch.cli import app
from gatesearch.errors import UserError
from tests.pipeline.small_run import SETTINGS, images, network


@pytest.fixture(scope="module")
def result(place: Path) -> Any:
    model = network()
    model[0][0].weight.requires_grad_(False)
    model[1].eval()
    state, before = copy.deepcopy(model.state_dict()), describe(model)
    run = gatesearch.run(model, images(), out=place / "run", **SETTINGS)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())  # the run trained a copy
    assert describe(model) == before
    return run


def describe(model: nn.Module) -> dict[str, Any]:
    """Return everything that a run might change on a user's module: attributes, mode, gradients, hooks."""
    modules = {
        name: {key: str(value) if key.startswith("_") else value for key, value in vars(module).items()}
        for name, module in model.named_modules()
    }
    parameters = {name: (p.requires_grad, p.grad, str(p.device), id(p)) for name, p in model.named_parameters()}
    return {"modules": modules, "parameters": parameters}


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (nn.Module.half, "0.0.weight is float16; a run trains in float32: give network.float()"),
        (lambda model: model.requires_grad_(False), "all parameters are frozen"),
        (torch.compile, "network is compiled; give the module before torch.compile, network._orig_mod"),
        (nn.DataParallel, "network is wrapped for several devices; give the module inside, network.module"),
        (lambda model: model.to("meta"), "0.0.weight is on the meta device and has no values"),
        (lambda model: nn.Sequential(model[:3], nn.LazyLinear(3)), "the layer is lazy; run one sample through"),
        (lambda model: "model.pt", "is a str, not a torch.nn.Module"),
    ],
)
def test_a_network_that_cannot_be_trained_is_refused_before_anything_else(form: Any, message: str, place: Path) -> None:
    with pytest.raises(UserError, match=f"^gatesearch.run: model: .*{re.escape(message)}"):
        gatesearch.run(form(network()), images(), **SETTINGS)


def test_the_python_api_gives_the_results_of_the_command_line(result: Any) -> None:
    summary = json.loads((result.folder / "summary.json").read_text())
    assert summary["data"]["name"] == "squares" and summary["data"]["synthetic"]
    assert [gate.site for gate in result.plan.gates] == ["0"]
    assert (result.folder / "report.html").exists() and (result.folder / "best/bundle/manifest.json").exists()


def test_a_run_resumes_with_the_same_network_and_data_only(result: Any) -> None:
    where = result.folder.path
    torch.manual_seed(7)  # a program that runs again initialises other weights
    again = gatesearch.run(network(), images(), resume=where, **{key: SETTINGS[key] for key in ("space", "stream")})
    assert again.plan == result.plan
    same = zip(again.model.state_dict().values(), result.model.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in same)
    with pytest.raises(UserError, match="a network of other layers"):
        gatesearch.run(network(4), images(), resume=where, **{key: SETTINGS[key] for key in ("space", "stream")})
    with pytest.raises(UserError, match="the run had other data"):
        gatesearch.run(network(), images(1), resume=where, **{key: SETTINGS[key] for key in ("space", "stream")})


def test_the_command_line_says_that_it_lacks_network_and_data(result: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["verify", str(result.folder.path)]) == 2
    assert "comes from a Python program" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"serch": {"trials": 2}}, "gatesearch.run: serch: unknown key 'serch'; nearest: 'search'"),
        ({"search": {"trials": "many"}}, "gatesearch.run: search.trials: 'many' is not an integer"),
        ({"device": "tree_core"}, "unknown device 'tree_core'; nearest: 'three_core'"),
        ({"stream": {"shares": {"positive": 0.5, "others": 0.5}}}, "nearest: 'other'"),
    ],
)
def test_a_wrong_argument_gives_an_error_of_one_line(arguments: dict[str, Any], message: str, place: Path) -> None:
    with pytest.raises(UserError, match=message) as error:
        gatesearch.run(network(), images(), **(SETTINGS | arguments))
    assert "\n" not in str(error.value)
