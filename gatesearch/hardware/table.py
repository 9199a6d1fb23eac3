"""What each piece of a backbone costs on each kind of core, taken once for a backbone and then added up.

A *block* lies between two neighbouring sites. For a layer that multiplies, work and time are a + b i + c o + d i o in
the shares i, o of input and output channels that are left, so four readings, all and half of the channels on either
side, give the four numbers. What is read depends on how a core's time is known: microseconds measured with LiteRT on
this host, cycles that Vela estimates, or multiply-accumulates where a simulator gave instructions for each.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.utils.flop_counter import FlopCounterMode

from gatesearch.gated import split
from gatesearch.gates import kind_of
from gatesearch.hardware import timing, vela
from gatesearch.hardware.profile import Device
from gatesearch.hardware.tflite import Program, channel_last, convert, quantise
from gatesearch.plan import PlacedGate
from gatesearch.sites import CutSite
from gatesearch.surgery import cut_channels

END = "output"
QUANTITIES = ("macs", "weight_bytes", "activation_bytes")


@dataclass(frozen=True, slots=True)
class Surface:
    """value = a + b i + c o + d i o over the shares i, o of channels kept at the input and at the output."""

    coefficients: tuple[float, float, float, float]

    @classmethod
    def through(cls, corners: Mapping[tuple[float, float], float]) -> Surface:
        """Fit exactly through readings at (i, o); one or two corners give a surface that is flat in the other share.

        >>> surface = Surface.through({(1.0, 1.0): 10.0, (0.5, 1.0): 6.0, (1.0, 0.5): 5.0, (0.5, 0.5): 3.0})
        >>> surface(0.5, 1.0), surface(0.75, 1.0)
        (6.0, 8.0)
        """
        dense = corners[1.0, 1.0]
        full = {
            (1.0, 1.0): dense,
            (0.5, 1.0): corners.get((0.5, 1.0), dense),
            (1.0, 0.5): corners.get((1.0, 0.5), dense),
        }
        full[0.5, 0.5] = corners.get((0.5, 0.5), full[0.5, 1.0] + full[1.0, 0.5] - dense)
        d = 4 * (full[1.0, 1.0] - full[0.5, 1.0] - full[1.0, 0.5] + full[0.5, 0.5])
        b = 2 * (full[1.0, 1.0] - full[0.5, 1.0]) - d
        c = 2 * (full[1.0, 1.0] - full[1.0, 0.5]) - d
        return cls((dense - b - c - d, b, c, d))

    def __call__(self, inputs: float, outputs: float) -> float:
        """Return the value at shares i, o; never below zero."""
        a, b, c, d = self.coefficients
        return max(0.0, a + b * inputs + c * outputs + d * inputs * outputs)


@dataclass(frozen=True, slots=True)
class Table:
    """Costs of blocks and gate heads.

    Args:
        sites: names of the sites, in order; the last block ends at ``"output"``.
        blocks: for each block, by first site: a surface by quantity; quantities are :data:`QUANTITIES` and a reading
            for every core of the device, by core name.
        heads: the same for each gate variant at each site, keyed ``"variant@site"``; the kept share is the input's.
        overhead: reading of an empty program by core: what one more call costs, and what is counted once too often
            where two blocks run as one stage.
        fingerprint: machine and versions.
    """

    sites: tuple[str, ...]
    blocks: Mapping[str, Mapping[str, Surface]]
    heads: Mapping[str, Mapping[str, Surface]]
    overhead: Mapping[str, float]
    fingerprint: Mapping[str, Any]

    def to_json(self) -> str:
        """Return the table as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Table:
        """Rebuild a table from :meth:`to_json`."""
        raw = json.loads(text)

        def surfaces(entries: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Surface]]:
            return {
                key: {name: Surface(tuple(s["coefficients"])) for name, s in row.items()}
                for key, row in entries.items()
            }

        return cls(
            tuple(raw["sites"]),
            surfaces(raw["blocks"]),
            surfaces(raw["heads"]),
            raw["overhead"],
            raw["fingerprint"],
        )


