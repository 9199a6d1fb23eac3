"""A stage as parts: plain stretches that LiteRT runs, and gated or recurrent layers that kernels run.

Values between parts are named; a part reads some and writes some. Maps are [h, w, c] there, as both sides have them.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from gatesearch.compile.lower import LoweredStage
from gatesearch.compile.tflite import channel_last, convert
from gatesearch.cost.layers import STEPWISE
from gatesearch.devices.profile import Core
from gatesearch.gates import at_layers, layer_kind
from gatesearch.graph.sites import LayerSite, layer_sites
from gatesearch.kernels import NativeLayer, layer_kernel
from gatesearch.model import GatedModel
from gatesearch.plan import PlacedGate

INPUT = "input"
NOTHING = (nn.Identity, nn.Dropout, nn.Dropout2d)
RELUS = (torch.relu, F.relu)


@dataclass(frozen=True, slots=True)
class StagePart:
    """One part of a stage.

    Args:
        inputs, outputs: names of the values that it reads and writes, in order.
        blob: the .tflite program, or the kernel's arrays as an .npz file.
        kernel: name of a :class:`~gatesearch.kernels.LayerKernel`; None for a program.
        site: of the gated layer; None for a program.
        source: index of the part whose blocks are the only ones that this one has to read; None where it reads all.
        whole: whether somebody reads what the kernel does not compute, which then has to be zero.
        reads: shape of what a kernel reads, [1, h, w, c] or [1, T, F].
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    blob: bytes
    kernel: str | None = None
    site: str | None = None
    source: int | None = None
    whole: bool = True
    reads: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class _Native:
    """A gated layer in the graph: from the node of the layer to the last one that its kernel stands for."""

    site: LayerSite
    kernel: str
    part: NativeLayer
    nodes: tuple[fx.Node, ...]

    @property
    def given(self) -> fx.Node:
        return self.nodes[0].all_input_nodes[0]


def _skips(reader: _Native, source: _Native) -> bool:
    """Whether a kernel can leave out what another did not compute."""
    active = source.part.active
    return reader.site.source == source.site.name and active is not None and active.size in reader.part.reads


def in_kernels(site: LayerSite, gate: PlacedGate) -> str | None:
    """Return which kernel runs a gated layer; None where a reference does."""
    calls = layer_kind(gate.kind).work_left(site, gate).kernels
    return calls[0].kernel if calls else None


Convert = Callable[[nn.Module, Sequence[Tensor]], bytes]


@torch.no_grad()
def parts(stage: LoweredStage, model: GatedModel, k: int, core: Core, converter: Convert = convert) -> list[StagePart]:
    """Return the parts of a stage; none where the core runs no kernels or the stage has no layer for one.

    Recurrent layers are run by kernels whether or not there is a gate: an interpreter takes their steps one operator
    at a time.

    Args:
        stage: lowered.
        model: that it is stage ``k`` of.
        k: see there.
        core: that it is to run on.
        converter: makes a .tflite program of a module and an example of each input.
    """
    layers = zip(model.layer_sites, at_layers(model.plan), model.layer_stages, strict=True)
    wanted = {site: kernel for site, gate, at in layers if at == k and (kernel := in_kernels(site, gate)) is not None}
    if not core.runs_kernels or not isinstance(stage.program.body, fx.GraphModule):
        return []
    if any(isinstance(module, nn.RNNBase) for module in stage.program.body.modules()):
        sites = layer_sites(stage.program.body, stage.samples[:1])
        wanted.update({site: site.op for site in sites if site.op in STEPWISE})
    if not wanted:
        return []
    body = copy.deepcopy(stage.program.body)
    _drop_nothing(body)
    values = _Values(body)
    values.run(stage.samples[:1])
    found = {
        native.nodes[0]: native for site, kernel in wanted.items() if (native := _native(body, site, kernel, values))
    }
    return _Cut(body, found, values, stage.program.head, k < len(model.gates), converter).parts() if found else []


