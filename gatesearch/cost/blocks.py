"""What each piece of a backbone costs on each kind of core, taken once for a backbone and then added up.

A *block* lies between two neighbouring sites. For a layer that multiplies, work and time are a + b i + c o + d i o in
the shares i, o of input and output channels that are left, so four readings, all and half of the channels on either
side, give the four numbers. What is read depends on how a core's time is known: microseconds measured with LiteRT on
this host, cycles that Vela estimates, or multiply-accumulates where a simulator gave instructions for each. It is
infinite where the core cannot run the block.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise, product
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from gatesearch._lib import timing
from gatesearch._lib.tool_output import ToolError
from gatesearch.compile import passes, vela
from gatesearch.compile.number_format import FLOAT, PLAIN, arithmetic, needs
from gatesearch.compile.stage import StageGraph
from gatesearch.compile.tflite import channel_last, convert, quantise
from gatesearch.cost.kernel_costs import Key, Recorded, key_of
from gatesearch.cost.layers import STEPWISE, dense_by_kernel
from gatesearch.cost.sources import board
from gatesearch.cost.sources.host import profiler
from gatesearch.cost.sources.host.profiler import Clocked, Run
from gatesearch.devices.profile import Core, Device
from gatesearch.errors import UserError
from gatesearch.gates import build_gate, fits, kind_of, work_of
from gatesearch.graph.channel_axes import select
from gatesearch.graph.macs import MacCounter
from gatesearch.graph.sites import INPUT, CutSite, LayerSite, find
from gatesearch.model import split
from gatesearch.plan import PlacedGate
from gatesearch.runtime.program import Program

END = "output"
ALONE = "layer "
EXIT = "exit "
FLOATING = " float32"  # behind the name of a core
IDLE = ("", 0.0, 0.0)  # key of the empty program
MOST_TIMINGS = 100
FORMAT = 9  # of the JSON; a table of another is read anew
QUANTITIES = ("macs", "weight_bytes", "activation_bytes")


@dataclass(frozen=True, slots=True)
class Surface:
    """value = a + b i + c o + d i o over the shares i, o of channels kept at the input and at the output.

    Args:
        coefficients: a, b, c, d.
        channels: at the output.
        tile: how many of them are computed together, so that o counts them as far as tiles are begun.
    """

    coefficients: tuple[float, float, float, float]
    channels: int = 1
    tile: int = 1

    @classmethod
    def through(cls, corners: Mapping[tuple[float, float], float], channels: int = 1, tile: int = 1) -> Surface:
        """Fit exactly through readings at (i, o): at (1, 1) and, where it was read, at one smaller share on each side.

        Without a smaller share on a side the surface is flat there, and where it begins as many tiles; it is infinite
        where a reading is.

        >>> surface = Surface.through({(1.0, 1.0): 10.0, (0.5, 1.0): 6.0, (1.0, 0.5): 5.0, (0.5, 0.5): 3.0})
        >>> surface(0.5, 1.0), surface(0.75, 1.0)
        (6.0, 8.0)
        >>> in_tiles = Surface.through({(1.0, 1.0): 10.0, (1.0, 0.5): 6.0}, channels=64, tile=32)
        >>> in_tiles(1.0, 0.4), in_tiles(1.0, 0.6)
        (6.0, 10.0)
        """
        if math.inf in corners.values():
            return cls((math.inf, 0.0, 0.0, 0.0))
        # What is dense comes last: it stands for what begins as many tiles.
        corners = {(i, in_tiles(o, channels, tile)): corners[i, o] for i, o in sorted(corners)}
        i, o = (min((corner[side] for corner in corners if corner[side] < 1.0), default=0.5) for side in (0, 1))
        dense = corners[1.0, 1.0]
        thin_in, thin_out = corners.get((i, 1.0), dense), corners.get((1.0, o), dense)
        thin = corners.get((i, o), thin_in + thin_out - dense)
        d = (dense - thin_in - thin_out + thin) / ((1 - i) * (1 - o))
        b = (dense - thin_in) / (1 - i) - d
        c = (dense - thin_out) / (1 - o) - d
        return cls((dense - b - c - d, b, c, d), channels, tile)

    def __call__(self, inputs: float, outputs: float) -> float:
        """Return the value at shares i, o; never below zero."""
        a, b, c, d = self.coefficients
        outputs = self.filled(outputs)
        return max(0.0, a + b * inputs + c * outputs + d * inputs * outputs)

    def filled(self, outputs: float) -> float:
        """Return the share of the tiles that such a share of the channels begins."""
        return in_tiles(outputs, self.channels, self.tile) if self.tile > 1 else outputs


def in_tiles(share: float, channels: int, tile: int) -> float:
    """Return the share of the tiles that are begun where so much of the channels is kept.

    >>> in_tiles(0.51, 128, 32), in_tiles(0.51, 176, 1), in_tiles(0.5, 176, 32), in_tiles(0.25, 64, 32)
    (0.75, 0.51, 0.5, 0.25)
    >>> in_tiles(1.0, 16, 32), in_tiles(0.5, 16, 32)
    (1.0, 1.0)
    """
    return share if tile == 1 else _begun(round(share * channels, 6), tile) / _begun(channels, tile)


def _begun(channels: float, tile: int) -> float:
    """Return how many tiles so many channels begin; for one block alone XNNPACK takes a product of that width."""
    return 0.5 if channels <= 16 == tile // 2 else math.ceil(channels / tile)


@dataclass(frozen=True, slots=True)
class LayerReading:
    """A layer with the normalisation and the ReLU behind it, by itself, all channels, int8.

    Args:
        block: first site of the block that it lies in.
        readings: for every core of the device, less the overhead of a call.
        behind: the layer of its block that comes right before it; None where it is the first.
        first, last: whether no layer that mixes channels comes before it or behind it in its block: what a cut leaves
            of the channels goes through depthwise layers.
    """

    block: str
    readings: Mapping[str, float]
    behind: str | None = None
    first: bool = True
    last: bool = True

    def left(self, inputs: float, outputs: float) -> float:
        """Return what is left of the layer where cuts leave such shares of the channels at both ends of its block.

        >>> first, last = LayerReading("stem", {}, last=False), LayerReading("stem", {}, "conv1", first=False)
        >>> first.left(0.5, 0.25), last.left(0.5, 0.25)
        (0.5, 0.25)
        """
        return (inputs if self.first else 1.0) * (outputs if self.last else 1.0)


@dataclass(frozen=True, slots=True)
class Native:
    """A core of this host that runs kernels of gated layers between LiteRT programs.

    Args:
        kernels: what these take, in microseconds here.
        loop: what the host's loop around them takes; see :class:`Loop`.
        timings, noisy, seconds: how many things were timed for the table, how many of them were still disturbed when
            time was up, and how long the timings took.
    """

    kernels: Recorded
    loop: Loop
    timings: int
    noisy: int
    seconds: float

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Native:
        """Rebuild from what :meth:`Table.to_json` wrote."""
        return cls(**{**raw, "kernels": Recorded.from_dict(raw["kernels"]), "loop": Loop(**raw["loop"])})


@dataclass(frozen=True, slots=True)
class Loop:
    """Microseconds of the loop that runs a bundle, beside the programs.

    Args:
        run: once a window.
        stage: for each stage behind the first.
        byte: for each byte that enters or leaves a stage.
        crossings: for each value that crosses from a stage into one of other arithmetic, ``"int8 float32"`` and
            ``"float32 int8"``.
        crossing: for each such crossing.
        timings: how many things were timed for it.
    """

    run: float = 0.0
    stage: float = 0.0
    byte: float = 0.0
    crossings: Mapping[str, float] = field(default_factory=dict)
    crossing: float = 0.0
    timings: int = 0


@dataclass(frozen=True, slots=True)
class Table:
    """Costs of blocks and gate heads.

    Args:
        sites: where a block begins, in order, the input first; the last block ends at ``"output"``.
        blocks: for each block, by first site: a surface by quantity; quantities are :data:`QUANTITIES` and a reading
            for every core of the device, by core name.
        heads: the same for each gate variant at each site, keyed ``"variant@site"``, and for each of its exits, keyed
            by :func:`exit_of`, with all channels of the site.
        layers: where layer gates may go, each layer by itself: the block that it lies in, and what it takes.
        overhead: reading of an empty program by core: what one more call costs, and what is counted once too often
            where two blocks run as one stage.
        input_elements: values of one input sample.
        fingerprint: machine and versions.
        needs: of each block, by first site, and of each exit: whether int8 serves it; see
            :mod:`gatesearch.compile.number_format`. Readings are of the form that a core is given.
        native: by name, the cores that run kernels. Where layer gates were searched for, blocks, heads and layers have
            a second reading for them, of the program in float: see :func:`in_float_on`.
    """

    sites: tuple[str, ...]
    blocks: Mapping[str, Mapping[str, Surface]]
    heads: Mapping[str, Mapping[str, Surface]]
    overhead: Mapping[str, float]
    input_elements: int
    fingerprint: Mapping[str, Any]
    layers: Mapping[str, LayerReading] = field(default_factory=dict)
    needs: Mapping[str, str] = field(default_factory=dict)
    native: Mapping[str, Native] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the table as JSON."""
        native = {name: {**asdict(one), "kernels": one.kernels.to_dict()} for name, one in self.native.items()}
        return json.dumps({**asdict(replace(self, native={})), "native": native})

    @classmethod
    def from_json(cls, text: str) -> Table:
        """Rebuild a table from :meth:`to_json`."""
        raw = json.loads(text)

        def surfaces(entries: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Surface]]:
            return {
                key: {
                    name: Surface(tuple(s["coefficients"]), s.get("channels", 1), s.get("tile", 1))
                    for name, s in row.items()
                }
                for key, row in entries.items()
            }

        return cls(
            tuple(raw["sites"]),
            surfaces(raw["blocks"]),
            surfaces(raw["heads"]),
            raw["overhead"],
            raw["input_elements"],
            raw["fingerprint"],
            {name: LayerReading(**row) for name, row in raw["layers"].items()},
            raw.get("needs", {}),  # a run folder from before has none, and read all in int8
            {name: Native.from_dict(one) for name, one in raw.get("native", {}).items()},
        )


