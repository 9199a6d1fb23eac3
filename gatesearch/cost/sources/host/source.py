"""The latency source for this host: it times programs, kernels, and the code that calls them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from gatesearch.cost.blocks import EMPTY, ComponentKey, Components
from gatesearch.cost.programs import Programs
from gatesearch.cost.sources.base import Readings
from gatesearch.cost.sources.host import profiler
from gatesearch.cost.sources.host.fixed_programs import FixedPrograms
from gatesearch.cost.sources.host.kernel_points import Run
from gatesearch.cost.sources.host.profiler import HostReadings
from gatesearch.cost.sources.host.tiles import is_pointwise, probe_programs
from gatesearch.cost.table import HostTimings, Loop, in_float_on
from gatesearch.devices.profile import Core

ProgramName = tuple[ComponentKey, str]  # a component in a number format
MeasureLoop = Callable[[Sequence[bytes], FixedPrograms], Loop]
"""A function that times the code around a bundle's programs.

Its arguments are the programs of blocks that run between kernels, and the fixed programs that stand in for stages.
"""


@dataclass(frozen=True)
class HostSource:
    """Times the modules of a backbone on this host, once for all cores that the host stands in for.

    A separately timed module, such as a block, is called a *component*.

    Args:
        load_fixed_programs: a function that returns the programs that are the same for every backbone.
        measure_loop: a function that times the code around a bundle's programs; called only if a core runs kernels.
        layers: whether gates may replace layers; if so, every component is also timed in float32.
        runs: kernels to time.
        seconds: budget of the timings, in seconds.
    """

    load_fixed_programs: Callable[[], FixedPrograms]
    measure_loop: MeasureLoop
    layers: bool = False
    runs: Sequence[Run] = ()
    seconds: float = profiler.TIMING_SECONDS

    def times_kernels(self, cores: Sequence[Core]) -> bool:
        """Return whether :meth:`read` times compiled kernels for some of these cores."""
        return bool(self.layers and self.runs) and any(
            core.runs_kernels and core.timing.model == "litert" for core in cores
        )

    def collect(self, cores: Sequence[Core], programs: Programs) -> Readings:
        """See :class:`gatesearch.cost.sources.base.LatencySource`."""
        with_kernels = [core for core in cores if core.runs_kernels]
        in_float_too = with_kernels if self.layers else []
        fixed = self.load_fixed_programs()
        host = self._time(cores, in_float_too, programs, fixed)
        us = _with_products(host.programs, _needed(cores, in_float_too, programs))
        components = programs.components
        by_name = {}
        for core in cores:
            by_name[core.name] = {key: us[key, programs.number_format(key, core)] for key in components}
        for core in in_float_too:
            by_name[in_float_on(core.name)] = {key: us[key, "float32"] for key in components}
        native = {}
        if with_kernels:
            loop = self.measure_loop([model for _, model in _blocks_among_kernels(programs)], fixed)
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

    def _time(
        self, cores: Sequence[Core], in_float_too: Sequence[Core], programs: Programs, fixed: FixedPrograms
    ) -> HostReadings:
        """Time the programs of components on this host, each in the number formats that the cores need."""
        needed = _needed(cores, in_float_too, programs)
        # A component with fewer channels on both sides is not timed: its time follows from components with fewer on one
        # side.
        timed = [key for key in programs.components if 1.0 in (key.inputs, key.outputs) or key == EMPTY]
        names = [(key, number_format) for number_format in ("int8", "float32") for key in timed]
        return profiler.measure(
            {name: programs.models[name[1]][name[0]] for name in names if name in needed},
            programs.models["float32"][EMPTY],
            self.runs if in_float_too else (),
            seconds=self.seconds,
            max_timings=profiler.timings_within(self.seconds),
            network=lambda name: _network(name, programs.components),
            around=sum(len(model) for _, model in _blocks_among_kernels(programs)) if in_float_too else 0,
            probes=probe_programs(programs.components, fixed),
        )


def _needed(cores: Sequence[Core], in_float_too: Sequence[Core], programs: Programs) -> set[ProgramName]:
    """Return the programs (component and number format) whose time the cores need."""
    needed = {(key, programs.number_format(key, core)) for core in cores for key in programs.components}
    return needed | {(key, "float32") for key in programs.components if in_float_too}


def _with_products(timed: Mapping[Hashable, float], needed: set[ProgramName]) -> dict[Hashable, float]:
    """Return the times of all components; those with fewer channels on both sides are computed from the others.

    Work is a product of input and output channels. If the time t is proportional to work, the ratios of the two sides
    multiply: t(i, o) = t(i, 1) t(1, o) / t(1, 1), with i and o the shares of input and output channels.
    """
    us = dict(timed)
    for key, number_format in needed - us.keys():
        dense, less_in, less_out = (
            us[ComponentKey(key.name, *corner), number_format]
            for corner in ((1.0, 1.0), (key.inputs, 1.0), (1.0, key.outputs))
        )
        us[key, number_format] = less_in * less_out / dense
    return us


def _network(name: ProgramName, components: Components) -> object:
    """Return the network to which a program belongs; the programs of one network are timed in turns.

    A network consists of all programs that have the same number format and fewer channels on the same sides. The
    programs of single layers form a network of their own: operators that occur only in them are not part of the
    backbone, and would displace the backbone's data from the caches.
    """
    key, number_format = name
    return number_format, components[key].role == "layer", key.inputs < 1.0, key.outputs < 1.0


def _blocks_among_kernels(programs: Programs) -> list[tuple[ComponentKey, bytes]]:
    """Return the float programs of the blocks that run next to kernels; a recurrent block runs as a kernel itself."""
    return [
        (key, programs.models["float32"][key])
        for key, component in programs.components.items()
        if component.role == "block"
        and key.dense
        and not any(isinstance(module, nn.RNNBase) for module in component.module.modules())
    ]


def _tiles(cores: Sequence[Core], programs: Programs, host: HostReadings) -> dict[tuple[str, str], int]:
    """Return the number of output channels that are computed together, by block and name of the reading."""
    tiles = {}
    for key, component in programs.components.items():
        if component.role == "block" and key.dense:
            pointwise = is_pointwise(component.module)
            for core in cores:
                number_format = programs.number_format(key, core)
                tiles[key.name, core.name] = host.tiles.get((number_format, pointwise), 1)
                tiles[key.name, in_float_on(core.name)] = host.tiles.get(("float32", pointwise), 1)
    return tiles
