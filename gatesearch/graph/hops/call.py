"""One operator of a traced graph with what the rules of hops ask of it, and how it runs in a hop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import fx, nn

from gatesearch.graph.hops.frames import Frames, Slide, common_hop
from gatesearch.graph.trace import node_label

Argument = Callable[[Any], Any]
# From the new graph, the copied node and the copies of nodes to the node that takes its place.
Replacement = Callable[[fx.Graph, fx.Node, Argument], fx.Node]

STREAM, WINDOW = "stream", "window"


@dataclass(frozen=True)
class HopStep:
    """How an operator runs in a hop.

    Args:
        output: time axis of what it gives; None where it gives the value of the whole window.
        start: first frame that it reads of each input with a time axis, as an index in the window.
        obstacle: why it computes the whole window again though more layers over time follow; empty where it does not.
        replacement: makes the operator of a hop; None where it is the operator of a window.
        carries: whether the operator's own state goes from hop to hop, as that of a recurrent layer.
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
        node: of the traced graph.
        module: that it calls; None for a function or method.
        source: its first input with a time axis.
        frames: time axis of that input.
        shapes: of all tensors, batch included, by node; a tuple of shapes where a node gives several tensors.
        memory: ``"window"`` where each answer depends on its window alone, ``"stream"`` where layers remember more.
        all_frames: time axes of all inputs that have one, by node.
        whole: inputs that depend on the whole window and have no time axis of their own.
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
        """Name of the function or method that is called; empty for a module."""
        if self.node.op == "call_method":
            return str(self.node.target)
        return str(getattr(self.node.target, "__name__", "")) if self.node.op == "call_function" else ""

    @property
    def shape_in(self) -> tuple[int, ...]:
        """Shape of the first input with a time axis, batch included."""
        return tuple(self.shapes[self.source])

    @property
    def shape_out(self) -> tuple[int, ...]:
        """Shape of the output, batch included; of the first tensor where there are several."""
        shape = self.shapes[self.node]
        while shape and not isinstance(shape[0], int):
            shape = shape[0]
        return tuple(shape)

    def argument(self, place: int, name: str, default: Any = None) -> Any:
        """Return an argument of the call, the tensor not counted among the places."""
        args = self.node.args[1:]
        return args[place] if place < len(args) else self.node.kwargs.get(name, default)

    def passes(self, axis: int | None = None, replacement: Replacement | None = None) -> HopStep:
        """Each output frame depends on the same frame of the inputs alone."""
        axis = self.frames.axis if axis is None else axis
        if self.shape_out[axis] != self.frames.count:
            return self.recomputes("gives another number of frames than it reads")
        output = Frames(axis, self.frames.count, self.frames.hop)
        return HopStep(output, self.frames.first_fresh, replacement=replacement)

    def slides(self, slide: Slide, count: int, replacement: Replacement | None = None) -> HopStep:
        """Output frames read a stretch of input frames each."""
        if self.frames.hop % slide.stride:
            times = common_hop(self.frames.hop, slide.stride) // self.frames.hop
            return self.recomputes(
                f"has a stride of {slide.stride} in time, which does not divide the hop of {self.frames.hop} frames "
                f"there; nearest choice: {times} times the hop, with {times} phases for an answer at each hop"
            )
        output = slide.output(self.frames, count)
        if slide.first < 0 or slide.needs_more(self.frames, output):
            return self.recomputes("reads frames beyond the window")
        return HopStep(output, slide.start(output), replacement=replacement)

    def reduces(self) -> HopStep:
        """The output has no time axis: all frames of the window are kept, and reduced together."""
        return HopStep(None, 0)

    def recomputes(self, reason: str) -> HopStep:
        """The output has a time axis, and each of its frames changes when the window moves."""
        return HopStep(None, 0, obstacle=f"backbone: layer {self.label!r} {reason}")


Rule = Callable[[Call], HopStep]
