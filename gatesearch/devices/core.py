"""The cores of a device: their timing, powers and memories, and how they run gated layers.

"This host" is the machine that runs gatesearch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from gatesearch.devices.clocks import ClockPoint
from gatesearch.devices.constants import (
    Constant,
    Provenance,
    StrictModel,
    number_size,
    plain_error,
    profile_error,
    require_unit,
)
from gatesearch.devices.engine import DESCRIPTION, ENGINES, EngineName
from gatesearch.devices.timing import Timing
from gatesearch.errors import unknown


class Memory(StrictModel):
    """Memory of a core, in KiB: flash holds weights and programs, SRAM holds activations."""

    flash_kib: Annotated[float, number_size, Field(gt=0)]
    sram_kib: Annotated[float, number_size, Field(gt=0)]


class Kernels(StrictModel):
    """How a core's kernels run gated layers.

    Args:
        bits: ``"whole"`` if a multiplication works on whole bytes: 4 bits cost as much as 8, and 16 bits cost twice as
            much; ``"serial"`` if the time of a multiplication is proportional to the bits of both factors.
        skips: work that the kernels can leave out, by the names that :class:`gatesearch.gates.Call` uses, such as
            ``"channel-block-16"``. All other work is computed in full.
        native: whether the core runs the kernels of :mod:`gatesearch.kernels` in float stages. Then gatesearch times
            these kernels on this host and writes them into bundles, and ``skips`` applies only to layers without
            such a kernel.
    """

    native: bool = False
    bits: Literal["whole", "serial"] = "whole"
    skips: tuple[str, ...] = ()
    provenance: Provenance = "assumed"
    source: Annotated[str, Field(min_length=1)] = "no gate kernels: a gated layer is computed in full, call by call"

    def cost(self, bits: tuple[int, int], remaining: Iterable[tuple[str, float]] = ()) -> float:
        """Return the cost of a kernel call, relative to a call that computes the whole layer in int8.

        Args:
            bits: the number of bits of an activation and of a weight.
            remaining: name of each kind of work that a gate can skip, with the share that remains.

        >>> Kernels().cost((4, 8), [("channel", 0.5)]), Kernels(bits="serial", skips=("channel",)).cost(
        ...     (4, 8), [("channel", 0.5)])
        (1.0, 0.25)
        """
        share = math.prod((part for pattern, part in remaining if pattern in self.skips), start=1.0)
        return share * _MULTIPLICATION[self.bits](*bits)


_MULTIPLICATION: Mapping[str, Callable[[int, int], float]] = {
    "whole": lambda a, w: float(math.ceil(a / 8) * math.ceil(w / 8)),
    "serial": lambda a, w: a * w / 64,
}


class Core(StrictModel):
    """A processor that can run stages.

    ``engine`` runs its programs; prices are those of this engine (:mod:`gatesearch.devices.engine`).
    ``formats`` are the artifact formats that the core takes, the preferred one first.

    A core has three powers: ``active_mw`` while it computes, ``idle_mw`` while it sleeps, and ``floor_mw``, its
    listening floor. The core of the sensor draws the floor in place of ``idle_mw``, while samples stream in and it does
    not compute. If a profile states no ``floor_mw``, this core draws ``idle_mw``.

    ``clocks`` lists the core's further clock points. The constants of the core hold at its first point.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")]
    description: str = ""
    timing: Timing
    active_mw: Annotated[Constant, require_unit("mW", positive=True)]
    idle_mw: Annotated[Constant, require_unit("mW")]
    floor_mw: Annotated[Constant, require_unit("mW")] | None = None
    wake_us: Annotated[Constant, require_unit("us")]
    wake_uj: Annotated[Constant, require_unit("uJ")]
    weights_nj_per_byte: Annotated[Constant, require_unit("nJ/byte")]
    memory: Memory
    kernels: Kernels = Kernels()
    formats: Annotated[tuple[str, ...], Field(min_length=1)]
    engine: Annotated[EngineName, Field(description=DESCRIPTION)] = "litert"
    clocks: tuple[ClockPoint, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _default_engine(cls, data: Any) -> Any:
        """Return the core's keys with ``engine``; the default is the engine to which the times of ``timing`` apply."""
        timing = data.get("timing") if isinstance(data, Mapping) else None
        if not isinstance(timing, Mapping) or "engine" in data:
            return data
        by_model = {"vela": "vela"}.get(str(timing.get("model")), "litert")
        return {**data, "engine": "kernels" if timing.get("table") else by_model}

    @model_validator(mode="after")
    def _check_powers(self) -> Core:
        _check_clocks(self)
        return self

    @property
    def clock_names(self) -> tuple[str, ...]:
        """The names of the core's clock points, such as ``"96MHz"``, in order; empty without ``clocks``."""
        clock = getattr(self.timing, "clock_mhz", None)
        if not self.clocks or clock is None:
            return ()
        return (f"{clock.value:g}MHz", *(point.name for point in self.clocks))

    @property
    def stand_in(self) -> Literal["litert", "tflm", "reference"]:
        """The interpreter that runs the core's programs on this host; see :mod:`gatesearch.runtime.program`."""
        runs_float = self.engine == "kernels" and self.runs_float
        return "litert" if runs_float else ENGINES[self.engine].stand_in

    def find_stand_in(self, arithmetic: str) -> Literal["litert", "tflm", "reference"]:
        """Return the interpreter that runs a program of the core in a number format, ``"int8"`` or ``"float32"``.

        TensorFlow Lite Micro lacks operators of gated and recurrent layers, whose programs are in float. A core with
        engine ``kernels`` runs no such program, but kernels. LiteRT has all these operators.
        """
        is_other = self.engine == "kernels" and arithmetic == "float32" and self.stand_in == "tflm"
        return "litert" if is_other else self.stand_in

    @property
    def artifact_engine(self) -> EngineName:
        """The engine that runs the files of a bundle.

        No exporter writes files for the engines ``kernels`` and ``imagined``; files for such cores run on the stand-in.
        """
        return self.stand_in if ENGINES[self.engine].skips else self.engine

    @property
    def gate_kernels(self) -> Kernels:
        """How the core's engine runs gated layers: as :attr:`kernels` says, or in full if the engine only masks."""
        return self.kernels if ENGINES[self.engine].skips else Kernels(native=self.kernels.native)

    @property
    def derives_times(self) -> bool:
        """Whether the times of the core's engine are derived from a table for another engine, gatesearch's kernels."""
        return getattr(self.timing, "table", None) is not None and self.engine != "kernels"

    @property
    def provenance(self) -> Provenance:
        """The provenance of the core's times; times that are derived from those of another engine are modelled."""
        return "modelled" if self.derives_times else self.timing.provenance

    @property
    def cost_per_value(self) -> float:
        """The cost of one value of work without products, such as a sum, in the unit of the core's timing.

        It is 0 if the measured or estimated cost of a program includes such work.
        """
        return getattr(self.timing, "cost_per_value", 0.0)

    def latency_us(self, reading: float) -> float:
        """Convert a reading, which is a cost in the unit of the core's timing, to microseconds on the core's engine."""
        return self.timing.latency_us(reading) * (ENGINES[self.engine].slowdown if self.derives_times else 1.0)

    @property
    def runs_kernels(self) -> bool:
        """Whether native kernels run the core's gated layers on this host, between stretches that LiteRT runs."""
        return self.kernels.native and self.engine == "litert" and self.timing.model == "litert"

    @property
    def runs_float(self) -> bool:
        """Whether the core runs float programs beside int8 ones; cores that run ONNX do."""
        return "onnx" in self.formats

    def compute_uj(self, latency_us: float) -> float:
        """Return microjoules for being active during ``latency_us``: time x active power."""
        return latency_us * self.active_mw.value * 1e-3

    def weights_uj(self, size: float) -> float:
        """Return microjoules for fetching ``size`` bytes of weights once."""
        return size * self.weights_nj_per_byte.value * 1e-3


def at_clock(core: Core, name: str, where: str) -> Core:
    """Return a core whose constants are those at one of its clock points.

    Args:
        core: the core at its first point.
        name: name of the point.
        where: place of the name in errors.

    Raises:
        UserError: the core has no point with this name.
    """
    if name not in core.clock_names:
        raise unknown(where, "clock", name, core.clock_names or ["no clock: the profile states a single one"])
    point = next((point for point in core.clocks if point.name == name), None)
    if point is None:
        return core
    own = getattr(core.timing, "clock_mhz")  # noqa: B009 - a core with clock points has it, not each timing
    scale = point.clock_mhz.value / own.value
    rates = {
        rate: getattr(core.timing, rate).model_copy(update={"value": getattr(core.timing, rate).value * scale})
        for rate in core.timing.clock_rates
    }
    timing = core.timing.model_copy(update={**rates, "clock_mhz": point.clock_mhz})
    powers = {"active_mw": point.active_mw, "floor_mw": point.floor_mw}
    return core.model_copy(update={"timing": timing, **powers})


def _check_clocks(core: Core) -> None:
    """Check that the names of clock points differ, that times scale with the clock, and that floors fit.

    Raises:
        PydanticCustomError: the core breaks one of these rules.
    """
    if core.clocks and getattr(core.timing, "clock_mhz", None) is None:
        raise plain_error("clocks: timing.clock_mhz is missing; times of other clocks are scaled from it")
    names = core.clock_names
    points: list[tuple[str, Core | ClockPoint]] = [("", core)]
    for point in core.clocks:
        if names.count(point.name) > 1:
            raise profile_error(f"clocks: the name {point.name!r} is given twice", point.name, names)
        points.append((f"clocks.{point.name}.", point))
    for where, one in points:
        if (one.floor_mw is None) != (core.floor_mw is None):
            raise plain_error(f"{where}floor_mw: the core and each of its clocks state a floor, or none of them does")
        if one.floor_mw is not None and one.floor_mw.value > one.active_mw.value:
            raise plain_error(f"{where}floor_mw: {one.floor_mw.value:g} is above active_mw, {one.active_mw.value:g}")
