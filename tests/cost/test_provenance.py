"""Tests that every gate of a shipped recipe has a price from kernels or programs, or a listed reason why not."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import pytest
import torch

from gatesearch import backbones, recipe
from gatesearch.cost import provenance
from gatesearch.cost.kernel_costs import KernelCosts, key_of
from gatesearch.cost.provenance import REASONS, Basis
from gatesearch.cost.sources import board
from gatesearch.cost.table_reader import kernel_runs
from gatesearch.devices import profile
from gatesearch.devices.profile import Core, Provenance
from gatesearch.gates import KernelCall, work_of
from gatesearch.graph.sites import LayerSite, cut_sites, layer_sites
from gatesearch.kernels import layer_kernels
from gatesearch.plan import PlacedGate
from gatesearch.search.space import Space
from gatesearch.search.space_builder import build_space
from tests.cost.test_recipes_on_devices import SHAPES

FLOAT_CORES = ("host", "app", "a64")  # the cores of shipped devices that run float programs and kernels


class StandInCosts:
    """Stands in for timings on this host: it has a reading for each kernel call that a latency table needs."""

    provenance: Provenance = "measured"

    def __init__(self, layers: Sequence[LayerSite], gates: Sequence[PlacedGate]) -> None:
        self.keys = {key_of(run.call) for run in kernel_runs(layers, gates)}

    def reading(self, call: KernelCall) -> float | None:
        return 1.0 if call.kernel in layer_kernels() and key_of(call) in self.keys else None


@cache
def space_of(name: str, device: str) -> tuple[Space, tuple[LayerSite, ...]]:
    loaded, on = recipe.load(f"{name}.yaml"), profile.load(device)
    shape, classes = SHAPES[name]
    backbone = backbones.build(
        loaded.backbone, num_classes=classes, input_shape=shape, args=loaded.backbone_args
    ).eval()
    x = torch.zeros(1, *shape)
    layers = layer_sites(backbone, x)
    space = build_space(
        cut_sites(backbone, x), on.core_names, loaded.space.kinds, cut_names=loaded.space.sites,
        core_names=loaded.space.cores, min_work=loaded.space.min_work, min_gates=loaded.space.gates.min,
        max_gates=loaded.space.gates.max, layer_sites=layers, layer_names=loaded.space.layers.sites,
        together=loaded.space.layers.together,
    )  # fmt: skip
    return space, layers


def costs_of(core: Core, layers: Sequence[LayerSite], gates: Sequence[PlacedGate]) -> KernelCosts | None:
    return StandInCosts(layers, gates) if core.runs_kernels else board.costs_of(core)


def bases(name: str, device: str) -> list[tuple[str, str, Basis, int]]:
    space, layers = space_of(name, device)
    on, gates = profile.load(device), space.layer_gates
    costs = {core.name: result for core in on.cores if (result := costs_of(core, layers, gates)) is not None}
    return [
        *provenance.cut_bases(on, space.variants(), space.cut_sites),
        *provenance.layer_bases(on, layers, gates, costs),
    ]


@pytest.mark.parametrize("name", SHAPES)
def test_each_gate_of_a_recipes_space_is_priced_by_kernels_or_programs_or_has_a_reason(name: str) -> None:
    result = bases(name, recipe.load(f"{name}.yaml").device)
    assert result
    for core, kind, basis, count in result:
        assert count > 0
        assert basis.measured or basis.reason in REASONS, (core, kind, basis)
        assert basis.reason not in ("wide", "no kernel", "no compiler", "not counted"), (core, kind, basis)


@pytest.mark.parametrize("device", ["host", "three_core", "cortex_a"])
@pytest.mark.parametrize("name", SHAPES)
def test_every_layer_gate_of_a_shipped_space_has_a_kernel_where_a_core_runs_float(name: str, device: str) -> None:
    space, _ = space_of(name, device)
    kinds = {gate.kind for gate in space.layer_gates}
    basis_of = {(core, kind): basis for core, kind, basis, _ in bases(name, device) if kind in kinds}
    for core in profile.load(device).core_names:
        for kind in kinds:
            basis = basis_of[core, kind]
            if core in FLOAT_CORES:
                assert basis.what == "kernels" and basis.provenance in ("measured", "simulated"), (core, kind, basis)
            else:
                assert basis == Basis("nothing", basis.provenance, "int8 only")
    assert bool(kinds) == (name.endswith("hybrid") or name.endswith("hmd"))


def test_a_gate_without_a_kernel_is_listed_with_a_reason() -> None:
    space, layers = space_of("digits_hybrid", "host")
    [site] = [layer for layer in layers if layer.name == "conv3.0"]
    host, serial = profile.load("host").core("host"), profile.load("bit_serial").core("serial")
    narrow = PlacedGate.of("pg", site.name, bits=8, high_bits=4)
    wide = PlacedGate.of("pg", site.name, bits=16, high_bits=8)
    costs = StandInCosts(layers, [narrow])
    assert provenance.layer_basis(host, site, narrow, costs) == Basis("kernels", "measured")
    assert provenance.layer_basis(host, site, wide, costs) == Basis("reference", "modelled", "wide")
    assert provenance.layer_basis(host, site, narrow, StandInCosts(layers, [])) == Basis(
        "reference", "modelled", "no compiler"
    )
    assert provenance.layer_basis(serial, site, narrow, None) == Basis("rate", "assumed", "imagined")
    masking = serial.model_copy(update={"engine": "litert"})
    assert provenance.layer_basis(masking, site, narrow, None) == Basis("reference", "modelled", "masks")
    assert not work_of(site, wide).kernels
    assert space.layer_gates
