"""Traces any ``nn.Module`` with torch.fx into a graph whose node names are the same in every trace."""

from __future__ import annotations

import copy
import operator
from collections.abc import Mapping
from itertools import count
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_arg

from gatesearch.errors import UserError, first_line
from gatesearch.graph.in_place import replace_in_place
from gatesearch.graph.operators import OperatorCounter
from gatesearch.graph.plain_weights import with_plain_weights
from gatesearch.graph.untouched import untouched

Shape = tuple[int, ...]


def trace(model: nn.Module) -> fx.GraphModule:
    """Trace a model with torch.fx; the graph shares the model's modules, and the model stays as it is.

    Raises:
        UserError: the model has control flow that depends on data, takes more than one input, returns more than one
            tensor, or its own forward behaves differently in training than in evaluation.
    """
    training, traced = _trace_once(model, True), _trace_once(model, False)
    graph = traced.graph
    if not training.equals(traced):
        if not _trace_once(model, False).equals(traced):
            raise UserError(
                f"backbone: {type(model).__name__} draws random numbers in its forward; draw them once, in __init__, "
                "or in a module such as nn.Dropout"
            )
        # A traced graph has one form for training and evaluation. It would freeze the value of self.training, and with
        # it, for example, whether dropout is active.
        raise UserError(
            f"backbone: {type(model).__name__} reads self.training in its forward; "
            "use a module there, such as nn.Dropout in place of F.dropout"
        )
    replace_in_place(graph, model)
    inputs = [node for node in graph.nodes if node.op == "placeholder" and not node.args]
    if len(inputs) != 1:
        names = ", ".join(str(node.target) for node in inputs)
        raise UserError(
            f"backbone: {type(model).__name__} takes {len(inputs)} inputs ({names}); gates need exactly one"
        )
    if not isinstance(graph.output_node().args[0], fx.Node):
        raise UserError(f"backbone: {type(model).__name__} must return one tensor, the logits")
    return traced.module(model)


def trace_program(program: nn.Module) -> fx.GraphModule:
    """Trace a module that may return several tensors, such as a stage with the head of its gate.

    Modules of torch.nn stay one node each. So do modules with the attribute ``works_along``, which names the only axis
    along which they compute. If the module is a graph already, modules that a pass has put into it are traced, too.

    Raises:
        UserError: torch.fx cannot trace the module.
    """
    try:
        with untouched(program):
            return fx.GraphModule(program, _ProgramTracer().trace(program))
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{type(program).__name__} cannot be traced by torch.fx: {first_line(error)}") from error


class _ProgramTracer(fx.Tracer):
    """A tracer that keeps modules of torch.nn, and modules with ``works_along``, as one node each."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return hasattr(m, "works_along") or super().is_leaf_module(m, module_qualified_name)


class _Trace(NamedTuple):
    """A traced graph, and the constant tensors that the forward itself creates, by the names of their attributes."""

    graph: fx.Graph
    constants: Mapping[str, Tensor]

    def equals(self, other: _Trace) -> bool:
        """Say whether another trace has the same nodes and constants."""
        return str(self.graph) == str(other.graph) and all(
            torch.equal(value, other.constants[name]) for name, value in self.constants.items()
        )

    def module(self, model: nn.Module) -> fx.GraphModule:
        """Return the graph as a module that shares the model's modules; only the returned module gets the constants."""
        with untouched(model):
            vars(model).update(self.constants)
            return fx.GraphModule(model, self.graph)


def _trace_once(model: nn.Module, training: bool) -> _Trace:
    try:
        with untouched(model):
            for module in model.modules():
                module.training = training
            return _graph(model)
    except UserError:
        raise
    except Exception as error:
        line = first_line(error)
        raise UserError(f"backbone: {type(model).__name__} cannot be traced by torch.fx: {line}") from error


class _Tracer(fx.Tracer):
    """A tracer that keeps a layer gate as one node and records constant tensors that the forward creates.

    The inside of a layer gate cannot be traced, because its control flow depends on data.
    """

    def __init__(self) -> None:
        super().__init__()
        self.constants: dict[str, Tensor] = {}

    def create_arg(self, a: Any) -> Any:
        if isinstance(a, Tensor) and not isinstance(a, nn.Parameter) and self.tensor_attrs.get(a) is None:
            name = next(
                each for i in count() if not hasattr(self.root, each := f"_tensor_constant{i + len(self.constants)}")
            )
            self.tensor_attrs[a], self.constants[name] = name, a
        return super().create_arg(a)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return getattr(m, "traced_whole", False) or super().is_leaf_module(m, module_qualified_name)


