"""Turns weights that are computed at each forward (weight norm, pruning masks) into plain parameters.

PyTorch has two forms of such weights. A *parametrization* (``torch.nn.utils.parametrize``) can be copied and trained. A
*hook* (``nn.utils.weight_norm``, ``nn.utils.prune``) stores the computed tensor on the module. That tensor cannot be
copied after a forward with gradients. So :func:`copy_network` replaces hooks by parametrizations. Before lowering,
:func:`fold_weights` replaces parametrizations by the values of their tensors.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm


class Mask(nn.Module):
    """A parametrization that keeps pruned weights at zero.

    Args:
        mask: zeros and ones in the weight's shape.
    """

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight with zeros where the mask is zero."""
        return weight * self.mask


@torch.no_grad()
def copy_network(network: nn.Module) -> nn.Module:
    """Return a deep copy of a network, with parametrizations in place of the hooks that compute weights.

    The original does not change.

    >>> hooked = nn.utils.weight_norm(nn.Linear(3, 2))
    >>> hooked(torch.ones(1, 3)).sum().backward()
    >>> parametrize.is_parametrized(copy_network(hooked)), parametrize.is_parametrized(hooked)
    (True, False)
    """
    computed = [
        value
        for module in network.modules()
        for value in vars(module).values()
        if isinstance(value, Tensor) and not value.is_leaf
    ]
    memo = {id(value): value.detach().clone() for value in computed}  # PyTorch's deepcopy accepts only graph leaves
    copied = copy.deepcopy(network, memo)
    for module in list(copied.modules()):
        for number, hook in list(module._forward_pre_hooks.items()):
            for kind, convert in _CONVERSIONS.items():
                if isinstance(hook, kind):
                    convert(module, hook)
                    module._forward_pre_hooks.pop(number, None)
    return copied


@torch.no_grad()
def fold_weights(network: nn.Module) -> None:
    """Replace each parametrized tensor of a network by its value, in place.

    >>> layer = parametrizations.weight_norm(nn.Linear(3, 2))
    >>> weight = layer.weight.clone()
    >>> fold_weights(layer)
    >>> type(layer).__name__, bool(torch.equal(layer.weight, weight))
    ('Linear', True)
    """
    for module in list(network.modules()):
        if parametrize.is_parametrized(module):
            _fold(module)


def _fold(module: nn.Module) -> None:
    # remove_parametrizations() would delete a property of the module's class, but copies of the module use it, too.
    training = module.training
    module.eval()  # spectral norm takes a step of its power iteration in training
    lists: dict[str, nn.Module] = dict(module.parametrizations.named_children())  # type: ignore[union-attr]
    values = {name: getattr(module, name).detach().clone() for name in lists}
    module.__class__ = parametrize.type_before_parametrizations(module)
    del module._modules["parametrizations"]
    for name, value in values.items():
        if any(own.startswith("original") for own, _ in lists[name].named_parameters(recurse=False)):
            module.register_parameter(name, nn.Parameter(value))
        else:
            module.register_buffer(name, value)
    module.train(training)


def with_plain_weights(network: nn.Module) -> nn.Module:
    """Return the network itself if all its weights are plain, or else a copy with plain weights."""
    if not any(computes_weights(module) for module in network.modules()):
        return network
    copied = copy_network(network)
    fold_weights(copied)
    return copied


def computes_weights(layer: nn.Module) -> bool:
    """Say whether a layer computes one of its weights at each forward."""
    hooks = layer._forward_pre_hooks.values()
    return parametrize.is_parametrized(layer) or any(isinstance(hook, tuple(_CONVERSIONS)) for hook in hooks)


def _convert_weight_norm(module: nn.Module, hook: Any) -> None:
    remove_weight_norm(module, hook.name)
    parametrizations.weight_norm(module, hook.name, hook.dim)


def _convert_spectral_norm(module: nn.Module, hook: Any) -> None:
    original, u, v = (getattr(module, f"{hook.name}_{part}").detach().clone() for part in ("orig", "u", "v"))
    remove_spectral_norm(module, hook.name)
    getattr(module, hook.name).data.copy_(original)
    parametrizations.spectral_norm(module, hook.name, hook.n_power_iterations, hook.eps, hook.dim)
    norm: Any = module.parametrizations[hook.name][0]  # type: ignore[index]
    norm._u.copy_(u)
    norm._v.copy_(v)


def _convert_pruning(module: nn.Module, hook: Any) -> None:
    name = hook._tensor_name
    mask = getattr(module, f"{name}_mask").clone()
    prune.remove(module, name)
    parametrize.register_parametrization(module, name, Mask(mask))


_CONVERSIONS: dict[type[Any], Callable[[nn.Module, Any], None]] = {
    WeightNorm: _convert_weight_norm,
    SpectralNorm: _convert_spectral_norm,
    BasePruningMethod: _convert_pruning,
}