class Piece(NamedTuple):
    """A module to be read: it takes ``example`` [n, ...]; ``need`` says whether int8 serves it."""

    module: nn.Module
    example: Tensor
    need: str = PLAIN


def build(
    backbone: nn.Module,
    sites: Sequence[CutSite],
    features: Tensor,
    device: Device,
    variants: Sequence[PlacedGate],
    layers: Sequence[LayerSite] = (),
    gates: Sequence[PlacedGate] = (),
    *,
    loop: Callable[[Sequence[bytes]], Loop] = lambda around: Loop(),
    converter: Callable[[nn.Module, Tensor], bytes] = convert,
    on_step: Callable[[], None] | None = None,
    cache: Path | None = None,
) -> Table:
    """Read every block and gate head on every core.

    Args:
        backbone: in evaluation mode; its weights do not matter, its shapes do.
        sites: where gates may go, in order.
        features: a few samples [n, *shape] to quantise with.
        device: whose cores are read.
        variants: one placed gate of each variant, sites ignored.
        layers: that gates may replace.
        gates: those that may do so; the kernels that they name are timed.
        loop: times the loop that runs bundles on this host, among programs of the backbone; asked where a core runs
            kernels.
        converter: makes a .tflite program of a module and an example of its input.
        on_step: called after each piece; there are :func:`pieces_count` of them.
        cache: a folder; a table of the same pieces, cores and machine is taken from there, and kept there.
    """
    pieces, heads, alone = _pieces(backbone, sites, features, variants, layers)
    stamp = timing.fingerprint()
    key = _key(pieces | heads | alone, device, stamp, gates)
    if cache is not None and (cache / f"{key}.json").exists():
        return Table.from_json((cache / f"{key}.json").read_text())
    empty = Piece(nn.Sequential(nn.ReLU()).eval(), torch.ones(2, 4, 1, 1))
    runs = _runs_of(layers, gates)
    readings, clocked, dense = _read(
        {**pieces, **heads, **alone, IDLE: empty}, device, bool(layers), runs, converter, on_step
    )
    around = loop(dense) if clocked is not None and any(core.runs_kernels for core in device.cores) else Loop()
    if clocked is not None and clocked.timings + around.timings > MOST_TIMINGS:
        raise UserError(f"measure: {clocked.timings + around.timings} timings for one table, at most {MOST_TIMINGS}")
    overhead = {core.name: readings[IDLE][core.name] for core in device.cores}
    table = Table(
        tuple(dict.fromkeys(key[0] for key in pieces)),
        _surfaces(readings, pieces, _tiles(device, pieces, sites, clocked)),
        _surfaces(readings, heads),
        overhead,
        features[0].numel(),
        stamp,
        {
            str(name): LayerReading(
                block,
                {
                    quantity: max(
                        0.0,
                        # Of a recurrent layer it is the rest of the block that was read.
                        (readings[block, 1.0, 1.0][quantity] - readings[key][quantity]) * _part(site, layers, within)
                        if site.op in STEPWISE
                        else readings[key][quantity] - overhead[quantity.removesuffix(FLOATING)],
                    )
                    for quantity in readings[key]
                    if quantity not in QUANTITIES
                },
                behind,
                first,
                last,
            )
            for key in alone
            for _, name in [key[0].split(ALONE)]
            for site in [find(layers, str(name))]
            for block, behind, first, last, within in [_block_of(str(name), backbone, sites)]
        },
        {key[0]: piece.need for key, piece in (pieces | heads).items() if key in pieces or key[0].startswith(EXIT)},
        {
            core.name: Native(clocked.kernels, around, clocked.timings + around.timings, clocked.noisy, clocked.seconds)
            for core in device.cores
            if clocked is not None and core.runs_kernels
        },
    )
    if cache is not None:
        cache.mkdir(parents=True, exist_ok=True)
        part = cache / f"{key}.{os.getpid()}.part"
        part.write_text(table.to_json())
        part.replace(cache / f"{key}.json")
    return table


