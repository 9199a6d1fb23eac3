"""Builds the latency table of a backbone: the cost of each module on each core; tables are cached."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gatesearch._lib import timing, user_cache
from gatesearch.compile.batch_convert import BatchConverter, convert_all
from gatesearch.cost import blocks
from gatesearch.cost.blocks import EMPTY, LAYER_PREFIX, ComponentKey, Components, Role
from gatesearch.cost.component_identity import describe_components
from gatesearch.cost.kernel_costs import Key, key_of
from gatesearch.cost.layers import dense_by_kernel, runs_between_relus
from gatesearch.cost.programs import Programs, compile_components
from gatesearch.cost.seams import measure_seams
from gatesearch.cost.sources import board
from gatesearch.cost.sources.base import LatencySource, Readings
from gatesearch.cost.sources.host import fixed_programs, profiler
from gatesearch.cost.sources.host.kernel_points import Run
from gatesearch.cost.sources.host.source import HostSource, MeasureLoop
from gatesearch.cost.sources.kernel_table import KernelTableSource
from gatesearch.cost.sources.rate import RateSource
from gatesearch.cost.sources.vela import VelaSource
from gatesearch.cost.surface import Surface
from gatesearch.cost.table import FLOATING, OVERHEADS, QUANTITIES, TABLE_VERSION, LayerReading, Loop, Table
from gatesearch.devices.profile import Core, Device
from gatesearch.gates import build_gate, work_of
from gatesearch.graph.footprint import program_footprint
from gatesearch.graph.sites import CutSite, LayerSite, find
from gatesearch.kernels import build
from gatesearch.kernels.gated_u8 import runs_in_bytes
from gatesearch.plan import PlacedGate

ReadingsByComponent = Mapping[ComponentKey, Mapping[str, float]]


def build_table(
    backbone: nn.Module,
    sites: Sequence[CutSite],
    features: Tensor,
    device: Device,
    variants: Sequence[PlacedGate],
    layers: Sequence[LayerSite] = (),
    gates: Sequence[PlacedGate] = (),
    *,
    loop: MeasureLoop = lambda around, stages: Loop(),
    converter: BatchConverter = convert_all,
    on_step: Callable[[], None] | None = None,
    cache: Path | None = None,
    timing_seconds: float = profiler.TIMING_SECONDS,
    take_steps: Callable[[Components], Components] | None = None,
) -> Table:
    """Return the latency table of a backbone: the cost of every block, gate head and layer on every core.

    A separately timed module is called a *component*; its measured or estimated cost on a core is a *reading*.

    Args:
        backbone: the backbone in evaluation mode; only its shapes matter, not its weights.
        sites: the cut sites, in order.
        features: a few samples [n, *shape] that calibrate the quantisation.
        device: the device on whose cores the components are timed or estimated.
        variants: one placed gate for each variant, see :func:`gatesearch.cost.blocks.variant_of`; the gate's site does
            not matter.
        layers: layers that a gate may replace.
        gates: the gates that may replace these layers; their kernels are timed.
        loop: a function that times the code around a bundle's programs on this host. It is called only if a core runs
            kernels.
        converter: a function that makes .tflite programs of modules, given an example of the input of each.
        on_step: a function that is called after each component, :func:`count_components` times.
        cache: a folder of tables. A table of the same components, cores and machine is read from it; else the new table
            is written to it. None builds the table anew.
        timing_seconds: budget of all timings on this host; timings beyond it are interpolated.
        take_steps: a function that replaces the components of a whole window by those of a hop; None for whole windows.
    """
    components: Components = blocks.build_components(backbone, sites, features, variants, layers)
    if take_steps is not None:
        components = take_steps(components)
    stamp = timing.fingerprint()
    key = _cache_key(components, device, stamp, gates, timing_seconds)
    stored = None if cache is None else user_cache.read_file(user_cache.close_folder(cache), key, ".json")
    if stored is not None:
        return Table.from_json(stored.decode())
    host = HostSource(
        load_fixed_programs=partial(fixed_programs.load, converter, cache),
        measure_loop=loop,
        layers=bool(layers),
        runs=kernel_runs(layers, gates),
        seconds=timing_seconds,
    )
    with build.compile_beside() if host.times_kernels(device.cores) else nullcontext():
        programs = compile_components(components, device, converter, on_step)
    readings = collect_readings(device, programs, host)
    by_component = _without_neighbours(_by_component(device, programs, readings), components)
    table = Table(
        sites=tuple(blocks.named(components, "block")),
        blocks=_surfaces(by_component, components, ("block",), _channels_and_tiles(components, sites, readings.tiles)),
        heads=_with_pruned_overheads(_surfaces(by_component, components, ("head", "exit")), sites, variants),
        overhead={core.name: by_component[EMPTY][core.name] for core in device.cores},
        input_elements=features[0].numel(),
        fingerprint=stamp,
        layers=_layer_readings(by_component, components, backbone, sites, layers),
        needs={
            key.name: component.need for key, component in components.items() if component.role in ("block", "exit")
        },
        native={core.name: readings.native[core.name] for core in device.cores if core.name in readings.native},
        neighbours=_neighbours(components),
        lifetimes={key.name: counts.lifetimes for key, counts in programs.counts.items() if key.dense},
        seams=measure_seams(components, programs.counts),
    )
    if cache is not None:
        user_cache.store_file(user_cache.close_folder(cache), key, ".json", table.to_json().encode())
    return table


def count_components(
    backbone: nn.Module,
    sites: Sequence[CutSite],
    features: Tensor,
    variants: Sequence[PlacedGate],
    layers: Sequence[LayerSite] = (),
) -> int:
    """Return the number of components that :func:`build_table` times or estimates."""
    return len(blocks.build_components(backbone, sites, features, variants, layers))


def collect_readings(device: Device, programs: Programs, host: HostSource) -> Readings:
    """Return the readings of all components on all cores; each source is called once, with all cores of its kind."""
    sources: Mapping[str, LatencySource] = {
        "litert": host,
        "vela": VelaSource(),
        "table": KernelTableSource(),
        "instructions": RateSource(),
        "throughput": RateSource(),
    }
    by_source: dict[str, list[Core]] = {}
    for core in device.cores:
        name = core.timing.model if board.table_of(core) is None else "table"
        by_source.setdefault(name, []).append(core)
    merged = Readings({}, {}, {})
    for source, cores in by_source.items():
        readings = sources[source].collect(cores, programs)
        merged = Readings(
            by_name={**merged.by_name, **readings.by_name},
            tiles={**merged.tiles, **readings.tiles},
            native={**merged.native, **readings.native},
        )
    return merged


def _by_component(device: Device, programs: Programs, readings: Readings) -> ReadingsByComponent:
    """Return the counts and readings of each component by name; a reading is infinite if the core cannot run it."""
    rows = {key: {name: getattr(counts, name) for name in QUANTITIES} for key, counts in programs.counts.items()}
    missing: dict[str, set[ComponentKey]] = {}
    for core in device.cores:
        missing[core.name] = programs.models_for(core).keys() - programs.runnable(core).keys()
    for name, by_key in readings.by_name.items():
        for key, row in rows.items():
            row[name] = float("inf") if key in missing.get(name, ()) else by_key[key]
    return rows


def _without_neighbours(by_component: ReadingsByComponent, components: Components) -> ReadingsByComponent:
    """Return the readings; a component that holds several blocks gets the reading of its own block alone.

    The function subtracts the readings of the other blocks (the neighbours), with the same channels missing. The memory
    of activations is not a sum over blocks, so it is scaled instead: no layer of the own block mixes channels, so all
    tensors of the block shrink by the same share.
    """
    rows = {key: dict(row) for key, row in by_component.items()}
    shared = [key for key, component in components.items() if component.neighbours]
    # A neighbour that mixes no channels holds several blocks as well, so its own reading has to be computed first.
    # If inputs are missing, the neighbours are behind the block, so the last block is first. If outputs are missing,
    # the neighbours are before the block.
    for key in [*(k for k in reversed(shared) if k.inputs < 1.0), *(k for k in shared if k.outputs < 1.0)]:
        rows[key]["activation_bytes"] = key.inputs * key.outputs * rows[ComponentKey(key.name)]["activation_bytes"]
        for name in components[key].neighbours:
            for quantity in rows[key].keys() - {"activation_bytes"}:
                corners = {(k.inputs, k.outputs): row[quantity] for k, row in rows.items() if k.name == name}
                other = Surface.fit(corners)(key.inputs, key.outputs)
                call = 0.0 if quantity in QUANTITIES else rows[EMPTY][quantity.removesuffix(FLOATING)]
                if math.isfinite(other):  # an infinite reading of a neighbour makes the sum of the stage infinite
                    rows[key][quantity] -= other - call
    return rows


def _surfaces(
    by_component: ReadingsByComponent,
    components: Components,
    roles: tuple[Role, ...],
    channels_and_tiles: Mapping[tuple[str, str], tuple[int, int]] | None = None,
) -> dict[str, dict[str, Surface]]:
    """Return, for each component, a surface for each quantity: the quantity as a function of the channel shares."""
    surfaces = {}
    for name in blocks.named(components, *roles):
        keys = [key for key in components if key.name == name]
        surfaces[name] = {
            quantity: Surface.fit(
                {(key.inputs, key.outputs): by_component[key][quantity] for key in keys},
                *(channels_and_tiles or {}).get((name, quantity), (1, 1)),
            )
            for quantity in by_component[ComponentKey(name)]
        }
    return surfaces


def _neighbours(components: Components) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """Return the blocks that shrink with each block, as :class:`gatesearch.cost.table.Table` describes them."""
    neighbours: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {}
    for key, component in components.items():
        if component.neighbours:
            after, before = neighbours.get(key.name, ((), ()))
            own = component.neighbours
            neighbours[key.name] = (own, before) if key.inputs < 1.0 else (after, own)
    return neighbours


def _with_pruned_overheads(
    heads: dict[str, dict[str, Surface]], sites: Sequence[CutSite], variants: Sequence[PlacedGate]
) -> dict[str, dict[str, Surface]]:
    """Return the surfaces of heads, with overhead bytes that depend on the share of channels.

    In a .tflite file, the scales of channels shrink with the channels, and the tables of operators do not.
    """
    for site in sites:
        if site.channels == 1:
            continue
        half = math.ceil(site.channels / 2)
        shape = tuple(half if axis == site.channel_axis else size for axis, size in enumerate(site.shape))
        for placed in variants:
            head = heads.get(f"{blocks.variant_of(placed)}@{site.name}")
            if head is None:
                continue
            module = build_gate(replace(site, shape=shape), placed).lower().head.eval()
            pruned = program_footprint(module, torch.zeros(1, *shape))
            for name in OVERHEADS:
                readings = {(1.0, 1.0): head[name](1.0, 1.0), (1.0, half / site.channels): getattr(pruned, name)}
                head[name] = Surface.fit(readings)
    return heads


def _channels_and_tiles(
    components: Components, sites: Sequence[CutSite], tiles: Mapping[tuple[str, str], int]
) -> dict[tuple[str, str], tuple[int, int]]:
    """Return, for each block whose tile was measured, its output channels and the tile (channels computed together)."""
    names = blocks.named(components, "block")[:-1]
    ends = dict(zip(names, sites[len(sites) - len(names) :], strict=True))
    return {(block, reading): (ends[block].channels, tile) for (block, reading), tile in tiles.items() if block in ends}


def _layer_readings(
    by_component: ReadingsByComponent,
    components: Components,
    backbone: nn.Module,
    sites: Sequence[CutSite],
    layers: Sequence[LayerSite],
) -> dict[str, LayerReading]:
    """Return the reading of each layer alone, without the overhead of a call.

    The component of a feed-forward layer is the layer as a program. Its reading minus the reading of an empty program
    is the reading of the layer. A recurrent layer is many operators, so its component is the block *without* the
    recurrent layers. The reading of the block minus the reading of the component is the reading of all recurrent layers
    of the block. It is divided among these layers in proportion to their multiply-accumulates.
    """
    readings = {}
    for component in blocks.named(components, "layer"):
        name = component.removeprefix(LAYER_PREFIX)
        site, position = find(layers, name), blocks.find_layer_position(name, backbone, sites)
        own, block = by_component[ComponentKey(component)], by_component[ComponentKey(position.block)]
        layer_readings = {}
        for quantity in own.keys() - set(QUANTITIES):
            if site.is_recurrent:
                inside = [layer for layer in layers if layer.is_recurrent and layer.name in position.within]
                share = site.macs / sum(layer.macs for layer in inside)
                layer_readings[quantity] = max(0.0, (block[quantity] - own[quantity]) * share)
            else:
                call = by_component[EMPTY][quantity.removesuffix(FLOATING)]
                layer_readings[quantity] = max(0.0, own[quantity] - call)
        readings[name] = LayerReading(
            block=position.block,
            readings=layer_readings,
            previous=position.previous,
            first=position.first,
            last=position.last,
        )
    return readings


def kernel_runs(layers: Sequence[LayerSite], gates: Sequence[PlacedGate]) -> list[Run]:
    """Return the kernel calls of the gates and of ungated recurrent layers, each distinct call once."""
    recurrent = [site for site in layers if site.is_recurrent]
    runs: dict[Key, Run] = {}
    in_bytes: dict[Key, Run] = {}
    for site in recurrent:
        for call in dense_by_kernel(site).kernels:
            runs[key_of(call)] = Run(call, reads_blocks=False)
    for gate in gates:
        site = find(layers, gate.site)
        for call in work_of(site, gate).kernels:
            run = Run(call, reads_blocks=site.source is not None)
            first = runs.setdefault(key_of(call), run)
            runs[key_of(call)] = run if run.reads_blocks else first  # prefer more timed shares
            if runs_between_relus(site) and runs_in_bytes(call):
                in_bytes[key_of(call)] = runs[key_of(call)]._replace(in_bytes=True)
    return [*runs.values(), *in_bytes.values()]


def _cache_key(
    components: Components, device: Device, stamp: Mapping[str, Any], gates: Sequence[PlacedGate], timing_seconds: float
) -> str:
    """Return a digest of everything that a table depends on."""
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
    measured = any(core.timing.model == "litert" for core in device.cores)
    content = [
        TABLE_VERSION,
        cores,
        describe_components(components),
        stamp,
        kernels,
        timing_seconds if measured else None,
    ]
    return hashlib.sha256(json.dumps(content, default=str).encode()).hexdigest()[:16]
