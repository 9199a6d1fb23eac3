"""Builds the two programs of a network that runs hop by hop: for one hop, and for a whole window.

A hop is the step from one decision on a stream to the next. Its fresh frames are the frames that the window before did
not contain. The program for a whole window starts a stream: it computes the first output and the first state.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.fx.node import map_arg

from gatesearch.graph.hops.plan import HopPlan
from gatesearch.graph.module_types import module_at


@dataclass(frozen=True, slots=True)
class StateTensor:
    """A tensor of the state that one hop hands to the next.

    Args:
        name: name of the graph's node that computes the tensor; ``.h`` or ``.c`` is added for a recurrent layer.
        shape: shape of the tensor for one sample.
        axis: the time axis, counted with the batch axis; None for the state of a recurrent layer.
        joined: number of values in this tensor together with the fresh frames that a hop appends to it; 0 for the state
            of a recurrent layer.
    """

    name: str
    shape: tuple[int, ...]
    axis: int | None
    joined: int = 0


def state_tensors(plan: HopPlan) -> tuple[StateTensor, ...]:
    """Return the tensors of the state, in the order of the graph."""
    tensors: list[StateTensor] = []
    for node in plan.graph.graph.nodes:
        if node in plan.frames and plan.older(node):
            frames, older = plan.frames[node], plan.older(node)
            _, *shape = plan.shapes[node]
            shape[frames.axis - 1] = older
            joined = math.prod(shape) * (older + frames.fresh) // older
            tensors.append(StateTensor(node.name, tuple(shape), frames.axis, joined))
        if node in plan.steps and plan.steps[node].carries:
            layer = module_at(plan.graph, node)
            assert isinstance(layer, nn.RNNBase)
            sizes = {"h": layer.proj_size or layer.hidden_size, "c": layer.hidden_size}
            names = "hc" if isinstance(layer, nn.LSTM) else "h"
            tensors += [StateTensor(f"{node.name}.{name}", (layer.num_layers, sizes[name]), None) for name in names]
    return tuple(tensors)


def build_step(plan: HopPlan) -> fx.GraphModule:
    """Return the module that runs one hop: (fresh frames, *state) -> (output, *state)."""
    return _Step(plan).build()


def build_catch_up(plan: HopPlan) -> fx.GraphModule:
    """Return the module that runs a whole window: window -> (output, *state)."""
    graph, copies, states = fx.Graph(), dict[fx.Node, fx.Node](), list[fx.Node]()
    for node in plan.graph.graph.nodes:
        if node.op == "output":
            graph.output((map_arg(node.args[0], copies.__getitem__), *states))
            break
        copies[node] = graph.node_copy(node, copies.__getitem__)
        if node in plan.frames and (older := plan.older(node)):
            frames = plan.frames[node]
            states.append(_narrow(graph, copies[node], frames.axis, frames.count - older, older))
        if node in plan.steps and plan.steps[node].carries:
            states += _last_states(graph, copies[node], module_at(plan.graph, node))
    return fx.GraphModule(plan.graph, graph)


def _narrow(graph: fx.Graph, tensor: fx.Node, axis: int, start: int, length: int) -> fx.Node:
    return graph.call_function(torch.narrow, (tensor, axis, start, length))


def _last_states(graph: fx.Graph, returned: fx.Node, layer: nn.Module | None) -> list[fx.Node]:
    """Return the last states [N, layers, H] from the value that a recurrent layer returned."""
    state = graph.call_function(_item, (returned, 1))
    tensors = [state]
    if isinstance(layer, nn.LSTM):
        tensors = [graph.call_function(_item, (state, i)) for i in range(2)]
    return [graph.call_method("transpose", (tensor, 0, 1)) for tensor in tensors]


def _item(values: Any, index: int) -> Any:
    return values[index]


class _Step:
    """Builds the graph of a hop node by node.

    Attributes:
        fresh: for each node of the plan, its copy in the new graph. The copy computes the fresh frames, or the value of
            the whole window if the node has no time axis.
        buffers: for each node with a time axis, the frames that later operators read: older ones, then fresh ones.
    """

    def __init__(self, plan: HopPlan) -> None:
        self.plan, self.graph = plan, fx.Graph()
        self.fresh: dict[fx.Node, fx.Node] = {}
        self.buffers: dict[fx.Node, fx.Node] = {}
        self.states: list[fx.Node] = []

    def build(self) -> fx.GraphModule:
        plan = self.plan
        self.fresh[plan.input] = self.graph.node_copy(plan.input)
        self.pending = [self.graph.placeholder(f"state_{i}") for i in range(len(state_tensors(plan)))]
        for node in plan.graph.graph.nodes:
            if node.op == "output":
                output = map_arg(node.args[0], self.fresh.__getitem__)
                self.graph.output((output, *self.states))
                break
            if node.op != "placeholder":
                self.fresh[node] = self._operator(node)
            if node in plan.frames:
                self._keep(node)
        return fx.GraphModule(plan.graph, self.graph)

    def _operator(self, node: fx.Node) -> fx.Node:
        step = self.plan.steps.get(node)
        if step is None:
            return self.graph.node_copy(node, self.fresh.__getitem__)

        def value(source: fx.Node) -> fx.Node:
            return self._frames_from(source, step.start) if source in self.plan.frames else self.fresh[source]

        if step.carries:
            return self._recurrent(node, value(node.all_input_nodes[0]))
        if step.replacement is not None:
            return step.replacement(self.graph, value(node.all_input_nodes[0]), value)
        return self.graph.node_copy(node, value)

    def _keep(self, node: fx.Node) -> None:
        """Join the frames of earlier hops with the fresh ones; the last frames become the state for the next hop."""
        older = self.plan.older(node)
        self.buffers[node] = self.fresh[node]
        if older:
            axis = self.plan.frames[node].axis
            both = self.graph.call_function(torch.cat, ([self.pending.pop(0), self.fresh[node]], axis))
            self.buffers[node] = both
            self.states.append(_narrow(self.graph, both, axis, self.plan.frames[node].fresh, older))

    def _frames_from(self, node: fx.Node, start: int) -> fx.Node:
        """Return a node's frames of the current window from index ``start`` on."""
        frames, first = self.plan.frames[node], self.plan.start(node)
        if start == first:
            return self.buffers[node]
        if start == frames.first_fresh:
            return self.fresh[node]
        return _narrow(self.graph, self.buffers[node], frames.axis, start - first, frames.count - start)

    def _recurrent(self, node: fx.Node, frames: fx.Node) -> fx.Node:
        layer = module_at(self.plan.graph, node)
        count = 2 if isinstance(layer, nn.LSTM) else 1
        before = [self.graph.call_method("transpose", (self.pending.pop(0), 0, 1)) for _ in range(count)]
        before = [self.graph.call_method("contiguous", (each,)) for each in before]
        state = tuple(before) if count == 2 else before[0]
        returned = self.graph.call_module(str(node.target), (frames, state))
        self.states += _last_states(self.graph, returned, layer)
        return returned
