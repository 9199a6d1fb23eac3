"""Estimates of programs that reshape and transpose, compared with files and arenas of TensorFlow Lite Micro."""

from __future__ import annotations

import pytest
import torch
from hypothesis import Phase, given, settings
from torch import Tensor, nn

from gatesearch.compile import tflite
from gatesearch.graph.footprint import program_footprint
from gatesearch.graph.operator_log import OperatorLog
from gatesearch.graph.program_operators import program_operators
from gatesearch.runtime.program import Program
from tests.graph.networks import Apply, Shape, Sum, networks

TOLERANCE = 0.1  # relative error
SLACK_BYTES = 384  # absolute error for programs below 4 kB: two operators more or less, with their tables


def assert_memory(net: nn.Module, shape: Shape, tolerance: float = TOLERANCE, slack_bytes: int = SLACK_BYTES) -> None:
    torch.manual_seed(0)
    net, x = net.eval(), torch.randn(4, *shape)
    footprint = program_footprint(net, x[:1])
    model = tflite.quantise(tflite.convert(net, x[:1]), tflite.channel_last(x.numpy()))
    assert footprint.file_bytes == pytest.approx(len(model), rel=tolerance, abs=slack_bytes)
    assert footprint.arena_bytes == pytest.approx(Program(model, "tflm").arena_bytes, rel=tolerance, abs=slack_bytes)


@settings(max_examples=6, deadline=None, phases=[Phase.explicit, Phase.generate])  # a network takes seconds
@given(drawn=networks())
def test_a_network_of_any_layers_takes_the_memory_that_is_estimated(drawn: tuple[nn.Module, Shape, list[str]]) -> None:
    net, shape, _ = drawn
    assert_memory(net, shape)


def sequences() -> nn.Module:
    return nn.Sequential(nn.Conv1d(8, 8, 3), nn.Sigmoid(), nn.Conv1d(8, 8, 3))


def rows_of_a_map() -> nn.Module:
    rows = Apply(lambda x: x.flatten(2).transpose(1, 2))
    return nn.Sequential(nn.Conv2d(2, 8, 3), nn.ReLU(), rows, nn.Linear(8, 24))


def reshaped_rows() -> nn.Module:
    return nn.Sequential(nn.Linear(16, 64), Apply(lambda x: x.reshape(len(x), 8, 160)), nn.Linear(160, 8))


def last_step() -> nn.Module:
    return nn.Sequential(nn.Conv1d(8, 16, 3), nn.ReLU(), Apply(lambda x: x[:, :, -1]), nn.Linear(16, 4))


def sum_of_sequences() -> nn.Module:
    return nn.Sequential(nn.Conv1d(8, 16, 3), Sum(nn.Conv1d(16, 16, 3, padding=1)), nn.Conv1d(16, 8, 3))


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (sequences, (8, 64)),
        (rows_of_a_map, (2, 12, 12)),
        (reshaped_rows, (20, 16)),
        (last_step, (8, 64)),
        (sum_of_sequences, (8, 64)),
    ],
)
def test_copies_in_another_layout_count(make: object, shape: Shape) -> None:
    assert callable(make)
    assert_memory(make(), shape, tolerance=0.03, slack_bytes=0)


def operators(net: nn.Module, x: Tensor) -> list[str]:
    with OperatorLog(net.eval()) as log, torch.no_grad():
        net(x)
    return [each.name for each in program_operators(log.operations(), log.results).operations if not each.is_fused]


def test_layouts_cancel_between_convolutions_of_a_sequence() -> None:
    net = nn.Sequential(nn.Conv1d(8, 8, 3), nn.ReLU(), nn.Conv1d(8, 8, 3))
    ends = ["reshape", "transpose"]
    assert operators(net, torch.zeros(1, 8, 64)) == [*ends, "convolution", "convolution", *ends[::-1]]


def test_a_map_is_transposed_before_its_rows_are_joined() -> None:
    net = nn.Sequential(nn.Conv2d(2, 8, 3), nn.Flatten(), nn.Linear(800, 4))
    expected = ["convolution", "transpose", "reshape", "addmm", "reshape"]
    assert operators(net, torch.zeros(1, 2, 12, 12)) == expected
