"""Cuts a backbone into the modules that are timed separately for its latency table.

Such a module is called a *component*; its measured or estimated cost on a core is a *reading*. Most components are
*blocks*, each between two neighbouring cut sites. The others are gate heads and exits, layers that gates may replace,
and an empty program, whose reading is the overhead of a call.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from torch import Tensor, fx, nn

from gatesearch.compile import passes
from gatesearch.compile.number_format import FLOAT, PLAIN, needs
from gatesearch.compile.prune import restores_output, selects_input
from gatesearch.compile.stage import StageGraph
from gatesearch.gates import build_gate, fits, kind_of
from gatesearch.graph.channel_axes import select
from gatesearch.graph.sites import INPUT, CutSite, LayerSite, check_sites
from gatesearch.model import split
from gatesearch.plan import PlacedGate

END = "output"  # name of the position where the last block ends
LAYER_PREFIX = "layer "
EXIT_PREFIX = "exit "
Role = Literal["block", "head", "exit", "layer", "empty"]


class ComponentKey(NamedTuple):
    """The identity of a component: its name, and the shares of channels that remain at its input and at its output."""

    name: str
    inputs: float = 1.0
    outputs: float = 1.0

    @property
    def dense(self) -> bool:
        """Whether the component has all its channels."""
        return self.inputs == self.outputs == 1.0


EMPTY = ComponentKey("", 0.0, 0.0)


class Component(NamedTuple):
    """A module that is timed or counted by itself.

    Args:
        module: the module in evaluation mode.
        example: a few samples of its input, [n, ...].
        role: the role of the component. A component with the role ``"layer"`` is one layer or, for a recurrent layer,
            the layer's block without recurrent layers; see :func:`_rests`.
        need: how much the module needs float32: ``"plain"``, ``"delicate"`` or ``"float"``; see
            :func:`gatesearch.compile.number_format.needs`.
        state: number of values in the state that one hop passes to the next; 0 for a module of whole windows. A hop is
            the time from one decision on a stream to the next.
        joined: number of values in the tensors that a hop concatenates from its state and its new frames.
        neighbours: names of the other blocks that the module also holds; see :func:`_with_neighbours`.
    """

    module: nn.Module
    example: Tensor
    role: Role
    need: str = PLAIN
    state: int = 0
    joined: int = 0
    neighbours: tuple[str, ...] = ()


Components = Mapping[ComponentKey, Component]


def build_components(
    backbone: nn.Module,
    sites: Sequence[CutSite],
    features: Tensor,
    variants: Sequence[PlacedGate],
    layers: Sequence[LayerSite],
) -> dict[ComponentKey, Component]:
    """Return the components of a backbone: blocks, heads and exits, layers, and the empty program.

    Args:
        backbone: the backbone in evaluation mode; only its shapes matter, not its weights.
        sites: the cut sites, in order.
        features: a few samples [n, *shape].
        variants: one placed gate for each variant of cut gates, see :func:`variant_of`; the site of these gates does
            not matter.
        layers: the layers that gates may replace.
    """
    check_sites(backbone, tuple(features.shape[1:]), sites, layers)
    components = _blocks_and_heads(backbone, sites, features, variants)
    components |= _layers_alone(backbone, features, layers)
    components |= _rests(backbone, features, sites, layers)
    components[EMPTY] = Component(nn.Sequential(nn.ReLU()).eval(), torch.ones(2, 4, 1, 1), "empty")
    return components


def named(components: Components, *roles: Role) -> list[str]:
    """Return the names of all components whose role is one of ``roles``, in order and without repeats."""
    return list(dict.fromkeys(key.name for key, component in components.items() if component.role in roles))


@torch.no_grad()
def _blocks_and_heads(
    backbone: nn.Module, sites: Sequence[CutSite], features: Tensor, variants: Sequence[PlacedGate]
) -> dict[ComponentKey, Component]:
    """Return the blocks between neighbouring sites, and the heads and exits of gates at these sites."""
    stages = split(backbone, [site.node for site in sites])
    bounds: list[CutSite | None] = [None, *sites, None]
    if sites and sites[0].name == INPUT:
        stages, bounds = stages[1:], bounds[1:]  # the stage before the input is empty
    blocks: dict[ComponentKey, Component] = {}
    heads: dict[ComponentKey, Component] = {}
    hidden, need_before = features, PLAIN
    inputs = []
    for stage, (begin, end) in zip(stages, pairwise(bounds), strict=True):
        blocks |= _pruned_block(stage, hidden, begin, end)
        inputs.append(hidden)
        if begin is not None:
            for placed in variants:
                heads |= _head_and_exit(placed, begin, hidden, need_before)
        hidden, need_before = stage(hidden), needs(stage)
    blocks |= _with_neighbours(backbone, bounds, inputs, blocks)
    return blocks | heads


def _pruned_block(
    stage: fx.GraphModule, hidden: Tensor, begin: CutSite | None, end: CutSite | None
) -> dict[ComponentKey, Component]:
    """Return the components of a block: one for each combination of channel shares at its two ends."""
    name = INPUT if begin is None else begin.name
    components = {}
    for i in _channel_choices(begin):
        for o in _channel_choices(end):
            key = ComponentKey(name, i, o)
            graph = _pruned(stage, hidden, (begin, end), key)
            components[key] = Component(graph.body, graph.samples, "block", needs(stage))
    return components


def _pruned(
    stage: fx.GraphModule, hidden: Tensor, ends: tuple[CutSite | None, CutSite | None], key: ComponentKey
) -> StageGraph:
    """Return the stage between two sites with the channel shares of a component, and samples of the stage's input."""
    inputs, outputs = (
        _channel_choices(site)[share] for site, share in zip(ends, (key.inputs, key.outputs), strict=True)
    )
    axes = (_channel_axis(ends[0]), _channel_axis(ends[1]))
    graph = StageGraph(
        body=stage,
        head=nn.Identity(),
        samples=select(hidden, inputs, axes[0] + 1),
        shape=tuple(hidden.shape[1:]),
        entering=inputs,
        leaving=outputs,
        axes=axes,
    )
    return passes.apply(graph, until="prune")