def pieces_count(
    backbone: nn.Module,
    sites: Sequence[CutSite],
    features: Tensor,
    variants: Sequence[PlacedGate],
    layers: Sequence[LayerSite] = (),
) -> int:
    """Return how many pieces :func:`build` reads."""
    return sum(map(len, _pieces(backbone, sites, features, variants, layers))) + 1


PieceKey = tuple[str, float, float]


@torch.no_grad()
def _pieces(
    backbone: nn.Module,
    sites: Sequence[CutSite],
    features: Tensor,
    variants: Sequence[PlacedGate],
    layers: Sequence[LayerSite],
) -> tuple[dict[PieceKey, Piece], dict[PieceKey, Piece], dict[PieceKey, Piece]]:
    stages = split(backbone, [site.node for site in sites])
    bounds: list[CutSite | None] = [None, *sites, None]
    if sites and sites[0].name == INPUT:
        stages, bounds = stages[1:], bounds[1:]  # what lies before the input is nothing
    pieces: dict[PieceKey, Piece] = {}
    heads: dict[PieceKey, Piece] = {}
    hidden, before = features, PLAIN
    for stage, (begin, end) in zip(stages, pairwise(bounds), strict=True):
        for i, inputs in _thinnings(begin).items():
            for o, outputs in _thinnings(end).items():
                graph = StageGraph(
                    body=stage,
                    head=nn.Identity(),
                    samples=select(hidden, inputs, _axis(begin) + 1),
                    shape=tuple(hidden.shape[1:]),
                    entering=inputs,
                    leaving=outputs,
                    axes=(_axis(begin), _axis(end)),
                )
                name = begin.name if begin is not None else INPUT
                pieces[name, i, o] = Piece(passes.apply(graph, until="prune").body, graph.samples, needs(stage))
        if begin is not None:
            for placed in variants:
                if fits(placed.kind, begin):
                    lowered = build_gate(begin, placed).lower()
                    # It ends the stage before, in whose arithmetic it runs.
                    heads[f"{variant_of(placed)}@{begin.name}", 1.0, 1.0] = Piece(lowered.head.eval(), hidden, before)
                    if lowered.exit is not None:  # with all channels: what fewer would save is one layer's
                        light = lowered.exit.eval()
                        heads[exit_of(placed, begin.name), 1.0, 1.0] = Piece(light, hidden, needs(light))
        hidden, before = stage(hidden), needs(stage)
    return pieces, heads, _alone(backbone, features, layers) | _rests(backbone, features, sites, layers)


