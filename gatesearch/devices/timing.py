"""Converts the cost of work on a core to microseconds; each source of latencies has a class.

A latency source (:mod:`gatesearch.cost.sources`) measures or estimates the cost of a module of a network. This cost,
the *reading*, has the unit of the source: multiply-accumulates, instructions, cycles of a neural processing unit (NPU),
ticks of a board's clock, or microseconds on this host, which is the machine that runs gatesearch. The classes of this
module hold how long one unit lasts on the core.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from gatesearch.devices.constants import Constant, Provenance, StrictModel, require_unit

Accelerator = Literal[
    "ethos-u55-32",
    "ethos-u55-64",
    "ethos-u55-128",
    "ethos-u55-256",
    "ethos-u65-256",
    "ethos-u65-512",
    "ethos-u85-128",
    "ethos-u85-256",
    "ethos-u85-512",
    "ethos-u85-1024",
    "ethos-u85-2048",
]


# The number of multiply-accumulates that take as long as one value of element-wise work, such as a sum.
DEFAULT_MACS_PER_VALUE = Constant(
    value=10.8,
    unit="MAC/value",
    provenance="assumed",
    source="our kernels' counts on a Cortex-M4: a sum of two maps takes 25.0 instructions a value, a product 2.32; no "
    "figure of this core",
)


class _ByRate(StrictModel):
    """The base of timings that have a rate for multiply-accumulates.

    Args:
        macs_per_value: the number of multiply-accumulates that take as long as one value of work without products, such
            as a sum, a softmax or a pooling (:mod:`gatesearch.graph.element_work`). A core with a table uses it only
            for operators that have no kernel in the table.
    """

    macs_per_value: Annotated[Constant, require_unit("MAC/value", positive=True)] = DEFAULT_MACS_PER_VALUE


class Instructions(_ByRate):
    """Latency from counts of instructions, which a simulator without a cycle model gives.

    The latency is only as exact as ``instructions_per_cycle``, which does not come from the simulator.

    Args:
        table: the table of the core's kernels: a shipped one (:mod:`gatesearch.cost.sources.board`) or a JSON file
            beside the profile. Calls are then priced by shape and by the remaining shares of work. None: every
            multiply-accumulate costs the same.
        instructions_per_mac: the rate of all layers if there is no table, else of the layers without a kernel in
            the table.
        frontend_instructions_per_mac: the rate of a front end without a kernel in the table.
        clock_mhz, instructions_per_cycle: constants that convert instructions to time.
    """

    # The counts are simulated. Their conversion to time depends on the profile's instructions per cycle.
    provenance: ClassVar[Provenance] = "simulated"

    # Names of the constants that scale with the clock. There are none, because latency_us divides by the clock.
    clock_rates: ClassVar[tuple[str, ...]] = ()

    model: Literal["instructions"]
    table: str | None = None
    instructions_per_mac: Annotated[Constant, require_unit("instructions/MAC", positive=True)]
    frontend_instructions_per_mac: Annotated[Constant, require_unit("instructions/MAC", positive=True)]
    clock_mhz: Annotated[Constant, require_unit("MHz", positive=True)]
    instructions_per_cycle: Annotated[Constant, require_unit("instructions/cycle", positive=True)]

    def latency_us(self, reading: float) -> float:
        """Return microseconds for int8 multiply-accumulates; with a table, for instructions."""
        each = 1.0 if self.table else self.instructions_per_mac.value
        return reading * each / self._instructions_per_us

    def cost_without_kernel(self, macs: float, values: float = 0.0) -> float:
        """Return the cost, in the table's unit, of products and values for which the table has no kernel."""
        return (macs + values * self.macs_per_value.value) * self.instructions_per_mac.value

    def frontend_us(self, macs: float) -> float:
        """Return microseconds for the multiply-accumulates of a front end without a kernel."""
        return macs * self.frontend_instructions_per_mac.value / self._instructions_per_us

    @property
    def cost_per_value(self) -> float:
        """The cost of a value of element-wise work in multiply-accumulates; 0 with a table, whose costs include it."""
        return 0.0 if self.table else self.macs_per_value.value

    @property
    def _instructions_per_us(self) -> float:
        return self.clock_mhz.value * self.instructions_per_cycle.value