def _with_neighbours(
    backbone: nn.Module,
    bounds: Sequence[CutSite | None],
    inputs: Sequence[Tensor],
    blocks: Mapping[ComponentKey, Component],
) -> dict[ComponentKey, Component]:
    """Return larger components for blocks that mix no channels, such as a block with a single depthwise layer.

    A cut at one end of such a block removes channels. Alone, the block has to restore these channels at its output, or
    to select the remaining channels at its input. In a stage of more blocks, neither happens: the channels are missing
    up to the next layer that mixes channels, and that layer shrinks. So the larger component holds all blocks up to
    that layer. The latency table then subtracts the readings of the other blocks, with the same channels missing. A
    stage that holds this block alone gets the same reading.

    Args:
        backbone: the backbone in evaluation mode.
        bounds: the cut sites at which the blocks begin and end; None for the input and the output.
        inputs: for each block, a few samples of its input, [n, ...].
        blocks: the components of all blocks.
    """
    names = [INPUT if begin is None else begin.name for begin in bounds[:-1]]
    components = {}
    for key, component in blocks.items():
        first = last = names.index(key.name)
        body = component.module
        if key.inputs < 1.0 == key.outputs:
            while restores_output(body) and last + 1 < len(names):
                last += 1
                body = _pruned_run(backbone, bounds[first], bounds[last + 1], inputs[first], key)
        elif key.outputs < 1.0 == key.inputs:
            while selects_input(body) and first > 0:
                first -= 1
                body = _pruned_run(backbone, bounds[first], bounds[last + 1], inputs[first], key)
        if first < last:
            remaining = _channel_choices(bounds[first])[key.inputs]
            example = select(inputs[first], remaining, _channel_axis(bounds[first]) + 1)
            others = tuple(name for name in names[first : last + 1] if name != key.name)
            components[key] = component._replace(module=body, example=example, neighbours=others)
    return components


def _pruned_run(
    backbone: nn.Module, begin: CutSite | None, end: CutSite | None, hidden: Tensor, key: ComponentKey
) -> nn.Module:
    """Return the network between two sites at the channel shares of a component."""
    nodes = [site.node for site in (begin, end) if site is not None]
    stage = split(backbone, nodes)[0 if begin is None else 1]
    return _pruned(stage, hidden, (begin, end), key).body


def _head_and_exit(
    placed: PlacedGate, site: CutSite, hidden: Tensor, need_before: str
) -> dict[ComponentKey, Component]:
    """Return the head of a gate at a site, and its exit if it has one; empty if the gate does not fit the site."""
    if not fits(placed.kind, site):
        return {}
    lowered = build_gate(site, placed).lower()
    # A head is the end of the stage before its site, and runs in the number format of that stage.
    head = Component(lowered.head.eval(), hidden, "head", need_before)
    components = {ComponentKey(f"{variant_of(placed)}@{site.name}"): head}
    # An exit is timed with all channels only, because fewer channels save at most the work of its first layer.
    if lowered.exit is not None:
        light = lowered.exit.eval()
        components[ComponentKey(exit_of(placed, site.name))] = Component(light, hidden, "exit", needs(light))
    return components


def _layers_alone(backbone: nn.Module, features: Tensor, layers: Sequence[LayerSite]) -> dict[ComponentKey, Component]:
    """Return a component for each layer that is not recurrent: the layer with its fused normalisation and ReLU."""
    inputs: dict[str, Tensor] = {}

    def record(name: str) -> Callable[..., None]:
        return lambda module, arguments: inputs.__setitem__(name, arguments[0])

    hooks = [backbone.get_submodule(site.name).register_forward_pre_hook(record(site.name)) for site in layers]
    try:
        with torch.no_grad():
            backbone(features)
    finally:
        for hook in hooks:
            hook.remove()
    return {
        ComponentKey(f"{LAYER_PREFIX}{site.name}"): Component(_with_fused(backbone, site), inputs[site.name], "layer")
        for site in layers
        if not site.is_recurrent
    }