def _alone(backbone: nn.Module, features: Tensor, layers: Sequence[LayerSite]) -> dict[PieceKey, Piece]:
    """Return each layer by itself, with what it is given and what is fused into it."""
    seen: dict[str, Tensor] = {}
    hooks = [
        backbone.get_submodule(site.name).register_forward_pre_hook(
            lambda _, inputs, name=site.name: seen.__setitem__(name, inputs[0])
        )
        for site in layers
    ]
    try:
        backbone(features)
    finally:
        for hook in hooks:
            hook.remove()
    return {
        (f"{ALONE}{site.name}", 1.0, 1.0): Piece(_with_fused(backbone, site), seen[site.name])
        for site in layers
        if site.op not in STEPWISE
    }


class _Stub(nn.Module):
    """In the place of a recurrent layer, to see what else there is around it."""

    traced_whole = True

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        shown = x[..., : self.width]
        return nn.functional.pad(shown, (0, self.width - shown.shape[-1])), None


def _rests(
    backbone: nn.Module, features: Tensor, sites: Sequence[CutSite], layers: Sequence[LayerSite]
) -> dict[PieceKey, Piece]:
    """Return, for each recurrent layer, its block without it and its like.

    Such a layer is a program of hundreds of operators: what is left of its block is no difference of two such times.
    """
    pieces = {}
    recurrent = [site for site in layers if site.op in STEPWISE]
    without = copy.deepcopy(backbone)
    for site in recurrent:
        without.set_submodule(site.name, _Stub(site.channels))
    for site in recurrent:
        hidden = features
        for stage in split(without, [cut.node for cut in sites]):
            if site.name in dict(stage.named_modules()):
                pieces[f"{ALONE}{site.name}", 1.0, 1.0] = Piece(stage, hidden, FLOAT)
            hidden = stage(hidden)
    return pieces


