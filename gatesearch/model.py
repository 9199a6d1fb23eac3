"""The gated model: a backbone with the gates of a plan, cut into stages.

Gates at layer sites replace their layers. Then gates at cut sites cut the backbone into stages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple, cast

import torch
from torch import Tensor, fx, nn

from gatesearch.errors import UserError, unknown
from gatesearch.gates import CutGate, GateOutput, LayerGate, build_gate, cut_gates, layer_gates
from gatesearch.graph.plain_weights import copy_network
from gatesearch.graph.sites import INPUT, CutSite, LayerSite, check_sites, find
from gatesearch.graph.trace import trace
from gatesearch.plan import GatePlan, PlacedGate


class GatedOutput(NamedTuple):
    """The result of the forward pass for training, in which every sample runs all stages.

    ``logits`` [N, *output] is the output of the last stage. ``gates`` holds the output of each cut gate, in order.
    """

    logits: Tensor
    gates: tuple[GateOutput, ...]


class Cascade(NamedTuple):
    """The result of the hard cascade, in which samples stop at gates as on a device.

    ``logits`` [N, *output] is the output of the last stage, or of the exit of the gate that stopped the sample. It is
    NaN if that gate has no exit. ``exit`` [N] is the index of the gate that stopped the sample, or the number of gates
    if none did. ``gate_logits`` [N, gates] is NaN at gates that the sample did not reach.
    """

    logits: Tensor
    exit: Tensor
    gate_logits: Tensor


class GatedModel(nn.Module):
    """A backbone with the gates of a plan.

    With the empty plan, the model is the ungated backbone: one stage with the same output bit for bit. The backbone is
    copied and does not change.

    Args:
        backbone: the network, which maps [N, *shape] to [N, *output], such as logits [N, classes].
        plan: the plan. Its gates at cut sites come first, then its gates at layer sites. Each of the two groups is in
            the order of its sites.
        sites: cut sites of this backbone, from :func:`gatesearch.graph.sites.cut_sites`.
        outputs: shape of the backbone's output for one sample, or the number of classes.
        saliency: importance of each channel [C] by site name, from :func:`gatesearch.training.saliency`.
        layers: layer sites of this backbone, from :func:`gatesearch.graph.sites.layer_sites`.

    Raises:
        UserError: a site of the plan belongs to another network, a site or gate kind does not exist, a parameter is
            out of range, two gates stand at one layer, or the gates are in the wrong order.
    """

    answers: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        plan: GatePlan,
        sites: tuple[CutSite, ...],
        outputs: int | Sequence[int],
        saliency: Mapping[str, Tensor] | None = None,
        layers: tuple[LayerSite, ...] = (),
    ) -> None:
        super().__init__()
        self.plan = plan
        cuts, inside = cut_gates(plan), layer_gates(plan)
        if plan.gates != cuts + inside:
            raise UserError("plan: gates at cut sites come first, gates at layer sites behind them")
        self.sites = tuple(find(sites, gate.site) for gate in cuts)
        self.layer_sites = tuple(find(layers, gate.site) for gate in inside)
        _check_order(plan, 0, [sites.index(site) for site in self.sites])
        _check_order(plan, len(cuts), [layers.index(site) for site in self.layer_sites])
        for first, second in pairwise(inside):
            if first.site == second.site:
                raise UserError(f"plan: two gates, {first.kind} and {second.kind}, in the place of {first.site!r}")
        if sites and sites[0].name == INPUT:
            check_sites(backbone, sites[0].shape, self.sites, self.layer_sites)
        gates = []
        for site, placed in zip(self.sites, cuts, strict=True):
            gate = build_gate(site, placed)
            if saliency is not None and site.name in saliency:
                gate.initialise(saliency[site.name])
            gates.append(gate)
        self.gates = nn.ModuleList(cast(list[nn.Module], gates))
        backbone = copy_network(backbone)
        for layer, placed in zip(self.layer_sites, inside, strict=True):
            _replace(backbone, layer, placed)
        self.stages = nn.ModuleList(split(backbone, [site.node for site in self.sites]))
        names = [dict(stage.named_modules()) for stage in self.stages]
        self.layer_stages = tuple(k for site in self.layer_sites for k, own in enumerate(names) if site.name in own)
        self.output_shape = (outputs,) if isinstance(outputs, int) else tuple(outputs)
        # For each gate, the class that a stopped sample gets; calibration sets it.
        self.register_buffer("answers", torch.zeros(len(gates), dtype=torch.long))
        # Thresholds, smoothing and hold of the gates on a stream. Calibration sets them if the goal is detection.
        self.stream: object | None = None

    def gate(self, k: int) -> CutGate:
        """Return the ``k``-th cut gate."""
        return cast(CutGate, self.gates[k])

    @property
    def cut_gates(self) -> tuple[CutGate, ...]:
        """The gates between stages, in order."""
        return tuple(map(self.gate, range(len(self.gates))))

    @property
    def layer_gates(self) -> dict[str, LayerGate]:
        """The gates that replace layers, by site."""
        return {
            site.name: cast(LayerGate, self.stages[k].get_submodule(site.name))
            for site, k in zip(self.layer_sites, self.layer_stages, strict=True)
        }

    def forward(self, inputs: Tensor) -> GatedOutput:
        """Run every stage and every exit on every sample [N, *shape]."""
        hidden, outputs = inputs, []
        for k, stage in enumerate(self.stages):
            hidden = stage(hidden)
            if k < len(self.gates):
                gate = self.gate(k)
                output = gate(hidden)
                outputs.append(output if gate.exit is None else output._replace(exit=gate.exit(output.passed)))
                hidden = output.passed
        return GatedOutput(hidden, tuple(outputs))

    @torch.no_grad()
    def cascade(self, inputs: Tensor) -> Cascade:
        """Run the hard cascade, in which each gate passes or stops each sample that reaches it.

        A stage runs only the samples that no gate has stopped. An exit runs only the samples that its gate stops.
        """
        count, number = len(inputs), len(self.gates)
        exits = torch.full((count,), number)
        gate_logits = inputs.new_full((count, number), torch.nan)
        logits = inputs.new_full((count, *self.output_shape), torch.nan)
        alive = torch.arange(count)
        hidden = inputs
        for k, stage in enumerate(self.stages):
            hidden = stage(hidden)
            if k == number:
                break
            gate = self.gate(k)
            output = gate(hidden)
            gate_logits[alive, k] = output.logit
            go = output.logit > gate.theta
            exits[alive[~go]] = k
            if gate.exit is not None and not bool(go.all()):
                logits[alive[~go]] = gate.exit(output.passed[~go])
            alive, hidden = alive[go], output.passed[go]
            if len(alive) == 0:
                break
        if len(alive):
            logits[alive] = hidden
        return Cascade(logits, exits, gate_logits)


def _check_order(plan: GatePlan, first: int, order: Sequence[int]) -> None:
    """Refuse gates in the wrong order: ``order`` has the site positions of the plan's gates from ``first`` on."""
    for k, (place_before, place) in enumerate(pairwise(order), first + 1):
        if place < place_before:
            early, late = plan.gates[k].site, plan.gates[k - 1].site
            raise UserError(f"plan: gate {k + 1} at {early!r} comes after {late!r}, which data meets later")


