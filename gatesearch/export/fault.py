"""Finds the operation of a network at which a converter fails, for error messages."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._python_dispatch import TorchDispatchMode

from gatesearch.graph.plain_weights import with_plain_weights
from gatesearch.graph.trace import node_label, trace

Attempt = Callable[[nn.Module, Sequence[Tensor]], object]
MAX_ATTEMPTS = 40  # largest number of conversions of single operations
MAX_REASON_CHARACTERS = 240
# Layers and functions that no program can run, each with the nearest layer that a program can run.
SUBSTITUTES = dict.fromkeys(("LocalResponseNorm", "CrossMapLRN2d", "local_response_norm"), "nn.BatchNorm2d")


def find_operation(network: nn.Module, samples: Tensor, attempt: Attempt, error: Exception) -> str | None:
    """Return the operation at which the conversion of a network fails, such as ``'pool' (AdaptiveMaxPool2d)``.

    If the error names an operator, the operation that calls it is returned. Else each operation is converted by itself.

    Args:
        network: the network in evaluation mode.
        samples: inputs [n, *shape].
        attempt: a function that converts a module, given an example of each input; it raises an error if it cannot.
        error: the converter's error for the whole network.

    Returns:
        A description of the operation; None if each operation converts by itself.
    """
    traced = with_plain_weights(trace(network)).eval()
    assert isinstance(traced, fx.GraphModule)
    recorder = _Recorder(traced)
    with torch.no_grad():
        recorder.run(samples)
    named = re.search(r"aten\.(\w+)", str(error))
    if named is not None:
        for node, operators in recorder.operators.items():
            if named.group(1) in operators or named.group(1).removesuffix("_functional") in operators:
                return _describe(traced, node)
    attempts: dict[str, bool] = {}
    for node in traced.graph.nodes:
        inputs = [recorder.values.get(source) for source in node.all_input_nodes]
        if node.op not in ("call_module", "call_function", "call_method") or not _are_tensors(inputs):
            continue
        key = repr([_kind(traced, node), node.kwargs, [tuple(value.shape) for value in inputs]])  # type: ignore[union-attr]
        if key not in attempts and len(attempts) < MAX_ATTEMPTS:
            attempts[key] = _converts(_alone(traced, node), inputs, attempt)  # type: ignore[arg-type]
        if not attempts.get(key, True):
            return _describe(traced, node)
    return None


def suggest_substitute(operation: str) -> str:
    """Return the end of an error message that names the nearest layer to export in place of an operation.

    >>> suggest_substitute("'norm' (LocalResponseNorm)"), suggest_substitute("'fold' (Fold)")
    ('; the nearest layer that can is nn.BatchNorm2d', '')
    """
    names = re.findall(r"\w+", operation)
    nearest = next((SUBSTITUTES[name] for name in names if name in SUBSTITUTES), None)
    return "" if nearest is None else f"; the nearest layer that can is {nearest}"


def describe_reason(error: Exception) -> str:
    """Return an error's message in one line, without paths of this machine."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    text = re.sub(r"(/[\w.+-]+)+/", "", lines[0])
    return text if len(text) <= MAX_REASON_CHARACTERS else f"{text[: MAX_REASON_CHARACTERS - 3]}..."


class _Names(TorchDispatchMode):
    """Records the names of the operators that PyTorch dispatches."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


class _Recorder(fx.Interpreter):
    """Runs a graph and keeps each node's value and operators."""

    def __init__(self, traced: fx.GraphModule) -> None:
        super().__init__(traced, garbage_collect_values=False)
        self.values: dict[fx.Node, Any] = {}
        self.operators: dict[fx.Node, set[str]] = {}

    def run_node(self, n: fx.Node) -> Any:
        with _Names() as mode:
            self.values[n] = super().run_node(n)
        self.operators[n] = mode.names
        return self.values[n]


def _are_tensors(values: Sequence[Any]) -> bool:
    return bool(values) and all(isinstance(value, Tensor) for value in values)


def _kind(traced: fx.GraphModule, node: fx.Node) -> str:
    if node.op == "call_module":
        return repr(traced.get_submodule(str(node.target)))
    return f"{getattr(node.target, '__name__', node.target)} {[a for a in node.args if not isinstance(a, fx.Node)]}"


def _alone(traced: fx.GraphModule, node: fx.Node) -> fx.GraphModule:
    """Return a graph of one operation; its inputs are the values that the operation reads."""
    graph = fx.Graph()
    copies = {source: graph.placeholder(f"value_{i}") for i, source in enumerate(node.all_input_nodes)}
    graph.output(graph.node_copy(node, copies.__getitem__))
    return fx.GraphModule(traced, graph)


def _converts(module: nn.Module, inputs: Sequence[Tensor], attempt: Attempt) -> bool:
    try:
        attempt(module.eval(), [value[:1] for value in inputs])
    except OSError:
        raise
    except Exception:
        return False
    return True


def _describe(traced: fx.GraphModule, node: fx.Node) -> str:
    if node.op == "call_module":
        return f"{node_label(node)!r} ({type(traced.get_submodule(str(node.target))).__name__})"
    return f"{node_label(node)!r} in its forward"