def _with_fused(backbone: nn.Module, site: LayerSite) -> nn.Module:
    layer = backbone.get_submodule(site.name)
    behind = [] if site.norm is None else [backbone.get_submodule(site.norm)]
    if site.activation is not None and site.op == "conv2d":
        behind.append(nn.ReLU())
    return nn.Sequential(layer, *behind)


def _runs_of(layers: Sequence[LayerSite], gates: Sequence[PlacedGate]) -> list[Run]:
    """Return every kernel that one of the gates would run, and those of recurrent layers without one."""
    dense = (call for site in layers if site.op in STEPWISE for call in dense_by_kernel(site).kernels)
    calls: dict[Key, Run] = {key_of(call): Run(call, False) for call in dense}
    for gate in gates:
        site = find(layers, gate.site)
        for call in work_of(site, gate).kernels:
            run = Run(call, site.source is not None)
            known = calls.setdefault(key_of(call), run)
            calls[key_of(call)] = run if run.reads_blocks else known
    return list(calls.values())


def _part(site: LayerSite, layers: Sequence[LayerSite], within: Sequence[str]) -> float:
    """Return what a recurrent layer has of the work of all recurrent ones of its block."""
    return site.macs / sum(other.macs for other in layers if other.op in STEPWISE and other.name in within)


def _block_of(
    layer: str, backbone: nn.Module, sites: Sequence[CutSite]
) -> tuple[str, str | None, bool, bool, list[str]]:
    """Return the first site of a layer's block, of :class:`LayerReading` what it says of its place, and all layers."""
    stages = split(backbone, [site.node for site in sites])
    names = [INPUT, *(site.name for site in sites)]
    [(block, stage)] = [
        (name, stage) for name, stage in zip(names, stages, strict=True) if layer in dict(stage.named_modules())
    ]
    layers = [str(n.target) for n in stage.graph.nodes if n.op == "call_module" and _multiplies(stage, n)]
    place = layers.index(layer)
    mixing = [not _is_depthwise(stage.get_submodule(name)) for name in layers]
    return block, layers[place - 1] if place else None, not any(mixing[:place]), not any(mixing[place + 1 :]), layers


def _is_depthwise(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Conv1d | nn.Conv2d) and layer.groups == layer.in_channels > 1


def _multiplies(stage: fx.GraphModule, node: fx.Node) -> bool:
    return isinstance(stage.get_submodule(str(node.target)), nn.Conv1d | nn.Conv2d | nn.Linear | nn.RNNBase)


def _axis(site: CutSite | None) -> int:
    return 0 if site is None else site.channel_axis


