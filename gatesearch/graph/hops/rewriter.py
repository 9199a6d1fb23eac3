"""Walks through a traced network and removes the padding in time of each layer, or makes it causal."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from torch import Tensor, fx, nn

from gatesearch.errors import UserError, first_line
from gatesearch.graph.hops.call import STREAM, Call, HopStep
from gatesearch.graph.hops.frames import Frames
from gatesearch.graph.hops.functions import ARITHMETIC, POOLINGS, apply_rule
from gatesearch.graph.hops.layers import ADAPTIVE, along_time, pad_widths, padding_in_time, spatial_axes
from gatesearch.graph.hops.shapes import shape_tree
from gatesearch.graph.module_types import AVERAGE_POOLS, CONVOLUTIONS, MAX_POOLS, PADS, module_at
from gatesearch.graph.trace import node_label

REMOVE, CAUSAL = "remove", "causal"
PADDINGS = (REMOVE, CAUSAL)
# A hop in frames that all usual strides divide, so that no stride is an obstacle to following the time axis.
ANY_HOP = 2**8 * 3**4 * 5**2 * 7
POOLS = tuple(kind for kind in (*AVERAGE_POOLS, *MAX_POOLS) if kind not in ADAPTIVE)
JOINS = ("cat", "concat", "stack")


class Rewriter(fx.Interpreter):
    """Runs a graph node by node, and rewrites each node before it runs.

    Args:
        traced: the graph; the rewriter changes its modules and nodes.
        padded: shapes of the graph's tensors before the rewriting, by node.
        time_axis: time axis of the input, counted with the batch axis.
        padding: ``"remove"`` drops the padding in time; ``"causal"`` puts all of it before the window.

    Attributes:
        changes: a line for each layer that changed.
        changed_graph: whether nodes of the graph changed; if not, only modules did.
    """

    def __init__(self, traced: fx.GraphModule, padded: Mapping[fx.Node, Any], time_axis: int, padding: str) -> None:
        super().__init__(traced, garbage_collect_values=False)
        self.extra_traceback = False  # keeps fx from adding lines to errors, which have one line for users
        self.traced, self.padded, self.time_axis, self.padding = traced, padded, time_axis, padding
        self.changes: list[str] = []
        self.changed_graph = False
        self.frames: dict[fx.Node, Frames] = {}
        # Position of each tensor's first frame in the same tensor of the padded network.
        self.lead: dict[fx.Node, Fraction] = {}
        self.removed: dict[nn.Module, tuple[int, int]] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Rewrite a node, run it, and follow the time axis through it."""
        timed = [each for each in n.all_input_nodes if each in self.frames]
        before = 0
        if timed:
            if self._name(n) in ARITHMETIC or self._name(n) in JOINS:
                self._cut(n, timed)
            before = self._rewrite(n, next(each for each in n.all_input_nodes if each in self.frames))
            timed = [each for each in n.all_input_nodes if each in self.frames]
        try:
            result = super().run_node(n)
        except UserError:
            raise
        except Exception as error:
            raise self._misfit(n, timed, first_line(error)) from error
        if n.op == "placeholder":
            self.frames[n] = Frames(self.time_axis, result.shape[self.time_axis], ANY_HOP)
            self.lead[n] = Fraction(0)
        elif timed and n.op != "output":
            self._follow(n, timed, result, before)
        return result

    def _name(self, node: fx.Node) -> str:
        return str(getattr(node.target, "__name__", node.target)) if node.op != "call_module" else ""

    def _misfit(self, n: fx.Node, timed: list[fx.Node], line: str) -> UserError:
        frames = f"the {self.frames[timed[0]].count} frames" if timed else "the frames"
        choice = "; nearest choice: padding='causal'" if self.padding == REMOVE else ""
        return UserError(f"backbone: layer {node_label(n)!r} does not accept {frames} that remain: {line}{choice}")

    def _call(self, n: fx.Node, timed: list[fx.Node], shape: Any) -> Call:
        """Copy a node into another graph, with numbers in place of nodes that compute sizes; return the call."""
        values = {each: self.env[each] for each in n.all_input_nodes if isinstance(self.env.get(each), int)}
        constants = tuple(each for each in n.all_input_nodes if each.op == "get_attr")
        copied = fx.Graph().node_copy(n, lambda each: values.get(each, each))
        shapes = {each: shape_tree(self.env[each]) for each in n.all_input_nodes}
        return Call(
            node=copied,
            module=module_at(self.traced, n),
            source=timed[0],
            frames=self.frames[timed[0]],
            shapes=shapes | {copied: shape},
            memory=STREAM,
            all_frames={each: self.frames[each] for each in timed},
            constants=constants,
        )

    def _follow(self, n: fx.Node, timed: list[fx.Node], result: Any, before: int) -> None:
        shape = shape_tree(result)
        if shape is None:
            return  # the node computes a number
        call = self._call(n, timed, shape)
        step: HopStep = apply_rule(call)
        call.node.graph.erase_node(call.node)
        if step.output is not None:
            self.frames[n] = step.output
            stride = Fraction(call.frames.hop, step.output.hop)
            self.lead[n] = (max(self.lead[each] for each in timed) + before) / stride

    def _rewrite(self, n: fx.Node, source: fx.Node) -> int:
        """Drop a layer's padding in time, or make it causal; return the number of frames dropped before the window."""
        layer: Any = module_at(self.traced, n)
        name = self._name(n)
        if name == "pad" or isinstance(layer, PADS):
            return self._rewrite_pad(n, layer, source)
        if name in POOLINGS and not name.startswith("adaptive"):
            raise UserError(f"backbone: {node_label(n)!r} pools by a function; use instead: the module of that name")
        if not isinstance(layer, (*CONVOLUTIONS, *POOLS)):
            return 0
        call = self._call(n, [source], self.padded[n])
        call.node.graph.erase_node(call.node)
        axis = self.frames[source].axis
        if axis < len(call.shape_in) - spatial_axes(call):
            return 0
        if layer in self.removed:  # the network calls this layer a second time
            return self.removed[layer][0]
        before, behind = padding_in_time(call)
        if self.padded[n][axis] == 1 and isinstance(layer, POOLS) and not before:
            self._pool_all(n, call)
        if not before and not behind:
            return 0
        self.removed[layer] = before, behind
        place = axis - (len(call.shape_in) - spatial_axes(call))
        _set_along(layer, "padding", place, spatial_axes(call), 0)
        if self.padding == CAUSAL:
            if isinstance(layer, MAX_POOLS):
                raise UserError(f"backbone: layer {node_label(n)!r} pads a maximum; nearest choice: padding='remove'")
            widths = [0] * (2 * (len(call.shape_in) - axis))
            widths[-2] = before + behind
            self._insert(n, source, nn.functional.pad, tuple(widths), self.frames[source].count + before + behind)
            self.changes.append(
                f"layer {node_label(n)!r} pads {before + behind} frames before a window, none behind it"
            )
            return 0
        count = self.frames[source].count
        extent = (along_time(layer.kernel_size, call) - 1) * along_time(getattr(layer, "dilation", 1), call) + 1
        count = (count - extent) // along_time(layer.stride, call) + 1
        if count < 1:
            raise self._misfit(n, [source], f"its kernel reads {extent} frames")
        self._note(n, f"pads nothing in time: {count} frames a window, not {self.padded[n][axis]}")
        return before

    def _pool_all(self, n: fx.Node, call: Call) -> None:
        """Make a pooling that covers all frames of the padded network cover all frames of the rewritten network."""
        layer: Any = call.module
        axes, axis = spatial_axes(call), call.frames.axis
        place, count = axis - (len(call.shape_in) - axes), call.frames.count
        whole = self.padded[n.all_input_nodes[0]][axis] if n.all_input_nodes[0] in self.padded else count
        if along_time(layer.kernel_size, call) == whole != count:
            _set_along(layer, "kernel_size", place, axes, count)
            _set_along(layer, "stride", place, axes, count)
            self._note(n, f"pools {count} frames, not {whole}")

    def _rewrite_pad(self, n: fx.Node, layer: Any, source: fx.Node) -> int:
        """Move the frames of a padding before the window, or drop them; return the number dropped before the window."""
        call = self._call(n, [source], self.padded[n])
        widths = list(pad_widths(call))
        call.node.graph.erase_node(call.node)
        place = 2 * (len(call.shape_in) - 1 - self.frames[source].axis)
        before, behind = widths[place : place + 2] if place < len(widths) else (0, 0)
        if not before and not behind:
            return 0
        total = before + behind if self.padding == CAUSAL else 0
        widths[place : place + 2] = total, 0
        if layer is not None:
            layer.padding = tuple(widths)
        else:
            n.args = (n.args[0], tuple(widths), *n.args[2:])
            n.kwargs = {key: value for key, value in n.kwargs.items() if key != "pad"}
            self.changed_graph = True
        self._note(n, f"pads {total} frames before a window, none behind it")
        return 0 if total else before

    def _cut(self, n: fx.Node, timed: list[fx.Node]) -> None:
        """Cut the inputs of a node to the frames that all of them have."""
        frames = {each: self.frames[each] for each in timed}
        if len({each.count for each in frames.values()}) == 1 and len({self.lead[each] for each in timed}) == 1:
            return
        start = max(self.lead[each] for each in timed)
        first = {each: round(start - self.lead[each]) for each in timed}
        count = min(frames[each].count - first[each] for each in timed)
        if count < 1:
            raise self._misfit(n, timed, "its inputs have no frame in common")
        for each in timed:
            if count < frames[each].count:
                index = (*[slice(None)] * frames[each].axis, slice(first[each], first[each] + count))
                self._insert(n, each, operator.getitem, index, count)
                self.lead[self.cut] += first[each]
                self.changes.append(f"{each.name!r} is cut to {count} frames for {node_label(n)!r}")

    def _note(self, n: fx.Node, change: str) -> None:
        self.changes.append(f"layer {node_label(n)!r} {change}")

    def _insert(self, n: fx.Node, source: fx.Node, function: Any, argument: Any, count: int) -> None:
        """Insert a function between a node and its input ``source``."""
        with self.traced.graph.inserting_before(n):
            self.cut = self.traced.graph.call_function(function, (source, argument))
        value: Tensor = function(self.env[source], argument)
        self.env[self.cut] = value
        self.frames[self.cut] = Frames(self.frames[source].axis, count, self.frames[source].hop)
        self.lead[self.cut] = self.lead[source]
        n.replace_input_with(source, self.cut)
        self.changed_graph = True

    def graph_module(self) -> fx.GraphModule:
        """Return the rewritten graph as a module."""
        self.traced.graph.lint()
        self.traced.recompile()
        return self.traced


def _set_along(layer: Any, name: str, place: int, axes: int, value: int) -> None:
    """Set the value of a layer's setting, such as its stride, for one spatial axis."""
    written = getattr(layer, name)
    if written == "same":
        sizes = zip(layer.kernel_size, layer.dilation, strict=True)
        written = tuple((kernel - 1) * dilation // 2 for kernel, dilation in sizes)
    values = list(written) if isinstance(written, tuple | list) else [written] * axes
    values[place] = value
    setattr(layer, name, tuple(values))
    if name == "padding" and hasattr(layer, "_reversed_padding_repeated_twice"):
        layer._reversed_padding_repeated_twice = [each for each in reversed(values) for _ in range(2)]
