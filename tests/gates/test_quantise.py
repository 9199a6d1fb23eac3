"""Tests of the quantiser of precision gating: its levels, its gradients and its range."""

from __future__ import annotations

import io

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from gatesearch.gates.quantise import (
    ALPHA,
    MOMENTUM,
    CalibratedRange,
    FixedRange,
    level,
    levels,
    quantise,
    split,
    truncate,
    weight_levels,
)

values = st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=20).map(torch.tensor)
ranges = st.floats(2**-10, 1e4, width=32).map(torch.tensor)
bits_and_low = st.integers(1, 16).flatmap(lambda bits: st.tuples(st.just(bits), st.integers(0, bits - 1)))


@given(x=values, scale=ranges, bits=st.integers(1, 16))
def test_levels_are_integers_symmetric_and_within_half_a_level(x, scale, bits):
    whole, size = levels(x, scale, bits), level(scale, bits)
    assert whole.equal(whole.round()) and whole.abs().max() <= 2**bits - 1
    assert whole.equal(-levels(-x, scale, bits))
    inside = x.abs() <= scale
    error = (quantise(x, scale, bits) - x).abs()[inside]
    assert (error <= size / 2 + 1e-6 * scale).all()
    assert (whole.abs()[~inside] == 2**bits - 1).all()


@given(x=values, scale=ranges, split_bits=bits_and_low)
def test_the_two_parts_add_up_to_the_quantised_values(x, scale, split_bits):
    bits, low_bits = split_bits
    parts = split(x, scale, scale, bits, low_bits)
    assert (parts.coarse + parts.fine).equal(levels(x, scale, bits))
    assert ((parts.coarse + parts.fine) * parts.level).equal(quantise(x, scale, bits))
    assert parts.coarse.fmod(2**low_bits).eq(0).all()
    assert parts.fine.abs().max() < 2**low_bits
    assert (parts.fine * x.sign() >= 0).all()  # I_lb >= 0 for x >= 0
    magnitudes = (parts.coarse + parts.fine).abs().long()
    assert parts.coarse.abs().long().equal(magnitudes >> low_bits << low_bits)


def test_eight_bits_of_a_weight_are_511_levels():
    whole, _ = weight_levels(torch.linspace(-1, 1, 100_000).view(4, -1), 8)
    assert len(whole.unique()) == 511


def test_rounding_clipping_and_truncation_have_the_gradient_of_the_identity():
    x = torch.tensor([-9.0, -0.3, 0.0, 0.2, 0.7, 5.0], requires_grad=True)
    quantise(x, torch.tensor(1.0), 4).sum().backward()
    assert x.grad.tolist() == pytest.approx([1.0] * 6)
    whole = torch.arange(-8.0, 8.0, requires_grad=True)
    coarse, fine = truncate(whole, 2)
    assert not fine.requires_grad  # d I_lb / dx = 0
    coarse.sum().backward()
    assert whole.grad.eq(1).all()


