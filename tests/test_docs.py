"""Tests that the example gates of docs/gates.md work as plug-ins.

Each gate passes the conformance suite, is searched and is exported.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import gatesearch
from gatesearch.compile.tflite import convert
from gatesearch.gates import build_gate, kind_of, kinds
from gatesearch.graph.sites import CutSite, LayerSite
from gatesearch.plan import PlacedGate
from gatesearch.recipe.schema import values
from gatesearch.runtime.program import Program
from tests import places
from tests.pipeline.small_run import SETTINGS, images, network
from tests.testing.gate_suites import check_gate

PAGE = Path(__file__).parent.parent / "docs" / "gates.md"
EXAMPLES = ("loud", "thin")  # gate kinds and names of their modules, in the page's order
QUIET = Path(__file__).parent / "plugins" / "quiet_inputs" / "quiet_inputs"
METADATA = "Metadata-Version: 2.1\nName: page-of-gates\nVersion: 1.0\n"


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Install the page's examples as a package with entry points."""
    codes = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    package, info = tmp_path / "page_of_gates", tmp_path / "page_of_gates-1.0.dist-info"
    package.mkdir()
    info.mkdir()
    (package / "__init__.py").touch()
    points = ["[gatesearch.gates]"]
    for name, code in zip(EXAMPLES, codes, strict=False):  # later blocks of code belong to tests/plugins
        (package / f"{name}.py").write_text(code)
        points.append(f"{name} = page_of_gates.{name}:{name.capitalize()}")
    (info / "METADATA").write_text(METADATA)
    (info / "entry_points.txt").write_text("\n".join(points))
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    _forget_plugins()
    yield
    monkeypatch.undo()
    _forget_plugins()


def _forget_plugins() -> None:
    kinds.cache_clear()
    values.plugin_names.cache_clear()


def test_the_gate_between_stages_conforms(plugin: None) -> None:
    check_gate(kind_of("loud"), CutSite("here", (8, 5, 4), 1, 1, 1, 1, "here"))


def test_the_gate_in_the_place_of_a_layer_conforms(plugin: None) -> None:
    check_gate(kind_of("thin"), LayerSite("here", "linear", (6,), (20,), 120, 140), nn.Linear(6, 20))


def search(space: dict[str, Any], folder: Path) -> Any:
    with places.working_in(folder):
        return gatesearch.run(network(), images(), **(SETTINGS | {"space": space}))


def test_the_gate_between_stages_is_searched_and_exported(plugin: None, tmp_path: Path) -> None:
    run = search({"gates": {"min": 1, "max": 1}, "sites": ["0"], "kinds": {"loud": {}}}, tmp_path)
    assert [gate.kind for gate in run.plan.gates] == ["loud"]
    assert run.parity.samples == 60 and run.parity.gate_agreement > 0.9


def test_the_gate_in_the_place_of_a_layer_is_searched_and_exported(plugin: None, tmp_path: Path) -> None:
    kinds = {"thin": {"share": [0.5, 0.75]}}
    run = search({"gates": {"min": 0, "max": 0}, "layers": {"sites": ["4"]}, "kinds": kinds}, tmp_path)
    assert "thin@4(share=" in (tmp_path / run.folder.path / "trials.csv").read_text()
    site, x = LayerSite("4", "linear", (8,), (3,), 24, 27), torch.randn(1, 8)
    gate: Any = build_gate(site, PlacedGate.of("thin", "4", share=0.5), nn.Linear(8, 3))
    [exported] = Program(convert(gate.eval(), x))(x.numpy())
    np.testing.assert_allclose(exported, gate(x).detach().numpy(), atol=1e-5)


def test_the_gate_with_a_kernel_is_the_package_that_tests_install() -> None:
    codes = re.findall(r"```(?:python|c)\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert codes[len(EXAMPLES) :] == [(QUIET / name).read_text() for name in ("gate.py", "kernel.py", "quiet.c")]
