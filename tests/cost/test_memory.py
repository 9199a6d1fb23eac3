"""Tests that prices contain the flash and SRAM that files and arenas of TensorFlow Lite Micro take."""

from __future__ import annotations

import json
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from gatesearch.backbones import build
from gatesearch.cost.feasibility import memory_overflows
from gatesearch.cost.frontend import FrontendWork
from gatesearch.cost.model import CostModel
from gatesearch.cost.table import OVERHEADS, Table
from gatesearch.cost.table_reader import build_table
from gatesearch.devices.profile import Device, load
from gatesearch.export.compiled import compile_stages
from gatesearch.graph.lifetimes import ALIGNMENT_BYTES, Lifetime, join_lifetimes, plan_arena
from gatesearch.graph.sites import cut_sites
from gatesearch.model import GatedModel
from gatesearch.plan import GatePlan, PlacedGate
from gatesearch.runtime.program import Program

TOLERANCE, SMALL_BYTES = 0.1, 1024  # relative error, and bytes of tables and structures that dominate small programs


def microcontroller() -> Device:
    """Return a device with one core, on which TensorFlow Lite Micro runs the programs."""
    written = load("m55_u55").model_dump(mode="json", exclude_none=True)
    cores = [core for core in written["cores"] if core["name"] == "m55"]
    return Device.model_validate({**written, "cores": cores, "links": []})