class Piece(NamedTuple):
    """A module to be read: it takes ``example`` [n, ...], channels first."""

    module: nn.Module
    example: Tensor


def build(
    backbone: nn.Module,
    sites: Sequence[CutSite],
    features: Tensor,
    device: Device,
    variants: Sequence[PlacedGate],
    *,
    on_step: Callable[[], None] | None = None,
    cache: Path | None = None,
) -> Table:
    """Read every block and gate head on every core.

    Args:
        backbone: in evaluation mode; its weights do not matter, its shapes do.
        sites: those that the search uses, in order, the input first.
        features: a few samples [n, *shape] to quantise with.
        device: whose cores are read.
        variants: one placed gate of each variant, sites ignored.
        on_step: called after each piece; there are :func:`pieces_count` of them.
        cache: a folder; a table of the same pieces, cores and machine is taken from there, and kept there.
    """
    pieces, heads = _pieces(backbone, sites, features, variants)
    stamp = timing.fingerprint()
    key = _key(pieces | heads, device, stamp)
    if cache is not None and (cache / f"{key}.json").exists():
        return Table.from_json((cache / f"{key}.json").read_text())
    idle = Piece(nn.Sequential(nn.ReLU()).eval(), torch.ones(2, 4, 1, 1))
    readings = _read({**pieces, **heads, ("", 0.0, 0.0): idle}, device, on_step)
    overhead = {core.name: readings["", 0.0, 0.0][core.name] for core in device.cores}
    table = Table(
        tuple(site.name for site in sites),
        _surfaces(readings, pieces),
        _surfaces(readings, heads),
        overhead,
        stamp,
    )
    if cache is not None:
        cache.mkdir(parents=True, exist_ok=True)
        part = cache / f"{key}.{os.getpid()}.part"
        part.write_text(table.to_json())
        part.replace(cache / f"{key}.json")
    return table


def pieces_count(
    backbone: nn.Module, sites: Sequence[CutSite], features: Tensor, variants: Sequence[PlacedGate]
) -> int:
    """Return how many pieces :func:`build` reads."""
    pieces, heads = _pieces(backbone, sites, features, variants)
    return len(pieces) + len(heads) + 1


PieceKey = tuple[str, float, float]


@torch.no_grad()
def _pieces(
    backbone: nn.Module, sites: Sequence[CutSite], features: Tensor, variants: Sequence[PlacedGate]
) -> tuple[dict[PieceKey, Piece], dict[PieceKey, Piece]]:
    stages = split(backbone, [site.node for site in sites])[1:]  # what lies before the input site is nothing
    pieces: dict[PieceKey, Piece] = {}
    heads: dict[PieceKey, Piece] = {}
    hidden = features
    for k, (site, stage) in enumerate(zip(sites, stages, strict=True)):
        last = k + 1 == len(sites)
        for i in (1.0, 0.5) if site.channels > 1 else (1.0,):
            for o in (1.0,) if last else (1.0, 0.5):
                inputs = list(range(math.ceil(i * site.channels)))
                outputs = None if last else list(range(math.ceil(o * sites[k + 1].channels)))
                cut = cut_channels(stage, hidden, inputs, outputs)
                pieces[site.name, i, o] = Piece(cut, hidden[:, inputs])
        for placed in variants:
            kind = kind_of(placed.kind)
            if kind.may_go(site):
                gate = kind.wrap(site, placed)
                heads[f"{variant_of(placed)}@{site.name}", 1.0, 1.0] = Piece(gate.lower().head.eval(), hidden)
        hidden = stage(hidden)
    return pieces, heads


def variant_of(placed: PlacedGate) -> str:
    """Return the name of the gate's code path: its kind and its categorical parameters.

    >>> variant_of(PlacedGate.of("gc", "stem", keep=0.5, mode="channel"))
    'gc-channel'
    """
    return "-".join([placed.kind, *(value for _, value in placed.params if isinstance(value, str))])


