"""Splits a trained convolution and its batch normalisation into the initial parts of an FBS layer.

FBS is Feature Boosting and Suppression. At density 1, the FBS layer computes the same function as the trained layer.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from gatesearch.gates.fbs.inner import PlainConv2d
from gatesearch.gates.params import GateError


class TrainedParts(NamedTuple):
    """The parts of a trained convolution and batch normalisation, which compute ``scale * norm(conv(x)) + shift``.

    ``norm`` has no scale and shift of its own; it is the identity if there was no batch normalisation. ``scale`` [C] is
    not negative, and ``shift`` is [C].
    """

    conv: PlainConv2d
    norm: nn.Module
    scale: Tensor
    shift: Tensor


def unfold(layer: nn.Module | None, norm: nn.BatchNorm2d | None) -> TrainedParts:
    """Return the parts of a trained convolution and batch normalisation with which an FBS layer starts.

    An FBS layer computes g z + beta with z = norm(conv(x)). At first, g = |gamma|, where gamma and beta are the scale
    and shift of the batch normalisation. A gain g is never negative, so the sign of gamma moves into the filter w. The
    sign of z changes with the filter, so the running mean m changes its sign, too. The convolution's bias b moves into
    the mean: (w x + b) - m = w x - (m - b).

    Raises:
        GateError: the layer is no convolution, has groups, or its batch normalisation keeps no running statistics.
    """
    if not isinstance(layer, nn.Conv2d) or layer.groups != 1:
        raise GateError(f"needs a convolution without groups, not {layer}")
    weight = layer.weight.detach()
    bias = weight.new_zeros(layer.out_channels) if layer.bias is None else layer.bias.detach()
    conv = PlainConv2d(
        layer.in_channels,
        layer.out_channels,
        cast(tuple[int, int], layer.kernel_size),
        cast(tuple[int, int], layer.stride),
        cast(tuple[int, int] | str, layer.padding),
        cast(tuple[int, int], layer.dilation),
        bias=False,
        padding_mode=cast(Any, layer.padding_mode),
        device=weight.device,
        dtype=weight.dtype,
    )
    if norm is None:
        conv.weight = nn.Parameter(weight.clone())
        return TrainedParts(conv, nn.Identity(), torch.ones_like(bias), bias)
    if norm.running_mean is None or norm.running_var is None:
        raise GateError("the batch norm behind it keeps no running statistics, so a batch would decide")
    gamma = torch.ones_like(bias) if norm.weight is None else norm.weight.detach()
    beta = torch.zeros_like(bias) if norm.bias is None else norm.bias.detach()
    sign = torch.where(gamma < 0, -1.0, 1.0).to(gamma.dtype)
    conv.weight = nn.Parameter(weight * sign.view(-1, 1, 1, 1))
    plain = nn.BatchNorm2d(
        norm.num_features, norm.eps, norm.momentum, affine=False, device=gamma.device, dtype=norm.running_mean.dtype
    )
    state = norm.state_dict()
    state["running_mean"] = (norm.running_mean - bias) * sign
    plain.load_state_dict({key: state[key] for key in plain.state_dict()})
    return TrainedParts(conv, plain, gamma.abs(), beta)
