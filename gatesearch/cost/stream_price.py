"""The price of a plan over a stream, if its parts run by hops and catch up when their gates open.

A part is the front end or a stage. A part that runs by hops computes only the new frames of a window at each hop. Let a
part run at a share ``r`` of the hops, and let its gate open at a share ``o`` of the hops. Its mean cost per hop is

    o (cost of a whole window) + (r - o) (cost of a hop)

because the part computes a whole window at the hop at which its gate opens. A part that always runs has ``o`` = 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from gatesearch.cost.energy import EnergyBreakdown, StageCost, expected_energy, expected_latency_us, longest_latency_us
from gatesearch.cost.price import ExitEstimate, Price, StageEstimate
from gatesearch.cost.utilisation import mean_utilisation, worst_utilisation
from gatesearch.devices.profile import Device
from gatesearch.metrics.streams.activity import STEADY, Activity


class WindowAndHop(NamedTuple):
    """A figure of a whole window, and the same figure of a hop."""

    window: float
    hop: float

    def expect(self, activity: Activity) -> float:
        """Return the mean of the figure over all hops.

        >>> WindowAndHop(window=200.0, hop=10.0).expect(Activity(open_share=0.5, openings=0.25))
        52.5
        """
        return activity.openings * self.window + (activity.open_share - activity.openings) * self.hop

    def longest(self, activity: Activity) -> float:
        """Return the figure of the longest hop: the larger of the two figures, unless the part never catches up."""
        return self.hop if activity == STEADY else max(self)


class _Run(NamedTuple):
    """One program, and the share of the hops at which it runs."""

    stage: int
    cost: StageCost
    macs: float
    share: float
    is_exit: bool = False


def price_by_hops(
    windows: Sequence[StageEstimate],
    hops: Sequence[StageEstimate],
    activities: Sequence[Activity],
    *,
    device: Device,
    frontend_us: WindowAndHop,
    period_s: float,
    phases: int = 1,
) -> Price:
    """Return the price of a plan's stages over a stream.

    If a gate with an exit stops a hop, the exit runs on the whole window. So an exit runs at the hops at which its
    stage runs and the next stage does not.

    Args:
        windows: the stages, each priced for a whole window.
        hops: the same stages, each priced for a hop.
        activities: the activity of the front end, followed by that of each stage.
        device: the device, with its cores and the power of its sensor.
        frontend_us: time of the front end, in microseconds.
        period_s: seconds from hop to hop.
        phases: number of states that take turns in each stage; every state catches up when the stage's gate opens.

    Raises:
        ValueError: the numbers of stages and activities differ.
    """
    frontend, *own = activities
    if len(own) != len(windows):
        raise ValueError(f"{len(windows)} stages have {len(own)} activities, beside that of the front end")
    own = [Activity(each.open_share, min(each.open_share, phases * each.openings)) for each in own]
    runs = [*_stage_runs(windows, hops, own), *_exit_runs(windows, own)]
    costs, shares = [run.cost for run in runs], [run.share for run in runs]
    sense = device.core(device.sense.core)
    frontend_mean_us = frontend_us.expect(frontend)
    energy = expected_energy(
        costs,
        shares,
        idle_mw=device.resting_mw,
        period_s=period_s,
        sense_core=sense.name,
        sense_uj=device.sense.window_uj(period_s),
        frontend_uj=device.added_uj(sense, frontend_mean_us),
    )
    by_run = list(zip(runs, energy.by_stage, strict=True))
    by_stage = tuple(
        _add(terms for run, terms in by_run if run.stage == k and not run.is_exit) for k in range(len(windows))
    )
    period_us = period_s * 1e6
    steady = [estimate.cost for estimate in hops]
    slowest = [
        hop.cost if activity == STEADY else max(window.cost, hop.cost, key=lambda cost: cost.total_us)
        for window, hop, activity in zip(windows, hops, own, strict=True)
    ]
    exits = {k: estimate.exit for k, estimate in enumerate(windows) if estimate.exit is not None}
    return Price(
        reach=tuple(activity.open_share for activity in own),
        expected_macs=sum(run.share * run.macs for run in runs),
        expected_latency_us=expected_latency_us(costs, shares, frontend_mean_us),
        longest_latency_us=max(
            longest_latency_us(path, frontend_us.longest(frontend)) for path in _paths(slowest, exits)
        ),
        energy=EnergyBreakdown(energy.by_term, energy.by_core, by_stage),
        exits={run.stage: terms for run, terms in by_run if run.is_exit},
        utilisation=mean_utilisation(costs, shares, period_us, {sense.name: frontend_mean_us}),
        # The worst case is a gate that stays open. A catch-up delays a core once; later hops make up for it.
        worst_utilisation=worst_utilisation(_paths(steady, exits), period_us, {sense.name: frontend_us.hop}),
    )


def _stage_runs(
    windows: Sequence[StageEstimate], hops: Sequence[StageEstimate], activities: Sequence[Activity]
) -> Iterator[_Run]:
    for k, (window, hop, activity) in enumerate(zip(windows, hops, activities, strict=True)):
        yield _Run(k, window.cost, window.macs, activity.openings)
        yield _Run(k, hop.cost, hop.macs, activity.open_share - activity.openings)


def _exit_runs(windows: Sequence[StageEstimate], activities: Sequence[Activity]) -> Iterator[_Run]:
    for k, (estimate, (activity, after)) in enumerate(zip(windows, pairwise(activities), strict=False)):
        if estimate.exit is not None:
            share = max(0.0, activity.open_share - after.open_share)
            yield _Run(k, estimate.exit.cost, estimate.exit.macs, share, is_exit=True)


def _paths(stages: Sequence[StageCost], exits: Mapping[int, ExitEstimate]) -> list[list[StageCost]]:
    """Return each path of a window: all stages; and for each exit the stages up to it, followed by the exit."""
    return [list(stages), *([*stages[: k + 1], exit.cost] for k, exit in exits.items())]


def _add(rows: Iterator[Mapping[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for row in rows:
        for term, value in row.items():
            total[term] = total.get(term, 0.0) + value
    return total