def _read(
    pieces: Mapping[PieceKey, Piece], device: Device, on_step: Callable[[], None] | None
) -> dict[PieceKey, dict[str, float]]:
    wanted = {core.timing.model for core in device.cores}
    readings: dict[PieceKey, dict[str, float]] = {}
    compiled: dict[PieceKey, bytes] = {}
    for key, piece in pieces.items():
        readings[key] = static_costs(piece.module, piece.example[:1])
        if wanted & {"vela", "litert"}:
            compiled[key] = quantise(convert(piece.module, piece.example[:1]), channel_last(piece.example.numpy()))
        if on_step is not None:
            on_step()
    for core in device.cores:
        values = READERS[core.timing.model](core.timing, compiled, readings)
        for key in pieces:
            readings[key][core.name] = values[key]
    return readings


def _read_instructions(
    _: Any, __: Mapping[PieceKey, bytes], static: Mapping[PieceKey, Mapping[str, float]]
) -> dict[PieceKey, float]:
    return {key: row["macs"] for key, row in static.items()}


def _read_vela(
    model: Any, compiled: Mapping[PieceKey, bytes], _: Mapping[PieceKey, Mapping[str, float]]
) -> dict[PieceKey, float]:
    return {
        key: float(vela.compile(blob, model.accelerator, model.system_config, model.memory_mode).cycles)
        if key[0]
        else 0.0
        for key, blob in compiled.items()
    }


def _read_litert(
    _: Any, compiled: Mapping[PieceKey, bytes], __: Mapping[PieceKey, Mapping[str, float]]
) -> dict[PieceKey, float]:
    programs = {"|".join(map(str, key)): Program(blob) for key, blob in compiled.items()}
    measured = timing.interleaved({name: program.invoke for name, program in programs.items()})
    return {key: measured["|".join(map(str, key))].minimum_us for key in compiled}


READERS: Mapping[str, Callable[..., dict[PieceKey, float]]] = {
    "instructions": _read_instructions,
    "vela": _read_vela,
    "litert": _read_litert,
}


def static_costs(module: nn.Module, example: Tensor) -> dict[str, float]:
    """Return MACs, bytes of int8 weights and bytes of int8 activations alive at once, of one sample [1, ...]."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(example)
    weights = sum(p.numel() * (1 if p.ndim > 1 else 4) for p in module.parameters())  # biases are int32
    traced = module if isinstance(module, fx.GraphModule) else fx.symbolic_trace(module)
    ShapeProp(traced).propagate(example)
    sizes = {
        node: node.meta["tensor_meta"].shape.numel()
        for node in traced.graph.nodes
        if hasattr(node.meta.get("tensor_meta"), "shape")
    }
    alive = [
        sizes[node] + sum(sizes[n] for n in node.all_input_nodes if n in sizes)
        for node in traced.graph.nodes
        if node in sizes and node.op != "output"
    ]
    return {
        "macs": counter.get_total_flops() / 2,
        "weight_bytes": float(weights),
        "activation_bytes": float(max(alive)),
    }


def _surfaces(
    readings: Mapping[PieceKey, Mapping[str, float]], keys: Mapping[PieceKey, Piece]
) -> dict[str, dict[str, Surface]]:
    names = dict.fromkeys(key[0] for key in keys)
    return {
        name: {
            quantity: Surface.through({key[1:]: readings[key][quantity] for key in keys if key[0] == name})
            for quantity in readings[name, 1.0, 1.0]
        }
        for name in names
    }


def _key(pieces: Mapping[PieceKey, Piece], device: Device, stamp: Mapping[str, Any]) -> str:
    cores = [(core.name, core.timing.model_dump_json()) for core in device.cores]
    shapes = [
        (
            key,
            str(piece.module),
            tuple(piece.example.shape[1:]),
            [tuple(p.shape) for p in piece.module.parameters()],
        )
        for key, piece in pieces.items()
    ]
    return hashlib.sha256(json.dumps([cores, shapes, stamp], default=str).encode()).hexdigest()[:16]
