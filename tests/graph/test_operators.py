"""Tests of the operator table: multiply-accumulates (MACs) as counted by hand, and unknown operators."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gatesearch.graph.operator_log import OperatorLog, layer_bytes
from gatesearch.graph.operators import OperatorCounter
from gatesearch.graph.sites import cut_sites

TOKENS, WIDTH, HIDDEN = 20, 64, 256
ATTENTION = TOKENS * WIDTH * 3 * WIDTH + 2 * TOKENS * TOKENS * WIDTH + TOKENS * WIDTH * WIDTH
MATRIX = torch.randn(5, 7)


def counted(call: Callable[[], object]) -> OperatorCounter:
    with torch.no_grad(), OperatorCounter() as counter:
        call()
    return counter


@pytest.mark.parametrize("batch_first", [True, False])
def test_a_transformer_layer_costs_the_same_in_either_layout(batch_first: bool) -> None:
    layer = nn.TransformerEncoderLayer(WIDTH, 4, HIDDEN, batch_first=batch_first).eval()
    x = torch.randn(1, TOKENS, WIDTH) if batch_first else torch.randn(TOKENS, 1, WIDTH)
    assert counted(lambda: layer(x)).macs == ATTENTION + 2 * TOKENS * WIDTH * HIDDEN


def test_counting_does_not_change_fused_attention() -> None:
    counted(lambda: torch.ones(1) + 1)
    assert torch.backends.mha.get_fastpath_enabled()


@pytest.mark.parametrize(
    ("call", "macs"),
    [
        (lambda: torch.mv(MATRIX, torch.randn(7)), 35),
        (lambda: torch.addmv(torch.randn(5), MATRIX, torch.randn(7)), 35),
        (lambda: torch.dot(torch.randn(9), torch.randn(9)), 9),
        (lambda: MATRIX @ torch.randn(7, 3), 105),
        (lambda: torch.addbmm(torch.randn(2, 4), torch.randn(6, 2, 3), torch.randn(6, 3, 4)), 6 * 2 * 3 * 4),
        (lambda: torch.einsum("bij,bjk->bik", torch.randn(2, 3, 4), torch.randn(2, 4, 5)), 2 * 3 * 4 * 5),
        (lambda: torch.cdist(torch.randn(2, 30, 5), torch.randn(2, 40, 5)), 2 * 30 * 40 * 5),
        (lambda: F.linear(torch.randn(7), MATRIX, torch.randn(5)), 35),
        (lambda: nn.Bilinear(4, 5, 3)(torch.randn(2, 4), torch.randn(2, 5)), 2 * (3 * 4 * 5 + 3 * 4)),
        (lambda: nn.Conv1d(4, 6, 3, groups=2)(torch.randn(1, 4, 9)), 7 * 6 * 2 * 3),
        (lambda: nn.Conv3d(2, 3, 3)(torch.randn(1, 2, 5, 5, 5)), 27 * 3 * 2 * 27),
        (lambda: nn.ConvTranspose2d(2, 3, 3)(torch.randn(1, 2, 5, 5)), 25 * 2 * 3 * 9),
        (lambda: F.scaled_dot_product_attention(*torch.randn(3, 1, 2, 4, 8)), 2 * 2 * 4 * 4 * 8),
        (lambda: nn.MaxPool2d(2)(F.gelu(torch.randn(1, 2, 4, 4))) * 3, 0),
    ],
)
def test_operators_have_the_macs_computed_by_hand(call: Callable[[], object], macs: int) -> None:
    counter = counted(call)
    assert counter.macs == macs and not counter.unknown


MAPS = torch.randn(2, 4, 8, 8)


@pytest.mark.parametrize(
    "call",
    [
        lambda: F.channel_shuffle(MAPS, 2),
        lambda: F.pixel_unshuffle(MAPS, 2),
        lambda: F.interpolate(MAPS, scale_factor=2, mode="nearest-exact"),
        lambda: F.interpolate(MAPS[:, :, None], scale_factor=2, mode="trilinear"),
        lambda: F.pad(MAPS[:, :, None], (1, 1, 1, 1, 0, 0), mode="replicate"),
        lambda: F.grid_sample(MAPS, torch.zeros(2, 8, 8, 2), align_corners=False),
        lambda: F.max_unpool2d(*F.max_pool2d(MAPS, 2, return_indices=True), 2),
        lambda: torch.zeros(4, 8).index_add(0, torch.tensor([0, 1]), MAPS[:, 0, 0]),
        lambda: MAPS.nanmean(1) + MAPS.median(1)[0] + MAPS.cummax(1)[0][:, 0] + MAPS.logcumsumexp(1)[:, 0],
    ],
)
def test_operators_without_a_product_are_in_the_table(call: Callable[[], object]) -> None:
    counter = counted(call)
    assert counter.macs == 0 and not counter.unknown


def test_an_operator_without_a_figure_is_listed_with_its_values() -> None:
    counter = counted(lambda: torch.fft.rfft(torch.randn(2, 8)))
    assert dict(counter.unknown) == {"_fft_r2c": 2 * 5} and counter.macs == 0


def test_a_backbone_with_an_operator_without_a_figure_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    class Spectrum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(5, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(torch.fft.rfft(x).abs())

    cut_sites(Spectrum().eval(), torch.randn(1, 8))
    assert re.search(
        r"warning: backbone: the operator table does not know _fft_r2c, which computes \d+\.\d% of all values",
        capsys.readouterr().err,
    )


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
def test_a_log_has_the_operators_before_a_composite_one(mode: str) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Conv2d(1, 2, 3), nn.Conv2d(2, 1, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(F.interpolate(self.first(x), scale_factor=2, mode=mode))

    net = Net().eval()
    with torch.no_grad(), OperatorLog(net) as log:
        net(torch.zeros(1, 1, 6, 6))
    assert sum(operation.macs for operation in log.operations()) == 16 * 2 * 9 + 64 * 2
    assert len(log.results) == 1 and not net._forward_hooks


SIDE, IN, OUT = 6, 3, 5
MOVED_BYTES: list[tuple[nn.Module, tuple[int, ...], int]] = [
    # the values of the input, of the output and of the weights, and four bytes for each bias
    (nn.Conv2d(IN, OUT, 3), (IN, SIDE, SIDE), IN * 36 + OUT * 16 + OUT * IN * 9 + 4 * OUT),
    (nn.Conv2d(IN, OUT, 1, bias=False), (IN, SIDE, SIDE), IN * 36 + OUT * 36 + OUT * IN),
    (nn.Conv1d(IN, OUT, 2, stride=2), (IN, SIDE), IN * 6 + OUT * 3 + OUT * IN * 2 + 4 * OUT),
    (nn.Linear(IN, OUT), (IN,), IN + OUT + OUT * IN + 4 * OUT),
    (nn.Linear(IN, OUT), (SIDE, IN), SIDE * (IN + OUT) + OUT * IN + 4 * OUT),
    (nn.LSTM(IN, OUT, batch_first=True), (SIDE, IN), SIDE * (IN + OUT) + 4 * OUT * (IN + OUT) + 4 * 2 * 4 * OUT),
]


@pytest.mark.parametrize(("layer", "shape", "expected"), MOVED_BYTES, ids=lambda each: str(each)[:20])
def test_a_layer_moves_its_input_its_output_and_its_constants(
    layer: nn.Module, shape: tuple[int, ...], expected: int
) -> None:
    assert layer_bytes(layer, shape) == expected


def test_an_operator_that_another_one_includes_moves_no_bytes() -> None:
    net = nn.Sequential(nn.Conv2d(IN, OUT, 1, bias=False), nn.ReLU(), nn.MaxPool2d(2))
    with torch.no_grad(), OperatorLog(net) as log:
        net(torch.zeros(1, IN, SIDE, SIDE))
    convolution, relu, pool = log.operations()
    assert (convolution.moved_bytes, relu.moved_bytes) == (IN * 36 + OUT * 36 + OUT * IN, 0)
    assert pool.moved_bytes == OUT * 36 + OUT * 9