def _replace(backbone: nn.Module, site: LayerSite, placed: PlacedGate) -> None:
    """Replace a layer by its gate."""
    layer = backbone.get_submodule(site.name)
    norm = None if site.norm is None else cast(nn.BatchNorm2d, backbone.get_submodule(site.norm))
    gate = build_gate(site, placed, layer, norm)
    backbone.set_submodule(site.name, cast(nn.Module, gate))
    if site.norm is not None and gate.absorbs_norm:
        backbone.set_submodule(site.norm, nn.Identity())


def split(backbone: nn.Module, nodes: list[str]) -> list[fx.GraphModule]:
    """Cut a model behind the named nodes of its traced graph, and return the stages in order.

    The stages use the modules of ``backbone`` itself, with the same parameters and training mode. A node may be named
    twice; the stage between the two cuts is then the identity.

    Raises:
        UserError: the graph has no such node, or has the nodes in another order.
    """
    traced = trace(backbone)
    stages: list[fx.GraphModule] = []
    graph, env = fx.Graph(), dict[fx.Node, fx.Node]()
    pending = list(nodes)

    def close(value: fx.Node) -> None:
        graph.output(env[value])
        stages.append(fx.GraphModule(traced, graph))

    def value_of(node: fx.Node) -> fx.Node:
        if node not in env and node.op == "get_attr":  # a parameter may be used on both sides of a cut
            env[node] = graph.node_copy(node)
        return env[node]

    for node in traced.graph.nodes:
        if node.op == "output":
            close(node.args[0])
            break
        env[node] = graph.node_copy(node, value_of)
        while pending and pending[0] == node.name:
            close(node)
            graph = fx.Graph()
            env = {node: graph.placeholder("hidden")}
            pending.pop(0)
    if pending:
        names = [node.name for node in traced.graph.nodes]
        raise unknown(f"backbone {type(backbone).__name__}", "node of a cut site", pending[0], names)
    return stages
