"""Plans on the front of a search, measured where this host is all that they run on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch

from gatesearch._lib import console
from gatesearch.cost.factory import tools_in_one_line
from gatesearch.cost.sources.host import executable

if TYPE_CHECKING:
    from gatesearch.pipeline.steps import Run
    from gatesearch.plan import GatePlan

TIMES = "front_times.json"
SECONDS = 45.0  # for all plans, conversions included


def times(run: Run) -> dict[str, dict[str, float]]:
    """Return microseconds measured and predicted, by the plan's digest.

    Of one window that passes every gate, front end excluded. Plans have their turn by the recipe's rule, until
    :data:`SECONDS` are up; the gates are as the search places them, before training.
    """
    s, found, started = run.setting, dict[str, dict[str, float]](), time.monotonic()
    here = {core.name for core in s.device.cores if core.timing.model == "litert" and core.engine == "litert"}
    front = run.result.ranked(run.recipe.pick.objective) if run.result.front else []
    trials = [trial for trial in front if here.issuperset(trial.plan.cores)]
    if not trials:
        return found
    with console.progress(len(trials), "measure the front") as bar, tools_in_one_line():
        for trial in trials:
            if time.monotonic() - started < SECONDS:
                found[trial.plan.digest] = _time(run, trial.plan)
            bar.advance(note=trial.plan.digest)
    return found


def _time(run: Run, plan: GatePlan) -> dict[str, float]:
    s, model = run.setting, run.built(plan)
    with torch.no_grad():
        model.train()(run.calibration)  # ranges of quantisers, statistics of gates
        model.eval()
        for gate in model.layer_gates.values():
            gate.reset()
        model(run.calibration[:1])
    observed = {site: dict(gate.report()) for site, gate in model.layer_gates.items()}
    taken = executable.timed({"run": executable.assemble(model, run.calibration, s.device)}, run.calibration[:1])
    costs = [estimate.cost for estimate in run.cost.stages(plan, observed=observed)]
    slowdown = {core.name: core.timing.latency_us(1.0) for core in s.device.cores if core.timing.model == "litert"}
    predicted = sum(cost.latency_us / slowdown[cost.core] for cost in costs)
    return {"measured_us": taken.us["run"], "predicted_us": predicted}