def _thinnings(site: CutSite | None) -> dict[float, list[int] | None]:
    """Return which channels to keep, by their share: all of them and, where a gate may thin them out, half."""
    if site is None or site.channels == 1:
        return {1.0: None}
    half = math.ceil(site.channels / 2)
    return {1.0: None, half / site.channels: list(range(half))}


def variant_of(placed: PlacedGate) -> str:
    """Return the name of the gate's code path: its kind and its categorical parameters.

    >>> variant_of(PlacedGate.of("gc", "stem", keep=0.5, mode="channel"))
    'gc-channel'
    """
    return "-".join([placed.kind, *(value for _, value in placed.params if isinstance(value, str))])


def exit_of(placed: PlacedGate, site: str) -> str:
    """Return the name of a gate's exit: its variant, and the numbers that make another program of it.

    >>> exit_of(PlacedGate.of("dsl", "any", width=0.5, share=0.7), "stem")
    'exit dsl-width=0.5@stem'
    """
    apart = kind_of(placed.kind).Params.new_programs()
    numbers = [f"{name}={value:g}" for name, value in placed.params if name in apart and not isinstance(value, str)]
    return f"{EXIT}{'-'.join([variant_of(placed), *numbers])}@{site}"


def _read(
    pieces: Mapping[PieceKey, Piece],
    device: Device,
    layers: bool,
    runs: Sequence[Run],
    converter: Callable[[nn.Module, Tensor], bytes],
    on_step: Callable[[], None] | None,
) -> tuple[dict[PieceKey, dict[str, float]], Clocked | None, list[bytes]]:
    """Return readings of every piece, what was clocked for them, and the blocks' programs in float, all channels."""
    compiles = any(core.timing.model in ("vela", "litert") for core in device.cores)
    micro = any(core.engine == "tflm" for core in device.cores)
    readings: dict[PieceKey, dict[str, float]] = {}
    int8: dict[PieceKey, bytes] = {}
    in_float: dict[PieceKey, bytes] = {}
    for key, piece in pieces.items():
        readings[key] = static_costs(piece.module, piece.example[:1])
        if compiles or (micro and piece.need != PLAIN):
            in_float[key] = converter(piece.module, piece.example[:1])
            if piece.need != FLOAT:
                int8[key] = quantise(in_float[key], channel_last(piece.example.numpy()))
        if on_step is not None:
            on_step()
    of = {"int8": int8, "float32": in_float}
    compiled = {
        core.name: {key: of[arithmetic(pieces[key].need, core)][key] for key in in_float} for core in device.cores
    }
    native = [core for core in device.cores if core.runs_kernels and layers]
    on_host = [core for core in device.cores if core.timing.model == "litert"]
    clocked = _clock(on_host, native, pieces, of, runs, _probes(pieces, converter) if on_host else {})
    for core in device.cores:
        programs = compiled[core.name]
        able = {key for key, blob in programs.items() if _runs(blob, arithmetic(pieces[key].need, core), core)}
        us = (
            {}
            if clocked is None
            else {key: clocked.programs.get((key, arithmetic(pieces[key].need, core))) for key in able}
        )
        if getattr(core.timing, "table", None):
            values = _read_calls(core, pieces)
        else:
            values = READERS[core.timing.model](core.timing, {key: programs[key] for key in able}, readings, us)
        for key in pieces:
            readings[key][core.name] = values[key] if key in able or key not in programs else math.inf
            if core in native and clocked is not None:
                readings[key][in_float_on(core.name)] = clocked.programs[key, "float32"]
    return readings, clocked, [in_float[key] for key in in_float if _around(key, pieces[key])]


def _probes(
    pieces: Mapping[PieceKey, Piece], converter: Callable[[nn.Module, Tensor], bytes]
) -> dict[tuple[Hashable, int], bytes]:
    """Return convolutions of a few widths in both arithmetics, of either form that thins out where a block ends."""
    found: dict[tuple[Hashable, int], bytes] = {}
    x = torch.linspace(-1, 1, 64 * 20 * 20).view(1, 64, 20, 20)
    forms = {_is_pointwise(piece.module) for (name, _, o), piece in pieces.items() if name and o < 1.0}
    for pointwise, channels in product(sorted(forms), profiler.PROBED):
        net = nn.Conv2d(64, channels, 1) if pointwise else nn.Conv2d(64, channels, 3, padding=1)
        in_float = found[("float32", pointwise), channels] = converter(net.eval(), x)
        found[("int8", pointwise), channels] = quantise(in_float, channel_last(x.numpy()))
    return found