def _with_fused(backbone: nn.Module, site: LayerSite) -> nn.Module:
    modules = [backbone.get_submodule(site.name)]
    if site.norm is not None:
        modules.append(backbone.get_submodule(site.norm))
    if site.activation is not None and site.op == "conv2d":
        modules.append(nn.ReLU())
    return nn.Sequential(*modules)


class _WidthChange(nn.Module):
    """Replaces a recurrent layer and costs nearly nothing: its output is its input, cut or padded to a width."""

    traced_whole = True

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        head = x[..., : self.width]
        return nn.functional.pad(head, (0, self.width - head.shape[-1])), None


@torch.no_grad()
def _rests(
    backbone: nn.Module, features: Tensor, sites: Sequence[CutSite], layers: Sequence[LayerSite]
) -> dict[ComponentKey, Component]:
    """Return, for each recurrent layer, its block without any recurrent layer (the *rest*).

    A recurrent layer is a program of hundreds of operators. Its time is computed as the time of its block minus the
    time of the rest. This difference is large compared with the noise of the timings. The alternative is to time the
    layer alone and to subtract its time from the time of the block. The rest would then be a small difference of two
    large times, and the noise would hide it.
    """
    recurrent = [site for site in layers if site.is_recurrent]
    without = copy.deepcopy(backbone)
    for site in recurrent:
        without.set_submodule(site.name, _WidthChange(site.channels))
    components = {}
    for site in recurrent:
        hidden = features
        for stage in split(without, [cut.node for cut in sites]):
            if site.name in dict(stage.named_modules()):
                components[ComponentKey(f"{LAYER_PREFIX}{site.name}")] = Component(stage, hidden, "layer", FLOAT)
            hidden = stage(hidden)
    return components


class LayerPosition(NamedTuple):
    """The position of a layer among the blocks of a backbone.

    Args:
        block: name of the block that contains the layer.
        previous: the layer right before it in the block; None for the block's first layer.
        first: whether no earlier layer of the block mixes channels.
        last: whether no later layer of the block mixes channels.
        within: names of all layers of the block.
    """

    block: str
    previous: str | None
    first: bool
    last: bool
    within: tuple[str, ...]


def find_layer_position(layer: str, backbone: nn.Module, sites: Sequence[CutSite]) -> LayerPosition:
    """Return the position of a layer among the blocks of a backbone."""
    stages = split(backbone, [site.node for site in sites])
    names = [INPUT, *(site.name for site in sites)]
    [(block, stage)] = [
        (name, stage) for name, stage in zip(names, stages, strict=True) if layer in dict(stage.named_modules())
    ]
    within = [str(node.target) for node in stage.graph.nodes if node.op == "call_module" and _multiplies(stage, node)]
    index = within.index(layer)
    mixing = [not _is_depthwise(stage.get_submodule(name)) for name in within]
    return LayerPosition(
        block=block,
        previous=within[index - 1] if index else None,
        first=not any(mixing[:index]),
        last=not any(mixing[index + 1 :]),
        within=tuple(within),
    )


def _is_depthwise(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Conv1d | nn.Conv2d) and layer.groups == layer.in_channels > 1


def _multiplies(stage: fx.GraphModule, node: fx.Node) -> bool:
    return isinstance(stage.get_submodule(str(node.target)), nn.Conv1d | nn.Conv2d | nn.Linear | nn.RNNBase)


def _channel_axis(site: CutSite | None) -> int:
    return 0 if site is None else site.channel_axis


def _channel_choices(site: CutSite | None) -> dict[float, list[int] | None]:
    """Return the channels to try at a site, by their share: all (None), and half if a gate may remove channels."""
    if site is None or site.channels == 1:
        return {1.0: None}
    half = math.ceil(site.channels / 2)
    return {1.0: None, half / site.channels: list(range(half))}


def variant_of(placed: PlacedGate) -> str:
    """Return the name of a gate's variant, which decides its program: its kind and its categorical parameters.

    >>> variant_of(PlacedGate.of("gc", "stem", keep=0.5, mode="channel"))
    'gc-channel'
    """
    return "-".join([placed.kind, *(value for _, value in placed.params if isinstance(value, str))])


def exit_of(placed: PlacedGate, site: str) -> str:
    """Return the name of a gate's exit: its variant, and the numeric parameters that change the exit's program.

    >>> exit_of(PlacedGate.of("dsl", "any", width=0.5, share=0.7), "stem")
    'exit dsl-width=0.5@stem'
    """
    program_parameters = kind_of(placed.kind).Params.new_programs()
    numbers = [
        f"{name}={value:g}"
        for name, value in placed.params
        if name in program_parameters and not isinstance(value, str)
    ]
    return f"{EXIT_PREFIX}{'-'.join([variant_of(placed), *numbers])}@{site}"
