"""Latency by timings on this host: programs that LiteRT runs, kernels of gated layers, and the loop around them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from gatesearch.cost.blocks import EMPTY, PieceKey, Pieces
from gatesearch.cost.programs import Converter, Programs
from gatesearch.cost.sources.base import Readings
from gatesearch.cost.sources.host import profiler
from gatesearch.cost.sources.host.kernel_points import Run
from gatesearch.cost.sources.host.profiler import HostReadings
from gatesearch.cost.sources.host.tiles import is_pointwise, probe_programs
from gatesearch.cost.table import HostTimings, Loop, in_float_on
from gatesearch.devices.profile import Core

ProgramName = tuple[PieceKey, str]  # a piece in a number format
MeasureLoop = Callable[[Sequence[bytes]], Loop]


@dataclass(frozen=True)
class HostSource:
    """Reads microseconds of this host, for all cores that it stands in for at once.

    Args:
        converter: makes the programs that show how channels are computed together.
        measure_loop: times the loop that runs bundles among given programs, where a core runs kernels.
        layers: whether gates may take the place of layers, so that everything is read in float as well.
        runs: kernels to be timed.
        seconds: budget of the timings.
    """

    converter: Converter
    measure_loop: MeasureLoop
    layers: bool = False
    runs: Sequence[Run] = ()
    seconds: float = profiler.TIMING_SECONDS

    def read(self, cores: Sequence[Core], programs: Programs) -> Readings:
        """See :class:`gatesearch.cost.sources.base.LatencySource`."""
        with_kernels = [core for core in cores if core.runs_kernels]
        in_float_too = with_kernels if self.layers else []
        host = self._time(cores, in_float_too, programs)
        us = _with_thin_pieces(host.programs, _needed(cores, in_float_too, programs))
        pieces = programs.pieces
        by_name = {}
        for core in cores:
            by_name[core.name] = {key: us[key, programs.number_format(key, core)] for key in pieces}
        for core in in_float_too:
            by_name[in_float_on(core.name)] = {key: us[key, "float32"] for key in pieces}
        native = {}
        if with_kernels:
            loop = self.measure_loop([model for _, model in _beside_kernels(programs)])
            timings = HostTimings(
                kernels=host.kernels,
                loop=loop,
                timings=host.timings + loop.timings,
                noisy=host.noisy,
                seconds=host.seconds,
                derived=host.derived,
            )
            native = {core.name: timings for core in with_kernels}
        return Readings(by_name, _tiles(cores, programs, host), native)

    def _time(self, cores: Sequence[Core], in_float_too: Sequence[Core], programs: Programs) -> HostReadings:
        needed = _needed(cores, in_float_too, programs)
        # A piece with fewer channels on both sides follows from those with fewer on one.
        timed = [key for key in programs.pieces if 1.0 in (key.inputs, key.outputs) or key == EMPTY]
        names = [(key, number_format) for number_format in ("int8", "float32") for key in timed]
        return profiler.read(
            {name: programs.models[name[1]][name[0]] for name in names if name in needed},
            programs.models["float32"][EMPTY],
            self.runs if in_float_too else (),
            seconds=self.seconds,
            most=profiler.timings_within(self.seconds),
            network=lambda name: _network(name, programs.pieces),
            around=sum(len(model) for _, model in _beside_kernels(programs)) if in_float_too else 0,
            probes=probe_programs(programs.pieces, self.converter),
        )


def _needed(cores: Sequence[Core], in_float_too: Sequence[Core], programs: Programs) -> set[ProgramName]:
    """Return the pieces and number formats that the cores need a time of."""
    needed = {(key, programs.number_format(key, core)) for core in cores for key in programs.pieces}
    return needed | {(key, "float32") for key in programs.pieces if in_float_too}


def _with_thin_pieces(timed: Mapping[Hashable, float], needed: set[ProgramName]) -> dict[Hashable, float]:
    """Return times of all pieces: where channels are left out on both sides, work is a product, and so is time."""
    us = dict(timed)
    for key, number_format in needed - us.keys():
        dense, less_in, less_out = (
            us[PieceKey(key.name, *corner), number_format]
            for corner in ((1.0, 1.0), (key.inputs, 1.0), (1.0, key.outputs))
        )
        us[key, number_format] = less_in * less_out / dense
    return us


def _network(name: ProgramName, pieces: Pieces) -> object:
    """Return what a program takes turns with: the others of its number format that are as thin as it is.

    Layers by themselves are kept apart: operators that occur in them alone are none of the network's, whose operators
    leave each other room in the caches.
    """
    key, number_format = name
    return number_format, pieces[key].role == "layer", key.inputs < 1.0, key.outputs < 1.0


def _beside_kernels(programs: Programs) -> list[tuple[PieceKey, bytes]]:
    """Return the programs in float of blocks that run beside kernels; in place of a recurrent block a kernel runs."""
    return [
        (key, programs.models["float32"][key])
        for key, piece in programs.pieces.items()
        if piece.role == "block"
        and key.dense
        and not any(isinstance(module, nn.RNNBase) for module in piece.module.modules())
    ]


def _tiles(cores: Sequence[Core], programs: Programs, host: HostReadings) -> dict[tuple[str, str], int]:
    """Return the output channels computed together, by block and name of the reading."""
    tiles = {}
    for key, piece in programs.pieces.items():
        if piece.role == "block" and key.dense:
            pointwise = is_pointwise(piece.module)
            for core in cores:
                number_format = programs.number_format(key, core)
                tiles[key.name, core.name] = host.tiles.get((number_format, pointwise), 1)
                tiles[key.name, in_float_on(core.name)] = host.tiles.get(("float32", pointwise), 1)
    return tiles