def _is_pointwise(block: nn.Module) -> bool:
    """Whether the largest layer of a block that mixes channels reads one pixel at a time."""
    mixing = [m for m in block.modules() if isinstance(m, nn.Conv2d) and m.groups == 1]
    return not mixing or math.prod(max(mixing, key=lambda m: m.weight.numel()).kernel_size) == 1


def _tiles(
    device: Device, pieces: Mapping[PieceKey, Piece], sites: Sequence[CutSite], clocked: Clocked | None
) -> dict[tuple[str, str], tuple[int, int]]:
    """Return channels at the output and how many a convolution computes together, by block and reading of a core."""
    names = list(dict.fromkeys(name for name, *_ in pieces))
    ends = dict(zip(names[:-1], sites[-(len(names) - 1) :], strict=True)) if len(names) > 1 else {}
    found: dict[tuple[str, str], tuple[int, int]] = {}
    tiles = {} if clocked is None else clocked.tiles
    for core in (core for core in device.cores if core.timing.model == "litert"):
        for name, site in ends.items():
            block = pieces[name, 1.0, 1.0]
            form, pointwise = arithmetic(block.need, core), _is_pointwise(block.module)
            found[name, core.name] = site.channels, tiles.get((form, pointwise), 1)
            found[name, in_float_on(core.name)] = site.channels, tiles.get(("float32", pointwise), 1)
    return found


def _network(name: tuple[PieceKey, str]) -> object:
    """Return what a piece runs together with: the others of its arithmetic, as thin as it is.

    Of layers by themselves, what is no operator of the network is kept apart: the network has room in the caches.
    """
    (piece, i, o), form = name
    return form, piece.startswith(ALONE), i < 1.0, o < 1.0


def _around(key: PieceKey, piece: Piece) -> bool:
    """Whether a piece is a block that runs beside kernels; a recurrent one does not: a kernel has its place."""
    name, *shares = key
    if any(isinstance(part, nn.RNNBase) for part in piece.module.modules()):
        return False
    return bool(name) and not name.startswith((ALONE, EXIT)) and "@" not in name and shares == [1.0, 1.0]


def in_float_on(core: str) -> str:
    """Return the name of the reading of the program in float on a core that runs kernels."""
    return f"{core}{FLOATING}"


def _clock(
    cores: Sequence[Core],
    native: Sequence[Core],
    pieces: Mapping[PieceKey, Piece],
    of: Mapping[str, Mapping[PieceKey, bytes]],
    runs: Sequence[Run],
    probes: Mapping[tuple[Hashable, int], bytes],
) -> Clocked | None:
    """Time what any of the cores that this host stands in for needs."""
    if not cores:
        return None
    wanted = {(key, arithmetic(piece.need, core)) for core in cores for key, piece in pieces.items()}
    wanted |= {(key, "float32") for key in pieces if native}
    corners = [key for key in pieces if 1.0 in key[1:] or key == IDLE]  # thin on one side at most
    order = [(key, form) for form in of for key in corners if (key, form) in wanted]
    found = profiler.read(
        {(key, form): of[form][key] for key, form in order},
        of["float32"][IDLE],
        runs if native else (),
        network=_network,
        around=sum(len(of["float32"][key]) for key in pieces if native and _around(key, pieces[key])),
        probes=probes,
    )
    us = dict(found.programs)
    for key, form in wanted - us.keys():
        name, i, o = key
        alone = [us[(name, *corner), form] for corner in ((1.0, 1.0), (i, 1.0), (1.0, o))]
        us[key, form] = alone[1] * alone[2] / alone[0]  # a product's work is one in its channels
    return replace(found, programs=us)


def _runs(blob: bytes, form: str, core: Core) -> bool:
    """Whether a core takes a program: TensorFlow Lite Micro lacks operators, and Vela takes nothing in float."""
    if core.timing.model == "vela":
        return form == "int8"
    if core.engine != "tflm":
        return True
    try:
        Program(blob, core.engine)
    except ToolError:
        return False
    return True


