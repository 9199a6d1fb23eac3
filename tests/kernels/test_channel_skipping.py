"""Tests that kernels that skip channels equal their references and the trained layers.

Feature boosting and suppression (FBS) picks the channels that are computed. A hybrid kernel combines FBS with precision
gating (PG), which computes the low bits of some outputs only.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gatesearch.gates import build_gate
from gatesearch.gates.fbs import FBSConv2d
from gatesearch.gates.pg import PGConv2d, PGLinear, PGParams
from gatesearch.graph.sites import layer_sites
from gatesearch.kernels import (
    FBSPG,
    ActiveChannels,
    Boost,
    FBSSingle,
    Geometry,
    Library,
    OperandSplit,
    PGConv,
    Precision,
)
from gatesearch.plan import PlacedGate

WINDOWS = [(1, 1, 0, 1), (3, 1, 1, 1), (3, 2, 1, 1), (2, 1, 0, 2), (3, 1, 2, 2)]
channels = st.tuples(st.sampled_from([1, 5, 16, 33]), st.sampled_from([1, 7, 16, 17, 40, 64]))
images = st.tuples(st.integers(3, 8), st.integers(3, 8))


def geometry_of(image: tuple[int, int], wide: tuple[int, int], window: tuple[int, int, int, int]) -> Geometry:
    return Geometry(image, *wide, *((size, size) for size in window))


def boost_of(rng: np.random.Generator, g: Geometry, block: int, share: float) -> Boost:
    groups = -(-g.c_out // block)
    vectors = (rng.standard_normal(g.c_out).astype(np.float32) for _ in range(4))
    phi = rng.standard_normal((g.c_out, g.c_in)).astype(np.float32)
    return Boost(phi, *vectors, winners=max(1, round(share * groups)), block=block)


def active_channels_of(rng: np.random.Generator, c_in: int, size: int | None) -> ActiveChannels | None:
    if size is None:
        return None
    groups = -(-c_in // size)
    return ActiveChannels(np.sort(rng.permutation(groups)[: rng.integers(1, groups + 1)]).astype(np.int32), size)


def unaligned(x: np.ndarray) -> np.ndarray:
    room = np.zeros(x.nbytes + 4, np.uint8)[4:].view(x.dtype)
    room[:] = x.ravel()
    return room.reshape(x.shape)


@settings(max_examples=25)
@given(
    wide=channels, image=images, window=st.sampled_from(WINDOWS), block=st.sampled_from([1, 16]),
    share=st.sampled_from([0.0, 0.3, 0.5, 1.0]), size=st.sampled_from([None, 1, 16]), relu=st.booleans(),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_winners_and_outputs_equal_the_reference(
    library: Library, wide: Any, image: Any, window: Any, block: int, share: float, size: int | None, relu: bool,
    seed: int,
) -> None:  # fmt: skip
    rng, g = np.random.default_rng(seed), geometry_of(image, wide, window)
    weight = rng.standard_normal(g.weights).astype(np.float32)
    kernel = FBSSingle(g, weight, boost_of(rng, g, block, share), relu, library)
    x, live = (
        unaligned(rng.standard_normal((*g.image, g.c_in)).astype(np.float32)),
        active_channels_of(rng, g.c_in, size),
    )
    y, winners = kernel(x, live)
    expected, won = kernel.reference(x, live)
    np.testing.assert_array_equal(winners, won)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5 * max(1.0, float(np.abs(expected).max())))


def precision_of(
    rng: np.random.Generator, g: Geometry, weight: np.ndarray, x: np.ndarray, split: tuple[int, int], group: int,
    share: float, operands: OperandSplit,
) -> Precision:  # fmt: skip
    """Return a precision gate whose thresholds open about ``share`` of all outputs; 0 closes all, 1 opens all."""
    bits, low_bits = split
    step = float(np.float32(np.abs(x).max() / (2**bits - 1)))
    groups = -(-g.c_out // group)
    level = float(np.float32(1e-3))
    high = np.rint(x / np.float32(step)) * (1 if operands.sign else x > 0)
    sums = g.convolve(torch.from_numpy(high).double(), torch.from_numpy(weight).double()).numpy()
    delta = np.quantile(sums, 1 - share) * level if 0 < share < 1 else (1e30 if share == 0 else -1e30)
    threshold = np.full(groups, delta) + 0.01 * level * rng.standard_normal(groups)
    return Precision(bits, low_bits, group, threshold.astype(np.float32), step, level, operands)


@settings(max_examples=25)
@given(
    wide=channels, image=images, window=st.sampled_from(WINDOWS), block=st.sampled_from([1, 16]),
    share=st.sampled_from([0.0, 0.3, 0.5, 1.0]), size=st.sampled_from([None, 1, 16]), relu=st.booleans(),
    split=st.sampled_from([(8, 4), (8, 2), (4, 2), (4, 0), (8, 6)]), group=st.sampled_from([1, 8, 16, 32, 64]),
    open_share=st.sampled_from([0.0, 0.3, 0.7, 1.0]), sign=st.booleans(), doubled=st.booleans(),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_a_hybrid_is_exact_in_whole_numbers(
    library: Library, wide: Any, image: Any, window: Any, block: int, share: float, size: int | None, relu: bool,
    split: tuple[int, int], group: int, open_share: float, sign: bool, doubled: bool, seed: int,
) -> None:  # fmt: skip
    rng, g = np.random.default_rng(seed), geometry_of(image, wide, window)
    most = 255 if doubled else 127
    weight = rng.integers(-most, most + 1, g.weights).astype(np.int16)
    x = rng.standard_normal((*g.image, g.c_in)).astype(np.float32)
    live = active_channels_of(rng, g.c_in, size)
    there = np.zeros_like(x)
    active = np.arange(g.c_in) if live is None else live.channels(g.c_in)
    there[..., active] = x[..., active]
    precision = precision_of(rng, g, weight, x, split, min(group, g.c_out), open_share, OperandSplit(sign, doubled))
    kernel = FBSPG(g, weight, precision, boost_of(rng, g, block, share), relu, library)
    y, winners = kernel(unaligned(x), live)
    expected, won = kernel.reference(x, live)
    np.testing.assert_array_equal(winners, won)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5 * max(1.0, float(np.abs(expected).max())))
    # Without the gain g and the normalisation, outputs are whole multiples of precision.level and compare exactly.
    plain = FBSPG(g, weight, precision, plain_boost(g, kernel.boost), False, library)
    assert plain.library is not None
    y, won = plain(x, live)
    phases = plain.phases(there, ActiveChannels(won, block).channels(g.c_out))
    whole = np.zeros(phases.output.shape)
    computed = ActiveChannels(won, block).channels(g.c_out)
    whole[..., computed] = phases.output.numpy()[..., computed]
    np.testing.assert_array_equal(np.rint(y / np.float64(np.float32(precision.level))), whole)


def plain_boost(g: Geometry, like: Boost) -> Boost:
    """Return a boost without normalisation whose gain is 1 for every channel, so that the first channels win."""
    zeros, ones = np.zeros(g.c_out, np.float32), np.ones(g.c_out, np.float32)
    return Boost(np.zeros((g.c_out, g.c_in), np.float32), ones, ones, zeros, zeros, like.winners, like.block)


@pytest.mark.parametrize("count", [1, 3, 6, 7])
def test_among_equal_channels_the_first_win(library: Library, count: int) -> None:
    g = Geometry((2, 2), 3, 7)
    rho = np.array([1.0, -5.0, 2.0, 1.0, 0.0, 2.0, -1.0], np.float32)
    zeros, ones = np.zeros(7, np.float32), np.ones(7, np.float32)
    boost = Boost(np.zeros((7, 3), np.float32), rho, ones, zeros, zeros, count, block=1)
    _, winners = FBSSingle(g, np.ones(g.weights, np.float32), boost, library=library)(np.ones((2, 2, 3), np.float32))
    order = [2, 5, 0, 3, 1, 4, 6]  # ReLU makes negative gains 0; among equal gains the first channel wins
    assert winners.tolist() == sorted(order[:count])


def net(signed: bool) -> tuple[nn.Sequential, torch.Tensor]:
    torch.manual_seed(0)
    first: list[nn.Module] = [] if signed else [nn.ReLU()]
    network = nn.Sequential(*first, nn.Conv2d(5, 40, 3, padding=1, bias=False), nn.BatchNorm2d(40), nn.ReLU())
    return network, torch.randn(8, 5, 7, 6)


@pytest.mark.parametrize("mask", ["3d", "m1", "m2-8", "m2-16", "m2-32"])
@pytest.mark.parametrize("block", [1, 16])
@pytest.mark.parametrize("signed", [False, True])
def test_a_hybrid_equals_its_training_module(library: Library, mask: str, block: int, signed: bool) -> None:
    backbone, x = net(signed)
    [site] = layer_sites(backbone, x[:1])
    place = int(site.name)
    gate = PlacedGate.of(
        "fbs_pg", site.name, density=0.5, block=block, bits=8, high_bits=4, mask=mask, target=0.0, weight_bits=8
    )
    layer = build_gate(site, gate, backbone[place], backbone[place + 1])
    assert isinstance(layer, FBSConv2d)
    layer.train()(x if signed else x.relu())
    nn.init.normal_(layer.inner.threshold, std=0.1)  # type: ignore[union-attr, arg-type]
    layer.eval()
    kernel = FBSPG.from_module(layer, (7, 6), library=library, positive=site.positive)
    assert kernel.precision.operands == OperandSplit(signed, True)
    one = (x[:1] if signed else x[:1].relu()).contiguous()
    with torch.no_grad():
        expected = layer(one).relu()[0].permute(1, 2, 0).numpy()
    y, _ = kernel(np.ascontiguousarray(one[0].permute(1, 2, 0).numpy()))
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)
    assert 0 < layer.report()["sparsity_winners"] < 1


def test_single_channels_equal_their_training_module(library: Library) -> None:
    backbone, x = net(True)
    [site] = layer_sites(backbone, x[:1])
    gate = PlacedGate.of("fbs", site.name, density=0.3, block=1)
    layer = build_gate(site, gate, backbone[0], backbone[1])
    assert isinstance(layer, FBSConv2d)
    layer.train()(x)
    layer.eval()
    with torch.no_grad():
        expected = layer(x[:1]).relu()[0].permute(1, 2, 0).numpy()
    y, winners = FBSSingle.from_module(layer, (7, 6), library=library)(
        np.ascontiguousarray(x[0].permute(1, 2, 0).numpy())
    )
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    assert len(winners) == 12


@pytest.mark.parametrize("mask", ["3d", "m1", "m2-16"])
@pytest.mark.parametrize(("bits", "high_bits", "weight_bits"), [(8, 4, 8), (8, 2, 8), (4, 4, 4), (4, 2, 8)])
@pytest.mark.parametrize("signed", [False, True])
def test_precision_gating_takes_any_sign_and_eight_bits_of_weights(
    library: Library, mask: str, bits: int, high_bits: int, weight_bits: int, signed: bool
) -> None:
    torch.manual_seed(0)
    params = PGParams(bits, high_bits, mask, weight_bits=weight_bits)
    layer = PGConv2d(nn.Conv2d(12, 40, 3, padding=1), params).eval()
    nn.init.normal_(layer.threshold, std=0.1)
    x = torch.randn(6, 7, 12) if signed else torch.rand(6, 7, 12)
    layer.range.seen.fill_(float(x.abs().max()))
    with torch.no_grad():
        expected = layer(x.movedim(-1, 0)[None])[0].movedim(0, -1).contiguous()
    conv = PGConv.from_module(layer, (6, 7), library=library, positive=not signed)
    torch.testing.assert_close(conv(conv.levels(x)), expected, rtol=1e-5, atol=1e-5)
    phases, opened = conv.phases(conv.levels(x.numpy()))
    reference = conv.reference(conv.levels(x.numpy()))
    assert torch.equal(phases.output, reference.output) and opened == reference.mask.sum()


@pytest.mark.parametrize("signed", [False, True])
def test_a_linear_layer_is_a_convolution_of_one_pixel(library: Library, signed: bool) -> None:
    torch.manual_seed(0)
    layer = PGLinear(nn.Linear(20, 24), PGParams(8, 4, "m2-16")).eval()
    nn.init.normal_(layer.threshold, std=0.1)
    x = torch.randn(9, 20) if signed else torch.rand(9, 20)
    layer.range.seen.fill_(float(x.abs().max()))
    with torch.no_grad():
        expected = layer(x[None])[0]
    conv = PGConv.from_module(layer, (9, 1), library=library, positive=not signed)
    torch.testing.assert_close(conv(conv.levels(x[:, None]))[:, 0], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"block": 8}, "skips blocks of 1 or 16 channels, the layer blocks of 8"),
        ({"winners": 17}, "17 blocks cannot win among 16 channels"),
    ],
)
def test_a_layer_that_no_kernel_supports_is_refused(compiled: Library, change: dict[str, int], message: str) -> None:
    g = Geometry((4, 4), 4, 16)
    boost = boost_of(np.random.default_rng(0), g, 1, 0.5)._replace(**change)
    with pytest.raises(ValueError, match=message):
        FBSSingle(g, np.zeros(g.weights, np.float32), boost)
