"""The uniform quantiser of Precision Gating, its straight-through gradients and its range.

It quantises sign and magnitude, and follows the released code of Zhang et al. 2020 (arXiv 2002.07136). The learned
clipping limit alpha follows PACT (Choi et al. 2018):

    y = clip(x, -alpha, alpha)
    n = round(clip(|y| / s, 0, 1) (2^B - 1))     s: range of the quantiser; B: bits of the magnitude, without the sign
    Q_B(x) = s sgn(x) n / (2^B - 1)

Layers compute with *levels*, the signed integers sgn(x) n. They first sum products of levels and then multiply the sum
by the size of a level, s / (2^B - 1). A sum of integers below 2^24 is exact in float32, in any order. So the sum
depends neither on the batch nor on the library's algorithm. Levels of up to 11 bits are exact in TF32 as well, and
levels of up to 8 bits in bfloat16.

The released code takes s from the current batch, even in evaluation. In this quantiser, s is a running mean of
min(max|x|, alpha) over training batches, and is constant in evaluation.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

ALPHA = 6.0  # the clipping limit before the first batch, as in PACT
MOMENTUM = 0.1  # weight of the newest batch in the running range, as in a batch normalisation
SMALLEST_RANGE = 1e-7  # replaces the range of values that are all zero
BITS = 16  # largest number of bits of a quantiser
UNQUANTISED = 32  # weights with this number of bits or more are not quantised


def level(scale: Tensor, bits: int) -> Tensor:
    """Return the size of one level, given the quantiser's range ``scale`` [].

    >>> float(level(torch.tensor(30.0), 4))
    2.0
    """
    return scale.clamp(min=SMALLEST_RANGE) / (2**bits - 1)


def levels(x: Tensor, scale: Tensor, bits: int) -> Tensor:
    """Return the signed levels of values of any shape; rounding and clipping have the gradient of the identity.

    The result ``whole + (real - real.detach())`` has the value of ``whole``, since the rest is zero. Its gradient is
    that of ``real``, the unrounded value (straight-through).

    >>> levels(torch.tensor([-9.0, 0.4, 0.6, 2.5]), torch.tensor(3.0), bits=2).tolist()
    [-3.0, 0.0, 1.0, 2.0]
    """
    real = x / level(scale, bits)
    whole = real.detach().clamp(1 - 2**bits, 2**bits - 1).round()
    return whole + (real - real.detach())


def quantise(x: Tensor, scale: Tensor, bits: int) -> Tensor:
    """Return Q_B(x), of the shape of ``x``."""
    return levels(x, scale, bits) * level(scale, bits)


def truncate(whole: Tensor, low_bits: int) -> tuple[Tensor, Tensor]:
    """Split levels into a coarse part, whose lowest bits are zero, and the fine rest; both have the level's sign.

    All of the gradient goes through the coarse part; truncation, like rounding, has the gradient of the identity.

    >>> [part.tolist() for part in truncate(torch.tensor([-7.0, 5.0, 8.0]), 2)]
    [[-4.0, 4.0, 8.0], [-3.0, 1.0, 0.0]]
    """
    fine = whole.detach().fmod(2**low_bits)
    return whole - fine, fine


def weight_levels(weight: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Return the levels of weights [C, ...] and the size of one level; the range is max|W| of the whole tensor.

    With one bit, a level is the weight's sign, and its size is sqrt(1 / fan-in), as in the released code. With 32 bits
    or more, the weights are returned as they are, with a size of 1.
    """
    if bits >= UNQUANTISED:
        return weight, weight.new_ones(())
    if bits == 1:
        return weight.detach().sign() + (weight - weight.detach()), weight.new_tensor(weight[0].numel() ** -0.5)
    scale = weight.detach().abs().max()  # not amax, which cannot be exported to ONNX
    return levels(weight, scale, bits), level(scale, bits)


class Parts(NamedTuple):
    """Clipped and quantised values in two parts: ``coarse`` + ``fine`` levels, each worth ``level`` []."""

    coarse: Tensor
    fine: Tensor
    level: Tensor


def split(x: Tensor, alpha: Tensor, scale: Tensor, bits: int, low_bits: int) -> Parts:
    """Clip to +-alpha, quantise over +-scale and truncate, for values of any shape.

    All of the gradient goes through ``coarse``. Where |x| <= alpha, the gradient reaches x unchanged. Elsewhere it goes
    to alpha with the sign of x, as in PACT. ``scale`` must not be above alpha, and has no gradient.
    """
    size = level(scale, bits)
    coarse, fine = _Split.apply(x, alpha, size, bits, low_bits)
    return Parts(coarse, fine, size)


class CalibratedRange(nn.Module):
    """A learned clipping limit alpha, and the running range of the clipped values.

    The first training batch that is not all zeros sets alpha and the range to the batch's largest magnitude.
    """

    seen: Tensor
    batches: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.tensor(ALPHA))
        self.register_buffer("seen", torch.tensor(ALPHA))
        self.register_buffer("batches", torch.tensor(0))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return alpha [] and the quantiser's range [], after observing ``x`` in training."""
        if self.training:
            self._observe(x.detach())
        alpha = self.alpha.abs()  # a negative limit would pass no values and get no gradient
        return alpha, torch.minimum(self.seen, alpha.detach())

    @torch.no_grad()
    def _observe(self, x: Tensor) -> None:
        smallest, largest = x.aminmax()
        top = torch.maximum(-smallest, largest).to(self.seen.dtype)
        usable, first = (top > 0) & top.isfinite(), self.batches == 0
        # The write through .data does not change alpha's version, which the backward of an earlier forward may need.
        # torch.where replaces a branch on the first batch, which would synchronise a GPU.
        self.alpha.data.copy_(torch.where(first & usable, top, self.alpha))
        top = torch.minimum(top, self.alpha.abs())
        running = torch.where(first, top, self.seen.lerp(top, MOMENTUM))
        self.seen.copy_(torch.where(usable, running, self.seen))
        self.batches.add_(usable)


class FixedRange(nn.Module):
    """A fixed clipping limit and range, for values whose range is known beforehand."""

    seen: Tensor

    def __init__(self, seen: float) -> None:
        super().__init__()
        self.register_buffer("seen", torch.tensor(seen))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the clipping limit [] and the range [], which are equal."""
        return self.seen, self.seen


class _Split(torch.autograd.Function):
    """Clip, quantise and truncate as one step, so that no intermediate tensor is stored for the backward pass.

    In the backward pass, truncation and rounding count as the identity, so all of the gradient goes through the coarse
    part. It goes to x where |x| <= alpha, and elsewhere to alpha with the sign of x, as in PACT (Choi et al. 2018).
    Levels are x / size, so both gradients are divided by ``size``.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, alpha: Tensor, size: Tensor, bits: int, low_bits: int) -> tuple[Tensor, Tensor]:
        whole = x.div(size).clamp(1 - 2**bits, 2**bits - 1).round_()
        coarse, fine = truncate(whole, low_bits)
        return coarse, fine

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        x, alpha, size, _, _ = inputs
        ctx.save_for_backward(x, alpha, size)
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        grad, (x, alpha, size) = grads[0], ctx.saved_tensors
        if grad is None:
            return None, None, None, None, None
        to_x = grad.mul(x.abs() <= alpha)
        to_alpha = (grad - to_x).mul_(x.sign()).sum() / size if ctx.needs_input_grad[1] else None
        return to_x.div_(size), to_alpha, None, None, None