def _read_macs(
    _: Any, __: Mapping[PieceKey, bytes], static: Mapping[PieceKey, Mapping[str, float]], *___: Any
) -> dict[PieceKey, float]:
    return {key: row["macs"] for key, row in static.items()}


def _read_calls(core: Core, pieces: Mapping[PieceKey, Piece]) -> dict[PieceKey, float]:
    """Price each piece by the calls of kernels that it comes to; what the core's table lacks, by its profile."""
    costs = board.of(core)
    assert costs is not None
    return {key: board.taken(core, costs, piece.module, piece.example[:1]) for key, piece in pieces.items()}


def _read_vela(model: Any, compiled: Mapping[PieceKey, bytes], *_: Any) -> dict[PieceKey, float]:
    cycles = {}
    for key, blob in compiled.items():
        found = vela.compile(blob, model.accelerator, model.system_config, model.memory_mode)
        # Operators that are left to a CPU are not in the cycles.
        cycles[key] = math.inf if found.cpu_operators else float(found.cycles)
    return cycles | {IDLE: 0.0}


def _read_litert(
    _: Any,
    compiled: Mapping[PieceKey, bytes],
    __: Mapping[PieceKey, Mapping[str, float]],
    us: Mapping[PieceKey, float],
) -> dict[PieceKey, float]:
    return {key: us[key] for key in compiled}


READERS: Mapping[str, Callable[..., dict[PieceKey, float]]] = {
    "instructions": _read_macs,
    "throughput": _read_macs,
    "vela": _read_vela,
    "litert": _read_litert,
}


def static_costs(module: nn.Module, example: Tensor) -> dict[str, float]:
    """Return MACs, bytes of int8 weights and bytes of int8 activations alive at once, of one sample [1, ...]."""
    with MacCounter(module) as counter, torch.no_grad():
        module(example)
    weights = sum(p.numel() * (1 if p.ndim > 1 else 4) for p in module.parameters())  # biases are int32
    traced = module if isinstance(module, fx.GraphModule) else fx.symbolic_trace(module)
    ShapeProp(traced).propagate(example)
    sizes = {
        node: shape.numel()
        for node in traced.graph.nodes
        if (shape := _shape(node.meta.get("tensor_meta"))) is not None
    }
    alive = [
        sizes[node] + sum(sizes[n] for n in node.all_input_nodes if n in sizes)
        for node in traced.graph.nodes
        if node in sizes and node.op != "output"
    ]
    return {
        "macs": float(counter.macs),
        "weight_bytes": float(weights),
        "activation_bytes": float(max(alive)),
    }


def _shape(meta: Any) -> torch.Size | None:
    """Return the shape of what a node gives; of a recurrent layer that of the output, not of the state."""
    while isinstance(meta, tuple) and not hasattr(meta, "shape"):
        meta = meta[0] if meta else None
    return getattr(meta, "shape", None)


def _surfaces(
    readings: Mapping[PieceKey, Mapping[str, float]],
    keys: Mapping[PieceKey, Piece],
    tiles: Mapping[tuple[str, str], tuple[int, int]] | None = None,
) -> dict[str, dict[str, Surface]]:
    names = dict.fromkeys(key[0] for key in keys)
    return {
        name: {
            quantity: Surface.through(
                {key[1:]: readings[key][quantity] for key in keys if key[0] == name},
                *(tiles or {}).get((name, quantity), (1, 1)),
            )
            for quantity in readings[name, 1.0, 1.0]
        }
        for name in names
    }


def _key(
    pieces: Mapping[PieceKey, Piece], device: Device, stamp: Mapping[str, Any], gates: Sequence[PlacedGate]
) -> str:
    cores = [
        (
            core.name,
            core.timing.model_dump_json(),
            core.engine,
            core.runs_float,
            core.runs_kernels,
            board.fingerprint(core),
        )
        for core in device.cores
    ]
    kernels = [gate.to_dict() for gate in gates] if any(core.runs_kernels for core in device.cores) else []
    shapes = [
        (
            key,
            piece.need,
            str(piece.module),
            tuple(piece.example.shape[1:]),
            [tuple(p.shape) for p in piece.module.parameters()],
        )
        for key, piece in pieces.items()
    ]
    return hashlib.sha256(json.dumps([FORMAT, cores, shapes, stamp, kernels], default=str).encode()).hexdigest()[:16]
