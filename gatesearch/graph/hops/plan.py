"""Plans how a traced network runs by hops: follows the time axis through its operators.

A hop is the step from one decision on a stream to the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import fx

from gatesearch.errors import UserError, unknown_name
from gatesearch.graph.hops.call import STREAM, WINDOW, Call, HopStep
from gatesearch.graph.hops.frames import Frames
from gatesearch.graph.hops.functions import apply_rule
from gatesearch.graph.hops.shapes import with_constant_sizes
from gatesearch.graph.module_types import module_at

MEMORIES = (WINDOW, STREAM)


@dataclass(frozen=True)
class HopPlan:
    """How a network runs by hops.

    Args:
        graph: the network's graph, with sizes as constants.
        shapes: shapes of the graph's tensors for a batch of two, by node.
        frames: time axis of each node's output, by node; a node without an entry outputs one value per window.
        steps: how each operator that reads a time axis runs in a hop, by node.
        obstacles: for each operator that has to compute the whole window again at each hop, a line that says why.
    """

    graph: fx.GraphModule
    shapes: Mapping[fx.Node, Any]
    frames: Mapping[fx.Node, Frames]
    steps: Mapping[fx.Node, HopStep]
    obstacles: tuple[str, ...]

    @property
    def input(self) -> fx.Node:
        """The network's input."""
        return next(node for node in self.graph.graph.nodes if node.op == "placeholder")

    def start(self, node: fx.Node) -> int:
        """Return the first frame of a node's output that any operator reads in a hop, as an index in the window."""
        starts = [self.steps[user].start for user in node.users if user in self.steps]
        return min([self.frames[node].first_fresh, *starts])

    def older(self, node: fx.Node) -> int:
        """Return the number of frames of a node's output that are stored from one hop to the next."""
        return self.frames[node].first_fresh - self.start(node)


def plan_hops(
    traced: fx.GraphModule, shape: tuple[int, ...], time_axis: int | None, hop: int, memory: str = WINDOW
) -> HopPlan:
    """Follow the time axis through a traced network.

    Args:
        traced: maps windows [N, *shape] to one tensor or several.
        shape: shape of one window.
        time_axis: which axis of ``shape`` is time; None if the input has no time axis, for example behind a pooling.
        hop: number of input frames from one decision to the next.
        memory: ``"window"``: each answer depends on its window alone. ``"stream"``: recurrent layers keep their state
            along the stream, and a layer that pads zeros before a window reads earlier frames of the stream instead.

    Raises:
        UserError: a setting does not fit the shape, or the network does not accept the shape.
    """
    if memory not in MEMORIES:
        raise UserError(f"hops: memory: {unknown_name('memory', memory, MEMORIES)}")
    if time_axis is not None and not 0 <= time_axis < len(shape):
        raise UserError(f"hops: time_axis: {time_axis} is no axis of {list(shape)}; choices: 0 to {len(shape) - 1}")
    if time_axis is not None and hop < 1:
        raise UserError(f"hops: hop: {hop} frames; nearest choice: 1")
    graph, shapes = with_constant_sizes(traced, shape)
    frames: dict[fx.Node, Frames] = {}
    steps: dict[fx.Node, HopStep] = {}
    constants, recomputed = set[fx.Node](), set[fx.Node]()
    obstacles: list[str] = []
    for node in graph.graph.nodes:
        inputs = node.all_input_nodes
        timed = [each for each in inputs if each in frames]
        if node.op == "placeholder" and time_axis is not None:
            frames[node] = Frames(axis=time_axis + 1, count=shape[time_axis], hop=hop)
        if node.op == "output" or not timed:
            if node.op != "placeholder" and constants.issuperset(inputs):
                constants.add(node)
            if recomputed.intersection(inputs):
                recomputed.add(node)
            continue
        whole = tuple(each for each in inputs if each not in frames and each not in constants)
        step = apply_rule(
            Call(
                node=node,
                module=module_at(graph, node),
                source=timed[0],
                frames=frames[timed[0]],
                shapes=shapes,
                memory=memory,
                all_frames={each: frames[each] for each in timed},
                whole=whole,
                constants=tuple(each for each in inputs if each in constants),
            )
        )
        steps[node] = step
        if step.output is not None and step.output.count > 1:  # a single frame counts as a value of the whole window
            frames[node] = step.output
        if step.obstacle:
            if not recomputed.intersection(whole):  # an obstacle that an earlier obstacle causes needs no second line
                obstacles.append(step.obstacle)
            recomputed.add(node)
    return HopPlan(graph=graph, shapes=shapes, frames=frames, steps=steps, obstacles=tuple(obstacles))


def find_obstacles(
    traced: fx.GraphModule, shape: tuple[int, ...], time_axis: int, hop: int, memory: str = WINDOW
) -> tuple[str, ...]:
    """Return a line for each layer that cannot run by hops; empty if the whole network can.

    An obstacle is no error. :class:`~gatesearch.graph.hops.network.HopNetwork` can compute such a layer, and all layers
    behind it, for the whole window at each hop; this costs more. :func:`plan_hops` explains the arguments.

    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.Conv1d(8, 4, 3, padding=1), torch.nn.AdaptiveAvgPool1d(1))
    >>> [line] = find_obstacles(fx.symbolic_trace(net), (8, 20), time_axis=1, hop=2)
    >>> line.split(",")[0]
    "backbone: layer '0' pads in time"
    """
    return plan_hops(traced, shape, time_axis, hop, memory).obstacles
