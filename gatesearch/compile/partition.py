"""Pass: cuts a stage into parts for LiteRT (plain layers) and parts for kernels.

The pass assumes a graph whose layers are final. The parts, run one after the other, compute what the stage computes.
There are no parts if the core runs no kernels, or if no layer has a kernel. The stage's own program remains: it is the
reference, and it runs on hosts without a compiler.

Values between parts have names; each part reads some of them and writes others. A feature map among these values has
the order of axes [h, w, c], which LiteRT and the kernels use.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, fx, nn

from gatesearch.compile.stage import Part, StageGraph
from gatesearch.compile.tflite import Converter, channel_last
from gatesearch.graph.module_types import NO_OPERATIONS, RELU_FUNCTIONS, RELUS, calls_one_of, module_at
from gatesearch.graph.sites import LayerSite, layer_sites
from gatesearch.kernels import NativeLayer, layer_kernel

INPUT = "input"
WITH_NORM_AND_RELU = ("conv2d", "linear")  # layers whose kernels also compute a normalisation and a ReLU behind them


def part_to_bytes(part: Part, converter: Converter) -> bytes:
    """Return the file of a part: a .tflite program, or the kernel's arrays as .npz."""
    if part.program is not None:
        return converter(*part.program)
    packed = io.BytesIO()
    np.savez(packed, **cast(Any, part.arrays))
    return packed.getvalue()


def partition(stage: StageGraph) -> StageGraph:
    """Return the stage with its parts, if its core runs kernels."""
    return stage if stage.core is None or not stage.core.runs_kernels else cut_for_kernels(stage)


@torch.no_grad()
def cut_for_kernels(stage: StageGraph) -> StageGraph:
    """Return the stage with its parts, whatever its core runs.

    Kernels also run recurrent layers without a gate, because an interpreter would run each step operator by operator.
    """
    if not isinstance(stage.body, fx.GraphModule):
        return stage
    kernels = dict(stage.kernels)
    if any(isinstance(module, nn.RNNBase) for module in stage.body.modules()):
        sites = layer_sites(stage.body, stage.samples[:1])
        kernels |= {site: site.op for site in sites if site.is_recurrent}
    if not kernels:
        return stage
    body = copy.deepcopy(stage.body)
    _remove_identities(body)
    values = _Values(body)
    values.run(stage.samples[:1])
    layers = [_layer(body, site, kernel, values.by_node) for site, kernel in kernels.items()]
    by_node = {layer.nodes[0]: layer for layer in layers if layer is not None}
    if not by_node:
        return stage
    outputs = ("output",) if stage.threshold is None else ("passed", "logit")
    cut = _Cut(body=body, layers=by_node, values=values.by_node, head=stage.head, outputs=outputs)
    return replace(stage, parts=tuple(cut.parts()))


class _Layer(NamedTuple):
    """A layer that a kernel runs, with the nodes that the kernel replaces: the layer's own and some that follow."""

    site: LayerSite
    name: str
    kernel: NativeLayer
    nodes: tuple[fx.Node, ...]

    @property
    def source(self) -> fx.Node:
        """The node whose value the layer reads."""
        return self.nodes[0].all_input_nodes[0]

    def can_skip(self, before: _Layer) -> bool:
        """Return whether the kernel can skip the input channels that the layer ``before`` did not compute."""
        active = before.kernel.active
        return self.site.source == before.site.name and active is not None and active.size in self.kernel.reads


