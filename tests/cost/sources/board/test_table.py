"""Tests of the shipped kernel tables: each table states its errors correctly and prices networks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn

from gatesearch.backbones import build
from gatesearch.cost.kernel_costs import KernelCosts
from gatesearch.cost.sources import board
from gatesearch.cost.sources.board import table as tables
from gatesearch.cost.sources.board.call_counter import CallCounter, macs_of_call
from gatesearch.cost.sources.board.shapes import held_out_calls, padded_shape, table_calls
from gatesearch.cost.sources.board.table import BoardTable, held_out_errors
from gatesearch.devices import profile
from gatesearch.errors import UserError
from gatesearch.gates import KernelCall
from gatesearch.graph.operators import OperatorCounter
from gatesearch.kernels import counted_kernels

CONV = KernelCall("conv", padded_shape(8, 8, 64, 64, 3, 3, 1), (), (("inputs", 1.0), ("outputs", 1.0)))


@pytest.fixture(params=tables.names())
def shipped(request: pytest.FixtureRequest) -> BoardTable:
    return tables.load("test", request.param)


def test_the_stated_error_of_a_shipped_table_holds_at_other_shapes(shipped: BoardTable) -> None:
    assert shipped.unit == "instructions" and shipped.provenance == "simulated" and "no cycle model" in shipped.source
    assert shipped.held_out == held_out_errors(shipped.costs, shipped.others)
    assert set(shipped.held_out) == set(counted_kernels())
    for kernel, off in shipped.held_out.items():
        assert off.median <= 0.03 and off.largest <= 0.12, (kernel, off)
    assert not {r.call for r in shipped.readings} & {r.call for r in shipped.others}


def test_a_shipped_table_has_every_call_that_is_listed(shipped: BoardTable) -> None:
    def key(call: KernelCall) -> tuple[Any, ...]:
        # The share of open outputs of precision gating is observed; it differs a little from the requested share.
        return (
            call.kernel,
            call.shape,
            tuple(sorted(call.variant)),
            () if counted_kernels()[call.kernel].observed else call.remaining,
        )

    assert [key(r.call) for r in shipped.readings] == [key(c) for c in list(dict.fromkeys(table_calls()))[1:]]
    assert [key(r.call) for r in shipped.others] == [key(c) for c in dict.fromkeys(held_out_calls())]


def test_less_work_never_takes_longer(shipped: BoardTable) -> None:
    costs = shipped.costs
    assert isinstance(costs, KernelCosts)
    for kernel, name, variant in (
        ("conv", "inputs", ()), ("conv", "outputs", ()), ("fbs", "outputs", ()),
        ("pg", "open", (("bytes", 1), ("group", 1))), ("pg", "open", (("bytes", 2), ("group", 16))),
        ("fbs_single", "inputs", ()), ("fbs_single", "outputs", ()),
        ("fbs_pg", "outputs", (("block", 1), ("group", 16), ("pieces", 2))),
        ("fbs_pg", "open", (("block", 16), ("group", 1), ("pieces", 1))),
    ):  # fmt: skip
        call = KernelCall(kernel, CONV.shape, variant)
        costs_by_share = [costs.reading(call._replace(remaining=((name, share),))) for share in (0.25, 0.5, 0.75, 1.0)]
        assert (
            None not in costs_by_share
            and costs_by_share == sorted(costs_by_share, key=float)
            and costs_by_share[0] < costs_by_share[-1]
        )  # type: ignore[arg-type]
    for kernel in ("lstm", "gru"):
        one = KernelCall(kernel, (1, 10, 64), (("parts", 1),), (("rich", 0.25),))
        dense, many = one._replace(remaining=(("rich", 1.0),)), one._replace(shape=(7, 10, 64))
        readings = [costs.reading(call) for call in (one, dense, many)]
        assert readings[0] < readings[1] and readings[2] == pytest.approx(7 * readings[0])  # type: ignore[operator]
    assert costs.reading(CONV._replace(kernel="unheard of")) is None


BACKBONES = [
    ("ds_cnn", (1, 49, 10)), ("m_cifarnet", (3, 32, 32)), ("kws_lstm", (49, 10)), ("kws_gru", (49, 10)),
    ("har_bilstm", (128, 9)), ("kwt", (1, 98, 40)), ("resnet20", (3, 32, 32)), ("codec", (1, 256, 1)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "shape"), BACKBONES)
def test_the_calls_of_a_backbone_contain_all_of_its_macs(name: str, shape: tuple[int, ...]) -> None:
    backbone = build(name, num_classes=4, input_shape=shape, args={}).eval()
    example = torch.zeros(1, *shape)
    with torch.no_grad(), CallCounter(backbone) as counter:
        backbone(example)
    with torch.no_grad(), OperatorCounter() as counted:
        backbone(example)
    assert counter.calls
    assert sum(macs_of_call(call) for call in counter.calls) + counter.other_macs == counted.macs


def test_poolings_and_sums_are_listed_by_their_size() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pool, self.most = nn.AvgPool2d(2), nn.MaxPool2d(3, 2, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.pool(x)
            y = self.most(y + 2 * y)
            return y.mean((2, 3)) + y.amax((2, 3))

    net = Net().eval()
    with torch.no_grad(), CallCounter(net) as counter:
        net(torch.zeros(1, 24, 12, 8))
    same = (1, 1)
    assert [(call.kernel, call.shape) for call in counter.calls] == [
        ("average", (12, 8, 24, 24, 2, 2, 2, 2, 0, 0, *same)),
        ("sum", (24 * 6 * 4,)),
        ("largest", (6, 4, 24, 24, 3, 3, 2, 2, 1, 1, *same)),
        ("average", (3, 2, 24, 24, 3, 2, 1, 1, 0, 0, *same)),
        ("largest", (3, 2, 24, 24, 3, 2, 1, 1, 0, 0, *same)),
        ("sum", (24,)),
    ]
    core = profile.load("three_core").core("mcu")
    costs = board.costs_of(core)
    assert costs is not None and board.module_reading(core, costs, net, torch.zeros(1, 24, 12, 8)) > 24 * 12 * 8


def test_a_module_costs_its_calls_and_the_profiles_figure_for_the_rest() -> None:
    core = profile.load("three_core").core("mcu")
    costs = board.costs_of(core)
    assert costs is not None and isinstance(core.timing, profile.Instructions)
    block = nn.Sequential(
        nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.Conv2d(16, 32, 1), nn.ConvTranspose2d(32, 8, 1)
    ).eval()
    pointwise = KernelCall("conv", padded_shape(5, 5, 16, 32, 1, 1, 1), (), (("inputs", 1.0), ("outputs", 1.0)))
    depthwise = KernelCall("depthwise", padded_shape(5, 5, 16, 16, 3, 3, 1))
    priced = [costs.reading(call) for call in (depthwise, pointwise)]
    assert None not in priced
    by_hand = sum(filter(None, priced)) + 25 * 32 * 8 * core.timing.instructions_per_mac.value
    reading = board.module_reading(core, costs, block, torch.zeros(1, 16, 5, 5))
    assert reading == pytest.approx(by_hand)
    assert core.timing.latency_us(reading) == pytest.approx(by_hand / core.timing.clock_mhz.value)


def test_a_profile_without_a_table_uses_its_constant() -> None:
    timing = profile.load("three_core").core("mcu").timing
    assert isinstance(timing, profile.Instructions)
    plain = timing.model_copy(update={"table": None})
    assert plain.latency_us(1000.0) == pytest.approx(timing.latency_us(timing.cost_without_kernel(1000.0)))


def mine(folder: Path, table: str) -> Path:
    written = yaml.safe_load(profile.find_file("cortex_a").read_text(encoding="utf-8"))
    written["cores"][0]["timing"]["table"] = table
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(written))
    return path


def test_a_table_beside_a_profile_is_found_from_anywhere(tmp_path: Path) -> None:
    (tmp_path / "own.json").write_text(tables.load("test", "cortex_m4").to_json())
    device = profile.load(mine(tmp_path, "own.json"))
    assert board.table_of(device.cores[0]) == tables.load("test", "cortex_m4")
    assert set(board.kernels_of(device)) == {"a64"}


@pytest.mark.parametrize(
    ("name", "message"),
    [("cortex_m5", "core a64: timing.table: unknown table 'cortex_m5'; nearest: 'cortex_m55'"), ("no.json", "no file")],
)
def test_a_missing_table_gives_an_error_of_one_line(tmp_path: Path, name: str, message: str) -> None:
    device = profile.load(mine(tmp_path, name))
    with pytest.raises(UserError) as error:
        board.costs_of(device.cores[0])
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("unit", "parsecs", "unit: Input should be"),
        ("readings", [{"kernel": "conv", "shape": [1]}], "readings.0.taken: Field required"),
        ("readings", [{"kernel": "conv", "shape": [1], "taken": -1}], "readings.0.taken"),
        ("schema_version", 2, "schema_version"),
    ],
)
def test_a_table_that_breaks_the_schema_gives_an_error_of_one_line(key: str, value: Any, message: str) -> None:
    written = json.loads(tables.load("test", "cortex_m4").to_json()) | {key: value}
    with pytest.raises(UserError) as error:
        tables.parse("own.json", json.dumps(written))
    assert str(error.value).startswith("own.json: ") and message in str(error.value) and "\n" not in str(error.value)


def test_a_table_is_the_same_after_json(shipped: BoardTable) -> None:
    assert tables.parse("text", shipped.to_json()) == shipped
