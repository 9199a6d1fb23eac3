"""Checks a network before a run, and refuses forms of ``nn.Module`` that a run cannot train or export."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from gatesearch.errors import UserError

WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel)
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def check_network(network: object, where: str = "backbone") -> nn.Module:
    """Return the network if a run can train, gate and export it.

    Args:
        network: the network, in any mode; it does not change.
        where: name of the argument or key, for the message.

    Raises:
        UserError: a run cannot use the network; the message gives the first reason and what to do.

    >>> check_network(nn.Linear(3, 2).half())
    Traceback (most recent call last):
    gatesearch.errors.UserError: backbone: Linear: weight is float16; a run trains in float32: give network.float()
    """
    if not isinstance(network, nn.Module):
        raise UserError(f"{where}: is a {type(network).__name__}, not a torch.nn.Module")
    for check in CHECKS:
        reason = check(network)
        if reason is not None:
            raise UserError(f"{where}: {type(network).__name__}: {reason}")
    return network


def _wrapper(network: nn.Module) -> str | None:
    for name, module in network.named_modules():
        if isinstance(module, WRAPPERS):
            return f"{_path(name)} is wrapped for several devices; give the module inside, {_path(name)}.module"
        if isinstance(module, torch.jit.ScriptModule):
            return f"{_path(name)} is TorchScript, which cannot be traced; give the nn.Module that it was made of"
        if "_orig_mod" in module._modules:
            return f"{_path(name)} is compiled; give the module before torch.compile, {_path(name)}._orig_mod"
    return None


def _quantised(network: nn.Module) -> str | None:
    advice = "a run quantises at export: give the float network"
    for name, module in network.named_modules():
        home = type(module).__module__
        if ".quantized" in home or ".qat" in home or "torch.ao.quantization" in home:
            return f"{_path(name)} ({type(module).__name__}) is quantised; {advice}"
    for name, tensor in _tensors(network):
        if not is_lazy(tensor) and (tensor.is_quantized or type(tensor.data) is not Tensor):
            return f"{name} is quantised; {advice}"
    return None


def _uninitialised(network: nn.Module) -> str | None:
    for name, tensor in _tensors(network):
        if is_lazy(tensor):
            return f"{name} has no shape yet: the layer is lazy; run one sample through the network first"
        if tensor.device.type == "meta":
            return f"{name} is on the meta device and has no values; give a network with weights"
    return None


def _precision(network: nn.Module) -> str | None:
    for name, tensor in _tensors(network):
        if (tensor.is_floating_point() or tensor.is_complex()) and tensor.dtype != torch.float32:
            kind = str(tensor.dtype).removeprefix("torch.")
            return f"{name} is {kind}; a run trains in float32: give network.float()"
    return None


def _not_finite(network: nn.Module) -> str | None:
    for name, parameter in network.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            return f"{name} holds values that are not finite"
    return None


def _frozen(network: nn.Module) -> str | None:
    parameters = list(network.parameters())
    if not parameters:
        return "has no parameters: there is no layer that multiplies, and nothing to train"
    if not any(parameter.requires_grad for parameter in parameters):
        return "all parameters are frozen (requires_grad=False); a run trains them: give network.requires_grad_(True)"
    return None


def _shared(network: nn.Module) -> str | None:
    owners: dict[int, str] = {}
    for path, module in network.named_modules():
        for own, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            name = f"{path}.{own}".lstrip(".")
            other = owners.setdefault(id(parameter), name)
            if other != name:
                return (
                    f"{other} and {name} are one tensor; gates and export treat each layer alone: give each a copy, or "
                    "call one module twice"
                )
    return None


def _hooks(network: nn.Module) -> str | None:
    # Tracing goes inside modules that are not of torch.nn. It would run their hooks once, without data.
    for name, module in network.named_modules():
        is_container = isinstance(module, nn.Sequential) or not type(module).__module__.startswith("torch.")
        if name == "" or is_container:
            hooks = [hook for kind in HOOKS for hook in getattr(module, kind).values()]
            if any(not type(hook).__module__.startswith("torch.nn.utils") for hook in hooks):
                return f"{_path(name)} has hooks, which tracing would lose; remove them, or hook the layers inside"
    for name, parameter in network.named_parameters():
        if parameter._backward_hooks or parameter._post_accumulate_grad_hooks:
            return f"{name} has gradient hooks, which a copy of the network does not have; remove them"
    return None


def _tensors(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from network.named_parameters()
    yield from network.named_buffers()


def _path(name: str) -> str:
    return name or "network"


CHECKS: tuple[Callable[[nn.Module], str | None], ...] = (
    _wrapper,
    _quantised,
    _uninitialised,
    _precision,
    _not_finite,
    _frozen,
    _shared,
    _hooks,
)