class Skips(nn.Module):
    """A residual network: the input of each block stays in memory until the sum at the end of the block."""

    def __init__(self, channels: int, blocks: int, length: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, channels, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(*(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(length))) for _ in range(blocks)
        )
        self.pool, self.flatten = nn.AdaptiveAvgPool2d(1), nn.Flatten()
        self.head = nn.Linear(channels, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        for block in self.blocks:
            x = torch.relu(x + block(x))
        return self.head(self.flatten(self.pool(x)))


def cost_model(net: nn.Module, x: Tensor) -> CostModel:
    device, sites = microcontroller(), cut_sites(net, x[:1])
    table = build_table(net, sites, x, device, [PlacedGate.of("gc", "any", mode="channel")])
    return CostModel(device, table, sites, FrontendWork(0), 1.0, {"positive": 1.0})


def assert_close(
    net: nn.Module,
    shape: tuple[int, ...],
    gates: tuple[PlacedGate, ...] = (),
    cost: CostModel | None = None,
    slack_bytes: int = SMALL_BYTES,
) -> None:
    torch.manual_seed(0)
    net, x = net.eval(), torch.randn(16, *shape)
    cost, plan = cost or cost_model(net, x), GatePlan(gates, ("m55",) * (len(gates) + 1))
    model = GatedModel(net, plan, cost.sites, 4).eval()
    for stage, estimate in zip(compile_stages(model, x, cost.device), cost.stages(plan), strict=True):
        arena_bytes = Program(stage.tflite, "tflm").arena_bytes  # in float, another engine stands in for TFLM
        assert estimate.flash_bytes == pytest.approx(len(stage.tflite), rel=TOLERANCE, abs=SMALL_BYTES)
        assert estimate.sram_bytes == pytest.approx(arena_bytes, rel=TOLERANCE, abs=slack_bytes)


def gate(site: str, keep: float) -> PlacedGate:
    return PlacedGate.of("gc", site, mode="channel", keep=keep, recall=0.9)


DS_CNN_SHAPE = (1, 49, 10)


@cache
def ds_cnn() -> tuple[nn.Module, CostModel]:
    """DS-CNN with all its cut sites: every second block is a depthwise layer alone, which mixes no channels."""
    torch.manual_seed(0)
    net = build("ds_cnn", num_classes=4, input_shape=DS_CNN_SHAPE, args={}).eval()
    return net, cost_model(net, torch.randn(16, *DS_CNN_SHAPE))


class Sequences(nn.Module):
    """1-D convolutions. In a program of its own, each transposes its input and its output."""

    def __init__(self, channels: int, layers: int) -> None:
        super().__init__()
        self.stem = nn.Conv1d(8, channels, 3, padding=1)
        self.layers = nn.ModuleList(nn.Conv1d(channels, channels, 3, padding=1) for _ in range(layers))
        self.pool, self.head = nn.AdaptiveAvgPool1d(1), nn.Linear(channels, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        for layer in self.layers:
            x = torch.relu(layer(x))
        return self.head(self.pool(x).flatten(1))


def test_joined_convolutions_of_a_sequence_transpose_at_the_ends_alone() -> None:
    assert_close(Sequences(16, 4), (8, 64), slack_bytes=0)


@settings(max_examples=4, deadline=None)
@given(data=st.data())
def test_stages_that_lose_channels_take_the_memory_that_is_planned(data: st.DataObject) -> None:
    net, cost = ds_cnn()
    names = [site.name for site in cost.sites[1:-1]]
    first = data.draw(st.integers(0, len(names) - 1))
    second = data.draw(st.integers(first + 2, len(names) + 1))
    keeps = st.sampled_from([0.25, 0.4, 0.6, 0.75, 1.0])
    gated_sites = [names[place] for place in (first, second) if place < len(names)]
    assert_close(net, DS_CNN_SHAPE, tuple(gate(name, data.draw(keeps)) for name in gated_sites), cost)


@settings(max_examples=2, deadline=None)
@given(keep=st.sampled_from([0.25, 0.5, 0.75]), site=st.sampled_from(["relu", "relu_1"]))
def test_a_sum_behind_a_cut_that_removes_channels_takes_planned_memory_up_to_a_map(keep: float, site: str) -> None:
    # The removed channels are restored before the sum. The moment at which they are restored decides how long one more
    # feature map is in memory.
    assert_close(Skips(16, 2, 2), (1, 16, 16), (gate(site, keep),), slack_bytes=SMALL_BYTES + 16 * 16 * 16)


@settings(max_examples=3)
@given(
    channels=st.sampled_from([8, 16, 24]),
    blocks=st.integers(1, 3),
    length=st.integers(1, 3),
    side=st.sampled_from([12, 16]),
)
def test_a_network_with_skips_takes_the_memory_that_is_planned(
    channels: int, blocks: int, length: int, side: int
) -> None:
    assert_close(Skips(channels, blocks, length), (1, side, side))


def test_a_residual_network_of_many_blocks_takes_the_memory_that_is_planned() -> None:
    assert_close(build("resnet20", num_classes=4, input_shape=(3, 32, 32), args={}), (3, 32, 32))


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_a_recurrent_network_takes_the_memory_of_its_steps(kind: type[nn.LSTM] | type[nn.GRU]) -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.head = kind(6, 16, batch_first=True), nn.Linear(16, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.layer(x)[0][:, -1])

    assert_close(Last(), (10, 6))


def test_a_plan_that_fits_without_tables_and_structures_alone_is_refused() -> None:
    net, x = Skips(8, 1, 1).eval(), torch.randn(16, 1, 12, 12)
    cost, plan = cost_model(net, x), GatePlan((), ("m55",))
    [stage] = cost.stages(plan)
    core = cost.device.cores[0]
    for memory, needed in (("flash_kib", stage.flash_bytes), ("sram_kib", stage.sram_bytes)):
        for share, fits in ((1.01, True), (0.99, False)):
            small = core.model_copy(update={"memory": core.memory.model_copy(update={memory: share * needed / 1024})})
            device = cost.device.model_copy(update={"cores": (small,)})
            assert (not memory_overflows(device, [stage])) == fits


def test_a_table_of_an_older_version_says_what_it_lacks() -> None:
    net, x = Skips(8, 1, 1).eval(), torch.randn(16, 1, 12, 12)
    table = cost_model(net, x).table
    assert Table.from_json(table.to_json()) == table and not table.lacks(microcontroller())
    raw = json.loads(table.to_json())
    for row in raw["blocks"].values():
        for name in ("values", *OVERHEADS):
            del row[name]
    older = Table.from_json(json.dumps(raw))
    assert older.lacks(microcontroller()) == OVERHEADS and older.lacks(load("bit_serial")) == ("values",)
    assert not older.lacks(load("host"))


sizes = st.integers(1, 400)


@given(programs=st.lists(st.lists(sizes, min_size=1, max_size=6), min_size=1, max_size=4), entering=sizes)
def test_programs_in_one_arena_take_no_less_than_what_lives_at_once(programs: list[list[int]], entering: int) -> None:
    chains = []
    for sizes_of in programs:
        tensors = [entering, *sizes_of]
        chains.append([Lifetime(size, step, step + 1) for step, size in enumerate(tensors)])
        chains[-1][0] = chains[-1][0]._replace(first=0)
        entering = tensors[-1]
    joined = join_lifetimes(chains)
    aligned = [-(-each.size_bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES for each in joined]
    alive = [
        sum(size for size, each in zip(aligned, joined, strict=True) if each.first <= step <= each.last)
        for step in range(max(each.last for each in joined) + 1)
    ]
    assert plan_arena(joined) >= max(alive)
    assert len(joined) == sum(map(len, chains)) - (len(chains) - 1)
