"""From the recipe's ``backbone`` to an ``nn.Module``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any

from torch import nn

from gatesearch._lib.plugins import imported
from gatesearch.errors import UserError, nearest, unknown

GROUP = "gatesearch.backbones"


def build(name: str, *, num_classes: int, input_shape: tuple[int, ...], args: Mapping[str, Any]) -> nn.Module:
    """Build the backbone that a recipe names.

    Args:
        name: an entry point of the group ``gatesearch.backbones``, or ``package.module:Class`` for any callable that
            returns an ``nn.Module`` mapping [N, *input_shape] to logits [N, num_classes].
        num_classes, input_shape: passed on where the callable has parameters of these names.
        args: further keyword arguments, the recipe's ``backbone_args``.

    Raises:
        UserError: the name, the module, the attribute or an argument does not exist, or what came back is no module.
    """
    factory = imported("backbone", name) if ":" in name else _entry_point(name)
    if not callable(factory):
        raise UserError(f"backbone: {name} is a {type(factory).__name__}, not a class or a function")
    parameters = inspect.signature(factory).parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for key in args:
        if key not in parameters and not open_ended:
            close = nearest(key, parameters)
            raise UserError(
                f"backbone_args.{key}: {name} takes no argument {key!r}; "
                + (f"nearest: {close!r}" if close else f"it takes: {', '.join(parameters)}")
            )
    known = {"num_classes": num_classes, "input_shape": input_shape}
    offered = {key: value for key, value in known.items() if key in parameters or open_ended}
    try:
        module = factory(**{**offered, **args})
    except (TypeError, ValueError) as error:
        raise UserError(f"backbone: {name}({', '.join(f'{k}={v!r}' for k, v in args.items())}): {error}") from error
    if not isinstance(module, nn.Module):
        raise UserError(f"backbone: {name} returned a {type(module).__name__}, not a torch.nn.Module")
    return module


def _entry_point(name: str) -> Callable[..., Any]:
    found = {point.name: point for point in entry_points(group=GROUP)}
    if name not in found:
        raise unknown("backbone", "backbone", name, [*sorted(found), "package.module:Class"])
    loaded: Callable[..., Any] = found[name].load()
    return loaded