def _graph(model: nn.Module) -> _Trace:
    tracer = _Tracer()
    graph = tracer.trace(model)
    before = len(graph.nodes)
    for node in reversed(graph.nodes):
        # In `output, _ = lstm(x)` nothing reads the state. An unread node would seem to cross every later cut.
        if node.op == "call_function" and node.target is operator.getitem and not node.users:
            graph.erase_node(node)
    return _Trace(graph if len(graph.nodes) == before else _renamed(graph), tracer.constants)


def _renamed(graph: fx.Graph) -> fx.Graph:
    """Return a copy of a graph with the node names that a trace of the graph's own code would give.

    torch.fx numbers nodes of equal names in order. Erased nodes leave gaps in the numbers. A second trace, for example
    of a trained stage, has no gaps, so a site's node would have another name there.
    """
    renamed, nodes = fx.Graph(), dict[fx.Node, fx.Node]()
    for node in graph.nodes:
        args, kwargs = (map_arg(part, nodes.__getitem__) for part in (node.args, node.kwargs))
        nodes[node] = renamed.create_node(node.op, node.target, args, kwargs, type_expr=node.type)
        nodes[node].meta = copy.copy(node.meta)
    return renamed


class NodeProfile(fx.Interpreter):
    """Runs a traced graph once and records the multiply-accumulates (MACs) and the output shape of each node.

    Args:
        traced: the graph.
        example: an input [N, *shape].

    Attributes:
        macs: MACs per sample, by node name.
        shapes: shape of the tensor that a node returns, without the batch, by node name.
        outputs: like ``shapes``; also includes nodes that return several tensors, with the shape of the first one.
        unknown: share of all values that are computed by operators that the operator table does not know, by operator.

    Raises:
        UserError: the graph does not accept the example.
    """

    def __init__(self, traced: fx.GraphModule, example: Tensor) -> None:
        traced = with_plain_weights(traced)  # type: ignore[assignment]  # on a device, weights are constants
        super().__init__(traced)
        self.macs: dict[str, int] = {}
        self.shapes: dict[str, Shape] = {}
        self.outputs: dict[str, Shape] = {}
        self._batch = example.shape[0]
        self._counters: list[OperatorCounter] = []
        modes = {module: module.training for module in traced.modules()}
        traced.eval()  # the example must not change running statistics
        try:
            with torch.no_grad():
                self.run(example)
        except UserError:
            raise
        except Exception as error:
            line = first_line(error)
            raise UserError(f"backbone: does not accept an input of shape {tuple(example.shape)}: {line}") from error
        finally:
            for module, mode in modes.items():
                module.training = mode

    @property
    def unknown(self) -> dict[str, float]:
        """Share of all values that operators outside the operator table compute, by the operator's name."""
        total = sum(counter.values for counter in self._counters)
        names = {name for counter in self._counters for name in counter.unknown}
        return {name: sum(counter.unknown[name] for counter in self._counters) / total for name in sorted(names)}

    def run_node(self, n: fx.Node) -> object:
        """Run a node and record its MACs and its output shape."""
        with OperatorCounter() as counter:
            result = super().run_node(n)
        self._counters.append(counter)
        self.macs[n.name] = counter.macs // self._batch
        # A gate decides for each sample, so the first axis has to be the batch. Another axis has to hold the channels.
        for shapes, value in ((self.shapes, result), (self.outputs, _first(result))):
            if isinstance(value, Tensor) and value.ndim > 1 and len(value) == self._batch:
                shapes[n.name] = tuple(value.shape[1:])
        return result


def _first(result: object) -> object:
    """Return the first of several tensors: the output of a recurrent layer without its state."""
    return result[0] if isinstance(result, tuple) and result else result


def node_label(node: fx.Node) -> str:
    """Return a name for a node in messages: the path of its module, or else the node's own name."""
    if node.op == "call_function" and node.target is operator.getitem and node.args[1:] == (0,):
        source = node.all_input_nodes[0]  # `output` in `output, _ = lstm(x)` gets the name of the layer
        if source.op == "call_module":
            return str(source.target)
    return str(node.target) if node.op == "call_module" else node.name