class _Cut:
    """A graph on its way into parts."""

    def __init__(
        self,
        body: fx.GraphModule,
        natives: Mapping[fx.Node, _Native],
        values: _Values,
        head: nn.Module,
        gated: bool,
        converter: Convert,
    ) -> None:
        self.gated, self.converter = gated, converter
        self.body, self.natives, self.seen, self.head = body, natives, values.seen, head
        self.inside = {node: native for native in natives.values() for node in native.nodes}
        [self.end] = [cast(fx.Node, node.args[0]) for node in body.graph.nodes if node.op == "output"]
        self.index: dict[str, int] = {}  # of the part of a gated layer, by site

    def parts(self) -> list[StagePart]:
        """Return the parts in the order in which they run."""
        made: list[StagePart] = []
        stretch: list[fx.Node] = []
        for node in self.body.graph.nodes:
            if node.op in ("placeholder", "output"):
                continue
            if node in self.natives:
                if stretch:
                    made.append(self._plain(stretch))
                    stretch = []
                self.index[self.natives[node].site.name] = len(made)
                made.append(self._kernel(self.natives[node]))
            elif node not in self.inside and node.op != "get_attr":  # a constant belongs to whoever reads it
                stretch.append(node)
        return [*made, self._plain(stretch, self.head)]

    def _name(self, node: fx.Node) -> str:
        return INPUT if node.op == "placeholder" else node.name

    def _kernel(self, native: _Native) -> StagePart:
        before = next((n for n in self.natives.values() if n.site.name == native.site.source), None)
        source = self.index[before.site.name] if before is not None and _skips(native, before) else None
        last = native.nodes[-1]
        readers = [self.natives.get(user) for user in last.users]
        whole = any(reader is None or not _skips(reader, native) for reader in readers)
        packed = io.BytesIO()
        np.savez(packed, **cast(Any, native.part.arrays()))
        return StagePart(
            inputs=(self._name(native.given),),
            outputs=(self._name(last),),
            blob=packed.getvalue(),
            kernel=native.kernel,
            site=native.site.name,
            source=source,
            whole=whole,
            reads=channel_last(self.seen[native.given][:1].numpy()).shape,
        )

    def _plain(self, nodes: Sequence[fx.Node], head: nn.Module | None = None) -> StagePart:
        """Return a stretch as a program; the last one with the head behind it, whose outputs are the stage's."""
        within = set(nodes)
        graph = fx.Graph()
        read = list(dict.fromkeys(n for node in nodes for n in node.all_input_nodes if n not in within))
        read = [node for node in read if node.op != "get_attr"]
        env = {node: graph.placeholder(f"value_{i}") for i, node in enumerate(read)}
        for node in nodes:
            for given in node.all_input_nodes:
                if given not in env and given.op == "get_attr":
                    env[given] = graph.node_copy(given)
            env[node] = graph.node_copy(node, env.__getitem__)
        last = [self.end] if head is not None else [n for n in nodes if any(u not in within for u in n.users)]
        if head is not None and self.end not in env:
            read.append(self.end)
            env[self.end] = graph.placeholder(f"value_{len(read) - 1}")
        graph.output(env[last[0]] if len(last) == 1 else tuple(env[node] for node in last))
        module: nn.Module = fx.GraphModule(self.body, graph)
        if head is not None:
            module = _Ending(module, head)
        blob = self.converter(module.eval(), tuple(self.seen[node] for node in read))
        names = {False: ("output",), True: ("passed", "logit")}[self.gated]
        outputs = names if head is not None else tuple(self._name(node) for node in last)
        return StagePart(tuple(self._name(node) for node in read), outputs, blob)


class _Ending(nn.Module):
    """The last stretch of a stage and the head behind it."""

    def __init__(self, body: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.body, self.head = body, head

    def forward(self, *values: Tensor) -> Any:
        return self.head(self.body(*values))


class _Values(fx.Interpreter):
    """Runs a graph and keeps what every node gives."""

    def __init__(self, body: fx.GraphModule) -> None:
        super().__init__(body, garbage_collect_values=False)
        self.seen: dict[fx.Node, Tensor] = {}

    def run_node(self, n: fx.Node) -> Any:
        self.seen[n] = super().run_node(n)
        return self.seen[n]


def _native(body: fx.GraphModule, site: LayerSite, kernel: str, values: _Values) -> _Native | None:
    """Return a gated layer with what its kernel takes over behind it; None where it has to stay as it is."""
    calls = [node for node in body.graph.nodes if node.op == "call_module" and node.target == site.name]
    if len(calls) != 1:
        return None
    kind, nodes = layer_kernel(kernel).layer, calls
    norm, relu = None, False
    while len(nodes[-1].users) == 1:
        [reader] = nodes[-1].users
        module = body.get_submodule(str(reader.target)) if reader.op == "call_module" else None
        first_of_pair = reader.op == "call_function" and reader.args[1:] == (0,) and len(nodes) == 1
        if first_of_pair and isinstance(values.seen[nodes[-1]], tuple):
            nodes = [*nodes, reader]
            continue
        if relu or site.op not in ("conv2d", "linear"):
            break
        if isinstance(module, nn.ReLU) or (reader.op == "call_function" and reader.target in RELUS):
            relu = True
        elif isinstance(module, nn.BatchNorm2d) and kind.absorbs_norm and norm is None:
            norm = module
        else:
            break
        nodes = [*nodes, reader]
    if isinstance(values.seen[nodes[-1]], tuple):
        return None  # somebody reads the state
    given = values.seen[nodes[0].all_input_nodes[0]]
    layer = body.get_submodule(site.name)
    return _Native(site, kernel, kind.from_module(layer, given, norm, relu, site.positive), tuple(nodes))


def _drop_nothing(body: fx.GraphModule) -> None:
    """Take out what does nothing in evaluation."""
    for node in list(body.graph.nodes):
        if node.op == "call_module" and isinstance(body.get_submodule(str(node.target)), NOTHING):
            node.replace_all_uses_with(node.args[0])
            body.graph.erase_node(node)
    body.recompile()
