"""The input and the result of a rule for hops: an operator of a graph, and how this operator runs in a hop.

A hop is the step from one window of a stream to the next. A rule says how one kind of operator runs in a hop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import fx, nn

from gatesearch.graph.hops.frames import Frames, Slide, common_hop
from gatesearch.graph.trace import node_label

Argument = Callable[[Any], Any]
# A function that adds the operator of a hop to the new graph and returns its node. Its arguments are the new graph, the
# operator's copied input, and a function that returns the copy of a node.
Replacement = Callable[[fx.Graph, fx.Node, Argument], fx.Node]

STREAM, WINDOW = "stream", "window"


@dataclass(frozen=True)
class HopStep:
    """How an operator runs in a hop: the result of a rule.

    Args:
        output: time axis of the output; None if the output is one value for the whole window.
        start: index of the first frame of the window that the operator reads; all inputs with a time axis share it.
        obstacle: the reason why the operator has to compute the whole window again at each hop; empty if it need not.
        replacement: builds the operator of a hop; None if it is the same operator as for a window.
        carries: whether the operator keeps its own state from hop to hop, as a recurrent layer does.
    """

    output: Frames | None
    start: int
    obstacle: str = ""
    replacement: Replacement | None = None
    carries: bool = False


@dataclass(frozen=True)
class Call:
    """One operator with at least one input that has a time axis.

    Args:
        node: the operator's node in the traced graph.
        module: the module that the node calls; None for a function or method.
        source: the first input with a time axis.
        frames: time axis of ``source``.
        shapes: shapes of all tensors, batch included, by node; a tuple of shapes if a node returns several tensors.
        memory: ``"window"`` if an answer depends on its window alone; ``"stream"`` if layers may remember more.
        all_frames: by node, the time axis of each input that has one.
        whole: inputs that depend on the whole window and have no time axis.
        constants: inputs that do not depend on the window.
    """

    node: fx.Node
    module: nn.Module | None
    source: fx.Node
    frames: Frames
    shapes: Mapping[fx.Node, Any]
    memory: str
    all_frames: Mapping[fx.Node, Frames]
    whole: tuple[fx.Node, ...] = ()
    constants: tuple[fx.Node, ...] = ()
    label: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", node_label(self.node))

    @property
    def name(self) -> str:
        """Name of the function or method; empty for a module."""
        if self.node.op == "call_method":
            return str(self.node.target)
        return str(getattr(self.node.target, "__name__", "")) if self.node.op == "call_function" else ""

    @property
    def shape_in(self) -> tuple[int, ...]:
        """Shape of the first input with a time axis, batch included."""
        return tuple(self.shapes[self.source])

    @property
    def shape_out(self) -> tuple[int, ...]:
        """Shape of the output, batch included; of the first output if there are several."""
        shape = self.shapes[self.node]
        while shape and not isinstance(shape[0], int):
            shape = shape[0]
        return tuple(shape)

    def argument(self, place: int, name: str, default: Any = None) -> Any:
        """Return an argument of the call by position or name; position 0 is the first argument after the tensor."""
        args = self.node.args[1:]
        return args[place] if place < len(args) else self.node.kwargs.get(name, default)

    def passes(self, axis: int | None = None, replacement: Replacement | None = None) -> HopStep:
        """Return the step of an operator whose output frame depends only on the same frame of its inputs."""
        axis = self.frames.axis if axis is None else axis
        if self.shape_out[axis] != self.frames.count:
            return self.recomputes("gives another number of frames than it reads")
        output = Frames(axis, self.frames.count, self.frames.hop)
        return HopStep(output, self.frames.first_fresh, replacement=replacement)

    def slides(self, slide: Slide, count: int, replacement: Replacement | None = None) -> HopStep:
        """Return the step of an operator whose output frame reads several neighbouring input frames."""
        if self.frames.hop % slide.stride:
            times = common_hop(self.frames.hop, slide.stride) // self.frames.hop
            return self.recomputes(
                f"has a stride of {slide.stride} in time, which does not divide the hop of {self.frames.hop} frames "
                f"there; use instead: {times} times the hop, with {times} phases for an answer at each hop"
            )
        output = slide.output(self.frames, count)
        if slide.first < 0 or slide.needs_more(self.frames, output):
            return self.recomputes("reads frames beyond the window")
        return HopStep(output, slide.start(output), replacement=replacement)

    def reduces(self) -> HopStep:
        """Return the step of an operator that reduces all frames of the window to one value without a time axis."""
        return HopStep(None, 0)

    def recomputes(self, reason: str) -> HopStep:
        """Return the step of an operator whose output frames all change when the window moves; ``reason`` says why."""
        return HopStep(None, 0, obstacle=f"backbone: layer {self.label!r} {reason}")


Rule = Callable[[Call], HopStep]