class _Cut:
    """A graph that is being cut into parts.

    Args:
        body: the graph.
        layers: the layers that kernels run, by their first node.
        values: the value of every node for a batch of 1.
        head: the head behind the body.
        outputs: names of the head's outputs.
    """

    def __init__(
        self,
        body: fx.GraphModule,
        layers: Mapping[fx.Node, _Layer],
        values: Mapping[fx.Node, Tensor],
        head: nn.Module,
        outputs: tuple[str, ...],
    ) -> None:
        self.body, self.layers, self.values, self.head, self.outputs = body, layers, values, head, outputs
        self.by_site = {layer.site.name: layer for layer in layers.values()}
        self.end = cast(fx.Node, body.graph.output_node().args[0])
        self.index: dict[str, int] = {}  # index of each layer's part, by the layer's site

    def parts(self) -> list[Part]:
        """Return the parts in the order in which they run."""
        inside = {node for layer in self.layers.values() for node in layer.nodes}
        parts: list[Part] = []
        stretch: list[fx.Node] = []
        for node in self.body.graph.nodes:
            if node.op in ("placeholder", "output"):
                continue
            if node in self.layers:
                if stretch:
                    parts.append(self._stretch(stretch))
                    stretch = []
                self.index[self.layers[node].site.name] = len(parts)
                parts.append(self._kernel(self.layers[node]))
            elif node not in inside and node.op != "get_attr":  # a constant belongs to its readers
                stretch.append(node)
        parts.append(self._last_stretch(stretch))
        return parts

    def _name(self, node: fx.Node) -> str:
        return INPUT if node.op == "placeholder" else node.name

    def _kernel(self, layer: _Layer) -> Part:
        before = self.by_site.get(layer.site.source or "")
        last = layer.nodes[-1]
        readers = [self.layers.get(user) for user in last.users]
        return Part(
            inputs=(self._name(layer.source),),
            outputs=(self._name(last),),
            arrays=layer.kernel.arrays(),
            kernel=layer.name,
            site=layer.site.name,
            source=self.index[before.site.name] if before is not None and layer.can_skip(before) else None,
            whole=any(reader is None or not reader.can_skip(layer) for reader in readers),
            reads=channel_last(self.values[layer.source][:1].numpy()).shape,
            positive=layer.site.positive,
        )

    def _stretch(self, nodes: Sequence[fx.Node]) -> Part:
        """Return a stretch of plain layers as a program; its outputs are the values that other parts read."""
        ends = [node for node in nodes if any(user not in set(nodes) for user in node.users)]
        sources, graph, copies = self._copy(nodes)
        graph.output(copies[ends[0]] if len(ends) == 1 else tuple(copies[node] for node in ends))
        module = fx.GraphModule(self.body, graph)
        return self._program(module, sources, tuple(map(self._name, ends)))

    def _last_stretch(self, nodes: Sequence[fx.Node]) -> Part:
        """Return the last stretch, which may be empty, and the head behind it as a program with the stage's outputs."""
        sources, graph, copies = self._copy(nodes)
        if self.end not in copies:
            copies[self.end] = graph.placeholder(f"value_{len(sources)}")
            sources.append(self.end)
        graph.output(copies[self.end])
        return self._program(_Ending(fx.GraphModule(self.body, graph), self.head), sources, self.outputs)

    def _copy(self, nodes: Sequence[fx.Node]) -> tuple[list[fx.Node], fx.Graph, dict[fx.Node, fx.Node]]:
        """Copy nodes into a graph of their own.

        Returns:
            The outside nodes that the copied nodes read, which become the inputs of the new graph; the new graph; and
            the copy of each node in it.
        """
        graph = fx.Graph()
        reads = [source for node in nodes for source in node.all_input_nodes if source not in set(nodes)]
        sources = [node for node in dict.fromkeys(reads) if node.op != "get_attr"]
        copies = {node: graph.placeholder(f"value_{i}") for i, node in enumerate(sources)}
        for node in nodes:
            for source in node.all_input_nodes:
                if source not in copies and source.op == "get_attr":
                    copies[source] = graph.node_copy(source)
            copies[node] = graph.node_copy(node, copies.__getitem__)
        return sources, graph, copies

    def _program(self, module: nn.Module, sources: Sequence[fx.Node], outputs: tuple[str, ...]) -> Part:
        examples = tuple(self.values[node] for node in sources)
        return Part(inputs=tuple(map(self._name, sources)), outputs=outputs, program=(module.eval(), examples))


class _Ending(nn.Module):
    """The last stretch of a stage and the head behind it."""

    def __init__(self, body: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.body, self.head = body, head

    def forward(self, *values: Tensor) -> Any:
        return self.head(self.body(*values))


class _Values(fx.Interpreter):
    """Runs a graph and stores the value of every node."""

    def __init__(self, body: fx.GraphModule) -> None:
        super().__init__(body, garbage_collect_values=False)
        self.by_node: dict[fx.Node, Tensor] = {}

    def run_node(self, n: fx.Node) -> Any:
        self.by_node[n] = super().run_node(n)
        return self.by_node[n]


def _layer(body: fx.GraphModule, site: LayerSite, name: str, values: Mapping[fx.Node, Tensor]) -> _Layer | None:
    """Return a layer with the nodes behind it that its kernel also computes; None where no kernel can replace it."""
    nodes = [node for node in body.graph.nodes if node.op == "call_module" and node.target == site.name]
    if len(nodes) != 1:
        return None
    norm, relu = None, False
    while len(nodes[-1].users) == 1:
        [reader] = nodes[-1].users
        takes_output = reader.op == "call_function" and reader.args[1:] == (0,) and len(nodes) == 1
        if takes_output and isinstance(values[nodes[-1]], tuple):
            nodes.append(reader)  # selects the output sequence, the first of the values of a recurrent layer
            continue
        if relu or site.op not in WITH_NORM_AND_RELU:
            break
        module = module_at(body, reader)
        if calls_one_of(body, reader, RELUS, RELU_FUNCTIONS):
            relu = True
        elif isinstance(module, nn.BatchNorm2d) and layer_kernel(name).layer.absorbs_norm and norm is None:
            norm = module
        else:
            break
        nodes.append(reader)
    if isinstance(values[nodes[-1]], tuple):
        return None  # another node reads the state, which the kernel does not return
    layer, source = body.get_submodule(site.name), values[nodes[0].all_input_nodes[0]]
    kernel = layer_kernel(name).layer.from_module(layer, source, norm, relu, site.positive)
    return _Layer(site, name, kernel, tuple(nodes))


def _remove_identities(body: fx.GraphModule) -> None:
    """Remove the operations that do nothing in evaluation mode, such as dropout."""
    for node in list(body.graph.nodes):
        if calls_one_of(body, node, NO_OPERATIONS):
            node.replace_all_uses_with(node.args[0])
            body.graph.erase_node(node)
    body.recompile()