class Vela(StrictModel):
    """Latency from the cycle estimate of the Vela compiler for Arm Ethos-U: modelled, never measured."""

    provenance: ClassVar[Provenance] = "modelled"
    clock_rates: ClassVar[tuple[str, ...]] = ()

    model: Literal["vela"]
    accelerator: Accelerator
    clock_mhz: Annotated[Constant, require_unit("MHz", positive=True)]
    system_config: str = "Ethos_U55_High_End_Embedded"
    memory_mode: str = "Shared_Sram"

    def latency_us(self, cycles: float) -> float:
        """Return microseconds for NPU cycles."""
        return cycles / self.clock_mhz.value

    def frontend_us(self, macs: float) -> None:
        """Return None: the NPU computes no float front end."""


class LiteRT(StrictModel):
    """Latency measured with LiteRT on this host, times the slowdown of the core that the host stands in for."""

    provenance: ClassVar[Provenance] = "measured"
    clock_rates: ClassVar[tuple[str, ...]] = ()

    model: Literal["litert"]
    slowdown: Annotated[Constant, require_unit("x", positive=True)]
    frontend_macs_per_us: Annotated[Constant, require_unit("MAC/us", positive=True)] | None = None

    def latency_us(self, measured_us: float) -> float:
        """Return microseconds on the core for microseconds measured on this host."""
        return measured_us * self.slowdown.value

    def frontend_us(self, macs: float) -> float | None:
        """Return microseconds for the front end's float multiply-accumulates; None without a figure."""
        return None if self.frontend_macs_per_us is None else macs / self.frontend_macs_per_us.value


class Throughput(_ByRate):
    """Latency from multiply-accumulates at a rate that a data sheet or a paper gives: modelled, never measured.

    Args:
        macs_per_us: the rate.
        clock_mhz: the clock at which the rate holds; only cores with several clock points need it.
    """

    provenance: ClassVar[Provenance] = "modelled"
    clock_rates: ClassVar[tuple[str, ...]] = ("macs_per_us",)

    model: Literal["throughput"]
    macs_per_us: Annotated[Constant, require_unit("MAC/us", positive=True)]
    clock_mhz: Annotated[Constant, require_unit("MHz", positive=True)] | None = None

    @property
    def cost_per_value(self) -> float:
        """The cost of one value of element-wise work, in multiply-accumulates."""
        return self.macs_per_value.value

    def latency_us(self, macs: float) -> float:
        """Return microseconds for int8 multiply-accumulates."""
        return macs / self.macs_per_us.value

    def frontend_us(self, macs: float) -> float:
        """Return microseconds for the front end's multiply-accumulates."""
        return macs / self.macs_per_us.value


class Measured(_ByRate):
    """Latency from a table of kernels that a kit timed on the core itself; see ``gatesearch measure kit=DIR``.

    Args:
        table: a JSON file beside the profile, as ``gatesearch measure import=FILE`` writes it.
        ticks_per_us: ticks of the table in one microsecond.
        macs_per_us: the rate of layers without a kernel in the table.
        frontend_macs_per_us: the rate of a front end without a kernel in the table.
        clock_mhz: the clock at which the kit ran; only cores with several clock points need it.
    """

    provenance: ClassVar[Provenance] = "measured"
    clock_rates: ClassVar[tuple[str, ...]] = ("ticks_per_us", "macs_per_us", "frontend_macs_per_us")

    model: Literal["measured"]
    table: str
    ticks_per_us: Annotated[Constant, require_unit("ticks/us", positive=True)]
    macs_per_us: Annotated[Constant, require_unit("MAC/us", positive=True)]
    frontend_macs_per_us: Annotated[Constant, require_unit("MAC/us", positive=True)]
    clock_mhz: Annotated[Constant, require_unit("MHz", positive=True)] | None = None

    def latency_us(self, ticks: float) -> float:
        """Return microseconds for ticks of the board's clock."""
        return ticks / self.ticks_per_us.value

    def cost_without_kernel(self, macs: float, values: float = 0.0) -> float:
        """Return the cost, in ticks, of products and values for which the table has no kernel."""
        return (macs + values * self.macs_per_value.value) / self.macs_per_us.value * self.ticks_per_us.value

    def frontend_us(self, macs: float) -> float:
        """Return microseconds for the multiply-accumulates of a front end without a kernel."""
        return macs / self.frontend_macs_per_us.value


Timing = Annotated[Instructions | Vela | LiteRT | Throughput | Measured, Field(discriminator="model")]
