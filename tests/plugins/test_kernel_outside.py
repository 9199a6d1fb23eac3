"""Tests of a gate and its C kernel from another package: conformance, export, timing, and instruction counts."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from gatesearch.cost.kernel_costs import key_of
from gatesearch.cost.sources.board import count
from gatesearch.cost.sources.board.shapes import EMPTY_CALL, table_calls
from gatesearch.cost.sources.host.kernel_points import Run, timed_grids
from gatesearch.devices import profile
from gatesearch.export.bundle import write_bundle
from gatesearch.gates import KernelCall, build_gate, kinds, work_of
from gatesearch.graph.sites import LayerSite, cut_sites, layer_sites
from gatesearch.kernels import counted_kernels, kernels, layer_kernel, layer_kernels, load
from gatesearch.model import GatedModel
from gatesearch.plan import GatePlan, PlacedGate
from gatesearch.runtime.bundle import Bundle
from gatesearch.runtime.parts_program import PartsProgram
from gatesearch.testing.gates import LayerGateConformance
from gatesearch.testing.kernels import LayerKernelConformance
from gatesearch.training import FeatureSplit

PACKAGE = Path(__file__).parent / "quiet_inputs"
SITE = LayerSite("here", "linear", (6,), (20,), 120, 140)
CACHES = (kinds, kernels, counted_kernels, layer_kernels, load)


@pytest.fixture(scope="module", autouse=True)
def package() -> Iterator[None]:
    """Put the package on the path, where its dist-info folder registers it as a plug-in."""
    sys.path.insert(0, str(PACKAGE))
    _forget()
    yield
    sys.path.remove(str(PACKAGE))
    _forget()


def _forget() -> None:
    importlib.invalidate_caches()
    for cache in CACHES:
        cache.cache_clear()


class TestGate(LayerGateConformance):
    site = SITE

    @pytest.fixture(autouse=True)
    def installed(self) -> None:
        self.kind = kinds()["quiet"]

    def layer(self) -> nn.Module:
        return nn.Linear(6, 20)


class TestKernel(LayerKernelConformance):
    calls = tuple(
        KernelCall("quiet", shape, (), (("read", share),))
        for shape, share in (((1, 6, 20), 0.5), ((3, 17, 5), 0.3), ((2, 1, 1), 1.0))
    )

    @pytest.fixture(autouse=True)
    def installed(self) -> None:
        self.kernel = layer_kernel("quiet")


@pytest.fixture
def gate() -> nn.Module:
    torch.manual_seed(0)
    return build_gate(SITE, PlacedGate.of("quiet", "here", limit=0.5), nn.Linear(6, 20)).eval()


def test_a_trained_gate_runs_in_c(gate: nn.Module) -> None:
    library = load()
    if library is None:
        pytest.skip("no C compiler")
    x = torch.randn(1, 6)
    layer = layer_kernel("quiet").layer
    packed = layer.load(layer.from_module(gate, x, None, False, False).arrays(), library)
    y = np.zeros(packed.shape, np.float32)
    for call in packed.bind(x[0].numpy(), y):
        call()
    with torch.no_grad():
        np.testing.assert_allclose(y, gate(x)[0].numpy(), rtol=1e-5, atol=1e-6)


def test_a_host_core_times_it() -> None:
    if load() is None:
        pytest.skip("no C compiler")
    [call] = work_of(SITE, PlacedGate.of("quiet", "here", limit=0.5), {"share_read": 0.5}).kernels
    [grid] = timed_grids([Run(call, reads_blocks=False)]).values()
    assert list(grid.calls) == [(0.0,), (1.0,)]
    for run in grid.calls.values():
        run()
    assert key_of(call) == ("quiet", (1, 6, 20), ())


def test_an_exported_bundle_runs_it(tmp_path: Path) -> None:
    if load() is None:
        pytest.skip("no C compiler")
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, 3))
    x = torch.randn(48, 6)
    plan = GatePlan((PlacedGate.of("quiet", "1", limit=0.5),), ("host",))
    model = GatedModel(backbone, plan, cut_sites(backbone, x[:1]), 3, layers=layer_sites(backbone, x[:1])).eval()
    labels = torch.arange(48) % 3
    manifest = write_bundle(
        tmp_path / "bundle",
        model,
        profile.load("host"),
        x[:16],
        FeatureSplit(x, labels, (labels == 2).long()),
        torch.tensor([True, True, False]),
        formats=["tflite"],
        classes=("a", "b", "none"),
        about={},
    )
    assert [part["kernel"] for part in manifest["stages"][0]["parts"]].count("quiet") == 1
    program = Bundle(tmp_path / "bundle").programs[0]
    assert isinstance(program, PartsProgram)
    floor = manifest["stages"][0]["logit_offset"]
    with torch.no_grad():
        expected = model.stages[0](x).clamp(min=floor).numpy()
    logits = np.array([program(sample.numpy())[0][0] + floor for sample in x.split(1)])
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=2e-4)


def test_tables_list_it_behind_the_shipped_kernels() -> None:
    calls = table_calls()
    first = next(index for index, call in enumerate(calls) if call.kernel == "quiet")
    assert {call.kernel for call in calls[first:]} == {"quiet"}


def test_instructions_are_counted_and_priced() -> None:
    lacking = count.missing("cortex_m4")
    if lacking:
        pytest.skip(lacking)
    calls = [call for call in table_calls() if call.kernel == "quiet"]
    table = count.count("cortex_m4", [EMPTY_CALL, *calls])
    assert len(table.readings) == len(calls) and all(reading.shortest > 0 for reading in table.readings)
    few, all_read = (
        table.costs.reading(KernelCall("quiet", (1, 20, 96), (), (("read", share),))) for share in (0.25, 1.0)
    )
    assert few is not None and all_read is not None and 0 < few < all_read
