"""Forecasts a run before anything is trained: its space, its prices, its time and its memory."""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from gatesearch._lib import console, interrupts
from gatesearch._lib.allocator import memory_reuse
from gatesearch._lib.format import format_duration, format_si
from gatesearch.pipeline.price_range import PlanPrice, PriceRange, price_range
from gatesearch.pipeline.problem import Inputs
from gatesearch.pipeline.run import check_ready, price_problem
from gatesearch.pipeline.run_dir import RunFolder, check_unused
from gatesearch.pipeline.training_times import Phase, time_phases
from gatesearch.recipe import Recipe
from gatesearch.training.threads import fitting_threads

P = ParamSpec("P")
R = TypeVar("R")
MEMORIES = ("flash", "sram")


@dataclass(frozen=True)
class Forecast:
    """What a run will search, and what it will take.

    Args:
        cut_sites, layer_sites: number of sites for gates at cuts and at layers.
        plans: number of plans of the space.
        prices: the range of prices.
        phases: the trainings of each phase, with their expected times.
        preparation_s: the seconds from the data to the prices, measured in this call. Data and prices that a cache now
            holds take less time in the run.
        memory_bytes: the most memory that this process had, measured; each worker of the search needs about as much.
    """

    cut_sites: int
    layer_sites: int
    plans: int
    prices: PriceRange
    phases: tuple[Phase, ...]
    preparation_s: float
    memory_bytes: int

    @property
    def seconds(self) -> float:
        """The expected seconds of preparation and trainings; export, verification and report take further time."""
        return self.preparation_s + sum(phase.seconds for phase in self.phases)

    def to_dict(self) -> dict[str, Any]:
        """Return the forecast as values for JSON."""
        phases = [asdict(phase) | {"seconds": phase.seconds} for phase in self.phases]
        return asdict(self) | {"phases": phases, "seconds": self.seconds}


def forecast(recipe: Recipe, out: Path | None = None, inputs: Inputs | None = None) -> Forecast:
    """Do the checks of a run and the dry run of its export, and forecast the run; no run folder is made.

    Args:
        recipe: a checked recipe.
        out: the run folder that the run would have; it is checked alone.
        inputs: a network and data of the calling program, in place of those that the recipe names.

    Raises:
        UserError: as :func:`gatesearch.pipeline.run.start` before its first training.
    """
    check_ready(recipe)
    if out is not None:
        check_unused(out)
    with tempfile.TemporaryDirectory(prefix="gatesearch-") as folder, fitting_threads(), memory_reuse():
        started = time.monotonic()
        problem, cost = price_problem(recipe, RunFolder(Path(folder)), inputs, _call)
        preparation_s = time.monotonic() - started
        prices, plans = price_range(problem, cost)
        phases = time_phases(problem, plans)
    return Forecast(
        cut_sites=len(problem.space.cut_sites),
        layer_sites=len(problem.space.layer_sites),
        plans=len(problem.space),
        prices=prices,
        phases=tuple(phases),
        preparation_s=preparation_s,
        memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    )


def _call(step: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Do a step without an account of its time."""
    interrupts.check()
    return step(*args, **kwargs)


def print_forecast(forecast: Forecast) -> None:
    """Print a forecast as tables."""
    prices = forecast.prices
    console.say(
        f"space: {forecast.plans:,} plans over {forecast.cut_sites} cut sites and {forecast.layer_sites} layer sites"
    )
    rows = [_price_row(name, getattr(prices, name)) for name in ("cheapest", "ungated", "dearest")]
    console.table(
        f"prices of {prices.priced:,} plans, of which {prices.affordable:,} keep the constraints on price",
        ("plan", "energy", "latency", "flash", "SRAM", "times", "gates"),
        rows,
    )
    counts = ", ".join(f"{count} {provenance}" for provenance, count in sorted(prices.constants.items()))
    console.say(
        "cheapest: gates stop all that they may; dearest: every window passes every gate; flash and SRAM: derived"
    )
    console.say(f"energy is modelled from the constants of the device: {counts}")
    console.table(
        "expected time",
        ("phase", "trainings", "steps", "ms a step", "evaluations", "time"),
        [
            ("preparation", None, None, None, None, format_duration(forecast.preparation_s)),
            *(
                (
                    phase.name,
                    phase.trainings,
                    phase.steps,
                    f"{1e3 * phase.step_s:.1f}",
                    phase.evaluations,
                    format_duration(phase.seconds),
                )
                for phase in forecast.phases
            ),
        ],
    )
    console.say(
        f"expected: {format_duration(forecast.seconds)} and the time of export, verification and report; steps are "
        "measured here, on untrained networks"
    )
    console.say(f"memory: {format_si(forecast.memory_bytes, 'B')}, the most of this process so far (measured)")
    console.say("dry run: nothing was trained, and there is no run folder")


def _price_row(name: str, price: PlanPrice) -> tuple[str, ...]:
    return (
        name,
        format_si(1e-6 * price.energy_uj, "J"),
        format_si(1e-6 * price.latency_us, "s"),
        *(
            ", ".join(f"{core} {format_si(used[kind], 'B')}" for core, used in price.memory_bytes.items())
            for kind in MEMORIES
        ),
        " and ".join(price.time_provenance),
        price.gates,
    )
