"""Predicts the mean power of a device that listens for the streaming wake word, and compares it with published runs.

The device computes the front end and the network for each hop of 32 ms. The price gives the cycles of a hop, and so the
share of time in which the core computes (*duty*). The mean power is

    duty x active power + (1 - duty) x floor

The active power is that of the part's energy runs with the four other networks. The floor, the power while audio
streams in, is read from the plotted traces of the wake word's runs. Nothing else of these runs is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from results.boards.instructions import STREAM, CoreInstructions
from results.boards.part_factors import PartFactor
from results.boards.published import Published, Stream

HOP_S = 0.032
LARGEST_POWER_ERROR = 0.15  # target for the error of the mean power


@dataclass(frozen=True)
class WakeWord:
    """A published run of the streaming wake word, and its prediction.

    Args:
        stream: the published run.
        title: name of the part.
        instructions: instructions of front end and network in a hop.
        factor: the part's instructions per cycle.
        active_mw: predicted power while the core computes.
        floor_mw: power while it does not.
        assumption: the assumption about the two powers in words; empty if there is none.
    """

    stream: Stream
    title: str
    instructions: float
    factor: PartFactor
    active_mw: float
    floor_mw: float
    assumption: str

    @property
    def duty(self) -> float:
        """Predicted share of time in which the core computes; above 1, it would not keep up."""
        cycles = self.instructions / self.factor.instructions_per_cycle
        return cycles / (HOP_S * 1e6 * self.stream.mhz)

    @property
    def mean_mw(self) -> float:
        """Predicted mean power."""
        duty = min(1.0, self.duty)
        return duty * self.active_mw + (1 - duty) * self.floor_mw

    @property
    def error(self) -> float:
        """Relative error of the mean power."""
        return self.mean_mw / self.stream.mean_mw - 1

    @property
    def is_close(self) -> bool:
        """Whether the error is within the target."""
        return abs(self.error) <= LARGEST_POWER_ERROR


def wake_words(
    published: Published, cores: Mapping[str, CoreInstructions], factors: Mapping[str, PartFactor]
) -> list[WakeWord]:
    """Return the prediction of each published run whose part has a kernel table, a factor and both powers."""
    predictions = []
    for stream in published.streams:
        part = published.parts[stream.part]
        powers = _powers(published, stream)
        if part.table is None or part.table not in cores or stream.part not in factors:
            continue
        if stream.has_coprocessor or powers is None:
            continue
        instructions = cores[part.table]
        predictions.append(
            WakeWord(
                stream=stream,
                title=part.title,
                instructions=instructions.predicted[STREAM] + instructions.predicted_front_end,
                factor=factors[stream.part],
                active_mw=powers[0],
                floor_mw=powers[1],
                assumption=powers[2],
            )
        )
    return predictions


def _powers(published: Published, stream: Stream) -> tuple[float, float, str] | None:
    """Return active power, floor and assumption at the clock of a run; None if the part has no energy run.

    A power P at one clock becomes S + (P - S) x (other clock / clock) at another clock. S is the part of the floor that
    does not depend on the clock. It follows from the floors at two clocks; with one floor, it is 0.
    """
    active = energy_run_mw(published, stream.part, stream.supply)
    if active is None:
        return None
    mhz = published.parts[stream.part].mhz
    floors = {each.mhz: each.floor_mw for each in published.streams if each.part == stream.part and each.floor_mw}
    if not floors:
        return None
    static = _static_mw(floors)
    if stream.mhz == mhz:
        return (active, floors[mhz], "") if mhz in floors else None
    assumption = f"active power of {active:.3g} mW at {mhz:g} MHz falls with the clock, but for {static:.3g} mW"
    floor = floors.get(stream.mhz)
    if floor is None:
        other_mhz, other_mw = next(iter(floors.items()))
        floor = static + (other_mw - static) * stream.mhz / other_mhz
        assumption += "; so does the floor"
    return static + (active - static) * stream.mhz / mhz, floor, assumption


def _static_mw(floors: Mapping[float, float]) -> float:
    """Return the part of the floor that does not depend on the clock, from two floors; 0 with a single floor."""
    if len(floors) < 2:
        return 0.0
    (slow, low), (fast, high) = sorted(floors.items())[:2]
    return low - slow * (high - low) / (fast - slow)


def energy_run_mw(published: Published, part: str, supply: str) -> float | None:
    """Return the mean power of a part's energy runs, over the networks; None without energy runs at this supply."""
    for system in published.systems:
        if system.part == part and system.supply == supply and system.mw:
            return sum(system.mw.values()) / len(system.mw)
    return None
