"""How a core's latency is known: for each way, what turns a reading into microseconds.

A *reading* is what a source of latencies (:mod:`gatesearch.cost.sources`) says of a piece of a network, in the unit of
its kind: multiply-accumulates, instructions, NPU cycles, ticks of a board's clock or microseconds on this host. These
classes alone know how long one unit lasts on the core.
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


# Of one value of element-wise work, such as a sum, in the time of a multiply-accumulate.
DEFAULT_MACS_PER_VALUE = Constant(
    value=10.8,
    unit="MAC/value",
    provenance="assumed",
    source="our kernels' counts on a Cortex-M4: a sum of two maps takes 25.0 instructions a value, a product 2.32; no "
    "figure of this core",
)


class _ByRate(StrictModel):
    """What timings by a rate have in common.

    Args:
        macs_per_value: the multiply-accumulates that take as long as one value of work without products: a sum, a
            softmax, a pooling (:mod:`gatesearch.graph.element_work`). With a table, for what it has no kernel for.
    """

    macs_per_value: Annotated[Constant, require_unit("MAC/value", positive=True)] = DEFAULT_MACS_PER_VALUE


class Instructions(_ByRate):
    """Latency from counted instructions: what a simulator without a cycle model can tell.

    The result is no better than ``instructions_per_cycle``, which a profile has to assume.

    Args:
        table: of the core's kernels, shipped (:mod:`gatesearch.cost.sources.board`) or a JSON file beside the profile:
            calls are then priced by shape and by the shares left. None: one multiply-accumulate is like another.
        instructions_per_mac: for all without a table, and for layers whose kernel the table does not have.
        frontend_instructions_per_mac: the same for the front end's float arithmetic.
        clock_mhz, instructions_per_cycle: from instructions to time.
    """

    # Instruction counts are simulated; turning them into time rests on the assumed instructions per cycle.
    provenance: ClassVar[Provenance] = "simulated"

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

    def unlisted(self, macs: float, values: float = 0.0) -> float:
        """Return what products, and work on values, take in the table's unit where the table has no kernel for it."""
        return (macs + values * self.macs_per_value.value) * self.instructions_per_mac.value

    def frontend_us(self, macs: float) -> float:
        """Return microseconds for the front end's float multiply-accumulates."""
        return macs * self.frontend_instructions_per_mac.value / self._instructions_per_us

    @property
    def reading_per_value(self) -> float:
        """What a value of work without products adds to a reading; with a table nothing, whose kernels have it."""
        return 0.0 if self.table else self.macs_per_value.value

    @property
    def _instructions_per_us(self) -> float:
        return self.clock_mhz.value * self.instructions_per_cycle.value


class Vela(StrictModel):
    """Latency from the cycle estimate of the Vela compiler for Arm Ethos-U: modelled, never measured."""

    provenance: ClassVar[Provenance] = "modelled"

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
    """Latency measured with LiteRT on this host, times the slowdown of the core that it stands in for."""

    provenance: ClassVar[Provenance] = "measured"

    model: Literal["litert"]
    slowdown: Annotated[Constant, require_unit("x", positive=True)]
    frontend_macs_per_us: Annotated[Constant, require_unit("MAC/us", positive=True)] | None = None

    def latency_us(self, measured_us: float) -> float:
        """Return microseconds on the core for microseconds measured here."""
        return measured_us * self.slowdown.value

    def frontend_us(self, macs: float) -> float | None:
        """Return microseconds for the front end's float multiply-accumulates; None without a figure."""
        return None if self.frontend_macs_per_us is None else macs / self.frontend_macs_per_us.value


class Throughput(_ByRate):
    """Latency from multiply-accumulates at a rate that a data sheet or a paper gives: modelled, never measured."""

    provenance: ClassVar[Provenance] = "modelled"

    model: Literal["throughput"]
    macs_per_us: Annotated[Constant, require_unit("MAC/us", positive=True)]

    @property
    def reading_per_value(self) -> float:
        """What a value of work without products adds to a reading, in multiply-accumulates."""
        return self.macs_per_value.value

    def latency_us(self, macs: float) -> float:
        """Return microseconds for int8 multiply-accumulates."""
        return macs / self.macs_per_us.value

    def frontend_us(self, macs: float) -> float:
        """Return microseconds for the front end's multiply-accumulates."""
        return macs / self.macs_per_us.value


class Measured(_ByRate):
    """Latency by a table of kernels that were timed on the core itself, with a kit: see ``gatesearch measure kit=DIR``.

    Args:
        table: a JSON file beside the profile, as ``gatesearch measure import=FILE`` writes it.
        ticks_per_us: of the table's unit.
        macs_per_us: for layers whose kernel the table does not have.
        frontend_macs_per_us: of the front end's float arithmetic.
    """

    provenance: ClassVar[Provenance] = "measured"

    model: Literal["measured"]
    table: str
    ticks_per_us: Annotated[Constant, require_unit("ticks/us", positive=True)]
    macs_per_us: Annotated[Constant, require_unit("MAC/us", positive=True)]
    frontend_macs_per_us: Annotated[Constant, require_unit("MAC/us", positive=True)]

    def latency_us(self, ticks: float) -> float:
        """Return microseconds for ticks of the board's clock."""
        return ticks / self.ticks_per_us.value

    def unlisted(self, macs: float, values: float = 0.0) -> float:
        """Return the ticks of products, and of work on values, for which the table has no kernel."""
        return (macs + values * self.macs_per_value.value) / self.macs_per_us.value * self.ticks_per_us.value

    def frontend_us(self, macs: float) -> float:
        """Return microseconds for the front end's float multiply-accumulates."""
        return macs / self.frontend_macs_per_us.value


Timing = Annotated[Instructions | Vela | LiteRT | Throughput | Measured, Field(discriminator="model")]
