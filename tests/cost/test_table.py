"""Tests of latency tables: the costs of a backbone's blocks and gate heads, by shares of channels.

A surface gives a block's cost at any share of input and output channels. It is fitted to the costs at one to four pairs
of shares, its corners.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from gatesearch.compile.vela import VelaResult
from gatesearch.cost import table_reader
from gatesearch.cost.blocks import EMPTY, Component, ComponentKey, variant_of
from gatesearch.cost.programs import Programs
from gatesearch.cost.sources.vela import VelaSource, vela
from gatesearch.cost.surface import Surface
from gatesearch.cost.table import QUANTITIES, Table
from gatesearch.cost.table_reader import build_table, count_components
from gatesearch.devices import profile
from gatesearch.devices.profile import Device
from gatesearch.graph.sites import CutSite, cut_sites
from gatesearch.plan import PlacedGate

readings = st.floats(0, 1e7, allow_subnormal=False)
shares = st.sampled_from([0.25, 0.5, 2 / 3, 0.9])
VARIANTS = [PlacedGate.of("gc", "any", mode="channel"), PlacedGate.of("gc", "any", mode="activation")]


@given(readings, readings, readings, readings, shares, shares)
def test_surfaces_go_through_their_corners(a: float, b: float, c: float, d: float, i: float, o: float) -> None:
    corners = {(1.0, 1.0): a, (i, 1.0): b, (1.0, o): c, (i, o): d}
    surface = Surface.fit(corners)
    for corner, reading in corners.items():
        assert surface(*corner) == pytest.approx(reading, abs=1e-6 * max(corners.values(), default=1))


@given(readings, readings, shares)
def test_without_corners_of_a_share_the_cost_does_not_depend_on_it(a: float, b: float, share: float) -> None:
    assert Surface.fit({(1.0, 1.0): a})(0.3, 0.7) == pytest.approx(a)
    by_input = Surface.fit({(1.0, 1.0): a, (share, 1.0): b})
    by_output = Surface.fit({(1.0, 1.0): a, (1.0, share): b})
    tolerance = {"abs": 1e-6 * max(a, b, 1)}
    assert by_input(share, 0.1) == pytest.approx(b, **tolerance) == by_output(0.1, share)
    assert by_input(1.0, 0.1) == pytest.approx(a, **tolerance) == by_output(0.1, 1.0)


def test_products_of_channels_are_exact_everywhere() -> None:
    """The MACs of a convolution grow with the product of both shares; those of a depthwise one, with one share.

    So a sum of such layers has the form of a surface. MACs are multiply-accumulates.
    """
    work = lambda i, o: 7 + 3 * i + 2 * o + 100 * i * o  # noqa: E731
    surface = Surface.fit({corner: work(*corner) for corner in [(1.0, 1.0), (0.5, 1.0), (1.0, 0.5), (0.5, 0.5)]})
    for i in (0.125, 0.25, 0.75):
        for o in (0.3, 0.6):
            assert surface(i, o) == pytest.approx(work(i, o))


def test_readings_that_cannot_run_are_infinite_and_no_reading_is_negative() -> None:
    assert Surface.fit({(1.0, 1.0): 3.0, (0.5, 1.0): math.inf})(1.0, 1.0) == math.inf
    assert Surface.fit({(1.0, 1.0): 10.0, (0.5, 1.0): 1.0})(0.1, 1.0) == 0.0


class Backbone(nn.Module):
    """Two convolutions of 3 and 6 channels, and a linear layer; inputs [N, 2, 6, 4]."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU())
        self.block = nn.Sequential(nn.Conv2d(3, 6, 1), nn.ReLU())
        self.head = nn.Sequential(nn.AvgPool2d((6, 4)), nn.Flatten(), nn.Linear(6, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.block(self.stem(x)))


FEATURES = torch.ones(2, 2, 6, 4)
STEM, BLOCK, HEAD = 24 * 2 * 9 * 3, 24 * 3 * 6, 12  # multiply-accumulates


def counting(**more: Any) -> Device:
    """Return a device with one core whose readings are multiply-accumulates, so that no program is converted."""
    three = profile.load("three_core")
    mcu = three.cores[0]
    plain = mcu.model_copy(update={"timing": mcu.timing.model_copy(update={"table": None})})
    return three.model_copy(update={"cores": (plain,), "links": (), **more})


@pytest.fixture
def backbone() -> nn.Module:
    return Backbone().eval()


@pytest.fixture
def sites(backbone: nn.Module) -> tuple[CutSite, ...]:
    return cut_sites(backbone, FEATURES)  # at the input, behind the stem, and before the linear layer


def test_blocks_are_the_parts_between_neighbouring_sites(backbone: nn.Module, sites: tuple[CutSite, ...]) -> None:
    table = build_table(backbone, sites, FEATURES, counting(), VARIANTS)
    last = sites[2].name
    assert table.sites == ("input", "stem", last) and table.input_elements == 48
    dense = {name: row["macs"](1.0, 1.0) for name, row in table.blocks.items()}
    assert dense == pytest.approx({"input": STEM, "stem": BLOCK, last: HEAD})
    for row in table.blocks.values():
        assert set(row) == {*QUANTITIES, "mcu"} and row["mcu"] == row["macs"]
    # Half of 3 channels is rounded to 2, a share of 2/3. Half of 2 channels is 1, and half of 6 is 3.
    assert table.blocks["input"]["macs"](1.0, 2 / 3) == pytest.approx(STEM * 2 / 3)
    assert table.blocks["input"]["macs"](0.5, 2 / 3) == pytest.approx(STEM / 3)
    assert table.blocks["stem"]["macs"](2 / 3, 1.0) == pytest.approx(BLOCK * 2 / 3)
    assert table.blocks[last]["macs"](0.5, 1.0) == pytest.approx(HEAD / 2)
    assert table.blocks["stem"]["weight_bytes"](1.0, 1.0) == 18 + 6 * 4  # int8 weights, int32 biases
    # Input of 3 x 24 bytes, rounded up to a multiple of 16, and output of 6 x 24 bytes. The ReLU is fused into the
    # convolution and needs no memory.
    assert table.blocks["stem"]["activation_bytes"](1.0, 1.0) == 80 + 6 * 24


def test_heads_are_read_for_every_variant_and_site(backbone: nn.Module, sites: tuple[CutSite, ...]) -> None:
    table = build_table(backbone, sites, FEATURES, counting(), VARIANTS)
    assert set(table.heads) == {f"gc-{m}@{s.name}" for m in ("channel", "activation") for s in sites}
    assert all(row["mcu"](1.0, 1.0) > 0 for row in table.heads.values())


@pytest.mark.parametrize("first", [1, 2, 3])
def test_a_space_without_the_input_site_still_starts_at_the_input(
    first: int, backbone: nn.Module, sites: tuple[CutSite, ...]
) -> None:
    table = build_table(backbone, sites[first:], FEATURES, counting(), VARIANTS)
    assert table.sites == ("input", *(site.name for site in sites[first:]))
    total = sum(row["macs"](1.0, 1.0) for row in table.blocks.values())
    assert total == pytest.approx(STEM + BLOCK + HEAD)
    assert not any(name.endswith("@input") for name in table.heads)


def test_a_table_takes_as_many_steps_as_it_has_components(backbone: nn.Module, sites: tuple[CutSite, ...]) -> None:
    steps: list[None] = []
    build_table(backbone, sites, FEATURES, counting(), VARIANTS, on_step=lambda: steps.append(None))
    assert len(steps) == count_components(backbone, sites, FEATURES, VARIANTS) == 4 + 4 + 2 + 6 + 1


def test_a_table_is_the_same_after_json(backbone: nn.Module, sites: tuple[CutSite, ...]) -> None:
    table = build_table(backbone, sites, FEATURES, counting(), VARIANTS)
    assert Table.from_json(table.to_json()) == table


def test_a_table_is_read_once(
    backbone: nn.Module, sites: tuple[CutSite, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = lambda **of: build_table(backbone, sites, FEATURES, of.get("device", counting()), VARIANTS, cache=tmp_path)  # noqa: E731
    first = build()
    assert [path.suffix for path in tmp_path.iterdir()] == [".json"]
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(table_reader, "collect_readings")
        assert build() == first
    # With other weights the table is the same. Another clock frequency or another machine needs another table.
    nn.init.ones_(backbone.get_submodule("stem.0").weight)  # type: ignore[arg-type]
    assert build() == first and len(list(tmp_path.iterdir())) == 1
    faster = counting().cores[0].model_dump()
    faster["timing"]["clock_mhz"]["value"] *= 2
    build(device=counting(cores=(profile.Core.model_validate(faster),)))
    monkeypatch.setattr(table_reader.timing, "fingerprint", lambda: {"cpu": "another"})
    build()
    assert len(list(tmp_path.iterdir())) == 3


def test_operators_that_vela_leaves_to_the_cpu_cannot_run_on_the_npu(monkeypatch: pytest.MonkeyPatch) -> None:
    def compiled(model: bytes, *_: str) -> VelaResult:
        return VelaResult(7, 0, 0, b"", ("MEAN",) if model == b"mean" else ())

    monkeypatch.setattr(vela, "compile", compiled)
    npu = profile.load("three_core").core("npu")
    models = {ComponentKey("a"): b"conv", ComponentKey("b"): b"mean", EMPTY: b"relu"}
    components = {key: Component(nn.Identity(), torch.ones(1), "block") for key in models}
    programs = Programs(components, {}, {"int8": models, "float32": models})
    assert VelaSource().collect([npu], programs).by_name == {
        "npu": {ComponentKey("a"): 7.0, ComponentKey("b"): math.inf, EMPTY: 0.0}
    }


def test_a_variant_is_named_by_its_kind_and_mode() -> None:
    assert variant_of(PlacedGate.of("gc", "x", mode="channel", keep=0.5)) == "gc-channel"
    assert variant_of(PlacedGate.of("gc", "x")) == "gc"


def test_real_tools_give_a_finite_reading_for_each_of_three_cores() -> None:
    """This test uses the real converter, compiler and interpreters, on a minimal network."""
    net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2)).eval()
    features = torch.randn(4, 1, 6, 4)
    sites = cut_sites(net, features[:1])[:1]
    table = build_table(net, sites, features, profile.load("three_core"), VARIANTS[:1])
    assert table.sites == ("input",)
    for row in (*table.blocks.values(), *table.heads.values()):
        assert all(0 < row[core](1.0, 1.0) < math.inf for core in ("mcu", "npu", "app"))
    assert table.overhead["mcu"] == table.overhead["npu"] == 0 < table.overhead["app"]
    assert table.blocks["input"]["macs"](1.0, 1.0) == 8 * 9 * 8 + 128
    assert Table.from_json(table.to_json()) == table
