"""The predictor of feature boosting and suppression (FBS), which picks the channels to compute.

A linear layer predicts from the means of the input channels how much each output channel matters. The groups of
channels with the largest predictions win. :class:`Boost` holds the arrays of the predictor. :class:`Decision` passes
them to C and computes the decision in numpy.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from ctypes import c_int32, c_void_p
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import nn

from gatesearch.gates import BLOCK, KernelCall
from gatesearch.gates.fbs import FBSConv2d, PlainConv2d, winning_groups
from gatesearch.kernels.arrays import Array, address, check_array, pad_to_blocks
from gatesearch.kernels.base import ActiveChannels, random_normal
from gatesearch.kernels.conv import Conv
from gatesearch.kernels.geometry import Geometry
from gatesearch.kernels.library import Library


class CBoost(ctypes.Structure):
    """The C struct ``gs_fbs`` of kernels.h: the arrays of a predictor and its normalisation."""

    _fields_ = (
        *((name, c_void_p) for name in ("phi", "rho", "slope", "offset", "beta")),
        *((name, c_int32) for name in ("winners", "block")),
    )


class Boost(NamedTuple):
    """The float32 arrays that FBS adds to a convolution.

    x is the input and z the output of the convolution. g = relu(phi mean(x) + rho) predicts the importance of each
    channel. The output of the layer is y = g (slope z + offset) + beta.

    Args:
        phi: weights of the predictor [c_out, c_in].
        rho: bias of the predictor [c_out].
        slope, offset: slope and offset of the batch normalisation before the boost, each [c_out].
        beta: shift after the boost [c_out].
        winners: number of blocks of channels that are computed.
        block: number of channels in a block.
    """

    phi: Array
    rho: Array
    slope: Array
    offset: Array
    beta: Array
    winners: int
    block: int = BLOCK

    @classmethod
    def from_module(cls, layer: FBSConv2d) -> Boost:
        """Return the arrays of a trained layer; slope and offset hold its batch normalisation, if it has one."""
        norm_slope, norm_offset = torch.ones(layer.channels), torch.zeros(layer.channels)
        if isinstance(layer.norm, nn.BatchNorm2d):
            assert layer.norm.running_mean is not None and layer.norm.running_var is not None
            norm_slope = (layer.norm.running_var + layer.norm.eps).rsqrt()
            norm_offset = -layer.norm.running_mean * norm_slope
        parts = (layer.predictor.weight, layer.predictor.bias, norm_slope, norm_offset, layer.beta)
        phi, rho, slope, offset, beta = (part.detach().float().contiguous().numpy() for part in parts)
        winners = winning_groups(layer.density, len(layer.sizes))
        return cls(phi, rho, slope, offset, beta, winners=winners, block=layer.block)

    def arrays(self) -> dict[str, Array]:
        """Return all fields as arrays, to store in a bundle."""
        return {name: np.asarray(value) for name, value in self._asdict().items()}

    @classmethod
    def load(cls, arrays: Mapping[str, Array]) -> Boost:
        """Return the boost whose fields :meth:`arrays` stored."""
        phi, rho, slope, offset, beta = (arrays[name] for name in cls._fields[:5])
        winners, block = int(arrays["winners"]), int(arrays["block"])
        return cls(phi, rho, slope, offset, beta, winners=winners, block=block)


class Decision:
    """Decides which groups of channels win, and computes the factor of each channel.

    Args:
        geometry: the geometry of the convolution.
        boost: the predictor, and the normalisation.
        sizes: the sizes of groups that the kernel can skip.
        library: the compiled kernels; None loads the best ones for this CPU.

    Raises:
        ValueError: the kernel cannot skip groups of this size, or more groups would win than exist.
    """

    def __init__(self, geometry: Geometry, boost: Boost, sizes: Sequence[int], library: Library | None = None) -> None:
        if boost.block not in sizes:
            supported = " or ".join(map(str, sizes))
            raise ValueError(f"this kernel skips blocks of {supported} channels, the layer blocks of {boost.block}")
        if not 1 <= boost.winners <= -(-geometry.c_out // boost.block):
            raise ValueError(f"{boost.winners} blocks cannot win among {geometry.c_out} channels")
        phi = check_array(boost.phi, "phi", np.float32, (geometry.c_out, geometry.c_in))
        self.boost = boost
        self._predictor = Conv(Geometry((1, 1), geometry.c_in, geometry.c_out), phi[:, :, None, None], library=library)
        self.library = self._predictor.library
        vectors = {"rho": boost.rho, "slope": boost.slope, "offset": boost.offset, "beta": boost.beta}
        self._vectors = [pad_to_blocks(value, name, np.float32, geometry.c_out, 0) for name, value in vectors.items()]
        if self.library:
            packed = address(self._predictor._packed)
            self.c = CBoost(packed, *map(address, self._vectors), boost.winners, boost.block)

    @property
    def constants(self) -> Sequence[Array]:
        """The arrays that C reads."""
        return [self._predictor._packed, *self._vectors]

    def reference(self, mean: Array) -> tuple[Array, Array]:
        """Return the factors [c_out] and the winning groups, ascending, from the means of the input channels [c_in]."""
        factor = np.maximum(self.boost.phi @ mean + self.boost.rho, 0)
        return factor, largest_groups(factor, self.boost.winners, self.boost.block)


def largest_groups(g: Array, count: int, size: int) -> Array:
    """Return the ``count`` groups of ``size`` channels with the largest mean of g [c_out], ascending.

    Among groups with equal means, the first one wins.

    >>> largest_groups(np.repeat([1.0, 3.0, 2.0, 3.0], 16), 2, 16).tolist()
    [1, 3]
    """
    score = np.array([part.mean() for part in np.split(g, range(size, len(g), size))])
    return np.sort(np.argsort(-score, kind="stable")[:count]).astype(np.int32)


def plain_conv(layer: FBSConv2d) -> PlainConv2d:
    """Return the ungated convolution inside an FBS layer.

    Raises:
        ValueError: the convolution is itself gated.
    """
    inner = cast(nn.Module, layer.inner)
    if not isinstance(inner, PlainConv2d):
        raise ValueError(f"no kernel for FBS around {type(inner).__name__}")
    return inner


def conv_weights(layer: PlainConv2d) -> Array:
    """Return a convolution's weights, float32 [c_out, c_in, kh, kw]."""
    weight: Array = layer.weight.detach().float().contiguous().numpy()
    return weight


def random_boost(
    call: KernelCall, geometry: Geometry, block: int, generator: np.random.Generator
) -> tuple[Boost, ActiveChannels | None]:
    """Return a random boost and random active inputs, with the call's shares of winning outputs and active inputs."""
    shares, groups = dict(call.remaining), -(-geometry.c_out // block)
    rho, slope, offset, beta = (random_normal(generator, geometry.c_out) for _ in range(4))
    winners = max(1, min(groups, round(shares.get("outputs", 1.0) * geometry.c_out / block)))
    groups_in = -(-geometry.c_in // block)
    count = max(1, min(groups_in, round(shares.get("inputs", 1.0) * geometry.c_in / block)))
    active = np.sort(generator.permutation(groups_in)[:count]).astype(np.int32)
    phi = random_normal(generator, geometry.c_out, geometry.c_in)
    boost = Boost(phi, rho, slope, offset, beta, winners=winners, block=block)
    return boost, None if count == groups_in else ActiveChannels(active, block)
