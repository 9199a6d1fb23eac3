"""Builds the backbone that a recipe names, as an ``nn.Module``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from gatesearch._lib.plugins import fail_plugin, load_plugin, parameters_of, unknown_argument
from gatesearch.backbones.check import check_network
from gatesearch.errors import UserError, nearest, quote

GROUP = "gatesearch.backbones"


def build(name: str, *, num_classes: int, input_shape: tuple[int, ...], args: Mapping[str, Any]) -> nn.Module:
    """Build the backbone that a recipe names.

    Args:
        name: an entry point of the group ``gatesearch.backbones``, or ``package.module:Name`` for any callable that
            returns an ``nn.Module`` mapping [N, *input_shape] to logits [N, num_classes].
        num_classes: number of classes; passed on if the callable has a parameter of this name.
        input_shape: shape of one sample's features; passed on if the callable has a parameter of this name.
        args: further keyword arguments, from the recipe's ``backbone_args``.

    Raises:
        UserError: the name, the module, the attribute or an argument does not exist, or a run cannot train the
            network.
    """
    factory = load_plugin(GROUP, name, "backbone")
    if not callable(factory):
        raise UserError(f"backbone: {name} is a {type(factory).__name__}, not a class or a function")
    parameters = parameters_of(factory)
    if key := unknown_argument(parameters, args):
        close = nearest(key, parameters)
        hint = f"nearest: {close!r}" if close else f"it takes: {', '.join(parameters)}"
        raise UserError(f"backbone_args.{key}: {name} takes no argument {key!r}; {hint}")
    problem = {"num_classes": num_classes, "input_shape": input_shape}
    arguments = {key: value for key, value in problem.items() if unknown_argument(parameters, {key: value}) is None}
    arguments |= args
    call = f"{name}({', '.join(f'{key}={quote(value)}' for key, value in args.items())})"
    try:
        module = factory(**arguments)
    except (TypeError, ValueError) as error:
        raise UserError(f"backbone: {call}: {error}") from error
    except Exception as error:
        fail_plugin(f"backbone: {call}", error)
    if not isinstance(module, nn.Module):
        raise UserError(f"backbone: {name} returned a {type(module).__name__}, not a torch.nn.Module")
    return check_network(module)