@pytest.mark.parametrize("magnitude", [2.0, 1.2])  # the range equals alpha, or is smaller
def test_split_is_clip_quantise_and_truncate_with_pact_s_gradients(magnitude):
    generator = torch.Generator().manual_seed(0)
    x = (3 * torch.randn(200, generator=generator)).double().requires_grad_()
    alpha = torch.tensor(2.0).double().requires_grad_()
    scale, weights = torch.tensor(magnitude).double(), torch.randn(200, generator=generator).double()
    parts = split(x, alpha, scale, 8, 4)
    clipped = torch.clamp(x, -alpha, alpha)
    coarse, fine = truncate(levels(clipped, scale, 8), 4)
    assert parts.coarse.equal(coarse) and parts.fine.equal(fine) and not parts.fine.requires_grad

    def gradients(coarse: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad((coarse * weights).sum() * level(scale, 8), (x, alpha))

    step_by_step = gradients(coarse)
    at_once = gradients(parts.coarse)
    closed_form = (
        weights * (x.detach().abs() <= 2),
        weights[x > 2].sum() - weights[x < -2].sum(),  # dy/dalpha = 1 where clipped, with the sign of x
    )
    for result, composed, expected in zip(at_once, step_by_step, closed_form, strict=True):
        torch.testing.assert_close(result, expected)
        torch.testing.assert_close(result, composed)
    above, below = (torch.clamp(x.detach(), -(2 + h), 2 + h) for h in (1e-6, -1e-6))
    assert float(at_once[1]) == pytest.approx(float(((above - below) * weights).sum()) / 2e-6, rel=1e-6)


def test_a_value_equal_to_alpha_passes_its_gradient_to_the_input():
    x = torch.tensor([2.0, -2.0], requires_grad=True)
    alpha = torch.tensor(2.0, requires_grad=True)
    split(x, alpha, torch.tensor(2.0), 8, 4).coarse.sum().backward()
    assert x.grad.gt(0).all() and alpha.grad == 0


def test_weights_use_their_largest_magnitude_or_their_sign_or_nothing():
    weight = torch.tensor([[0.5, -2.0, 0.1, 1.0]], requires_grad=True)
    whole, size = weight_levels(weight, 2)
    assert whole.tolist() == [[1, -3, 0, 2]] and float(size) == pytest.approx(2 / 3)
    (whole * size).sum().backward()
    torch.testing.assert_close(weight.grad, torch.ones_like(weight))
    whole, size = weight_levels(weight, 1)
    assert whole.tolist() == [[1, -1, 1, 1]] and float(size) == 0.5  # sqrt(1 / 4 inputs)
    whole, size = weight_levels(weight, 32)
    assert whole is weight and float(size) == 1


def test_a_tensor_of_zeros_stays_zero():
    zero = torch.zeros(3, 3)
    whole, size = weight_levels(zero, 8)
    assert not (whole * size).any() and not quantise(zero, torch.tensor(0.0), 8).any()


def test_the_range_starts_from_the_first_batch_and_follows_slowly():
    calibrated = CalibratedRange()
    assert [v.item() for v in calibrated.eval()(torch.full((3,), 9.0))] == [ALPHA, ALPHA]
    calibrated.train()
    calibrated(torch.zeros(3))  # zeros say nothing about a range
    assert [v.item() for v in calibrated(torch.tensor([0.5, -4.0]))] == [4.0, 4.0]
    alpha, scale = calibrated(torch.tensor([1.0, 2.0]))
    assert alpha.item() == 4 and float(scale) == pytest.approx(4 + MOMENTUM * (2 - 4))
    _, scale = calibrated(torch.tensor([100.0]))  # a value above alpha counts as alpha
    assert float(scale) == pytest.approx(3.8 + MOMENTUM * (4 - 3.8))
    for bad in (float("nan"), float("inf")):
        assert calibrated(torch.tensor([1.0, bad]))[1] == scale
    with torch.no_grad():
        calibrated.alpha.fill_(-1.5)
    assert [v.item() for v in calibrated(torch.ones(1))] == [1.5, 1.5]  # |alpha| bounds the range


def test_evaluation_does_not_change_the_range_and_a_checkpoint_holds_it():
    calibrated = CalibratedRange().train()
    calibrated(torch.randn(100))
    before = {name: value.clone() for name, value in calibrated.state_dict().items()}
    calibrated.eval()(torch.full((3,), 50.0))
    file = io.BytesIO()
    torch.save(calibrated.state_dict(), file)
    file.seek(0)
    copied = CalibratedRange()
    copied.load_state_dict(torch.load(file, weights_only=True))
    for state in (calibrated.state_dict(), copied.state_dict()):
        assert all(state[name].equal(before[name]) for name in before)
    copied.train()(torch.full((3,), 50.0))  # a later batch does not set alpha
    assert copied.alpha.equal(calibrated.alpha)


def test_two_forwards_can_come_before_a_backward():
    calibrated = CalibratedRange().train()
    x = torch.tensor([1.0, 2.0])
    first, second = calibrated(x)[0], calibrated(2 * x)[0]
    (first + second).backward()
    assert float(calibrated.alpha.grad) == 2


def test_a_fixed_range_learns_nothing():
    fixed = FixedRange(1.0).train()
    assert [v.item() for v in fixed(torch.tensor([3.0]))] == [1.0, 1.0] and not list(fixed.parameters())
