"""Times plans of the front, and the best bundle on a stream, on the host (the machine that executes the run)."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import torch

from gatesearch._lib import console
from gatesearch.cost.artifacts import describe_artifacts
from gatesearch.cost.factory import tools_in_one_line
from gatesearch.cost.model import CostModel
from gatesearch.cost.sources.host import executable
from gatesearch.pipeline.export import UNGATED, UNGATED_AS_CONVERTED, PlanBundle, calibration_features
from gatesearch.pipeline.firmware import FirmwareRecord
from gatesearch.pipeline.pick import BestPlan
from gatesearch.pipeline.problem import Problem
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.pipeline.search import write_trials
from gatesearch.pipeline.stream_prices import price_details
from gatesearch.pipeline.training import Baseline, build_model
from gatesearch.plan import GatePlan
from gatesearch.runtime.bundle import Bundle
from gatesearch.runtime.stream_timing import StreamTiming, draw_windows, pick_fastest, time_stream
from gatesearch.search.result import SearchResult

STREAM_WINDOWS = 300  # number of windows in the stream on which the bundle is timed
FRONT_TIMES_FILE = "front_times.json"
FRONT_TIMEOUT_S = 45.0  # after this time no further plan is measured; converting models counts too
PathTimes = Mapping[str, Mapping[str, float]]


def measure_front(
    problem: Problem, baseline: Baseline, cost: CostModel, trials: SearchResult, folder: RunFolder
) -> PathTimes:
    """Return the measured and the predicted times [us] of plans of the front that run on the host alone, by digest.

    Each time is for one window that passes every gate, without the front end. The plans are measured with untrained
    gates, in the order of the recipe's objective, until :data:`FRONT_TIMEOUT_S` is over.
    """
    stored = folder.load(FRONT_TIMES_FILE, _parse_times, "the front is measured again")
    host = {core.name for core in problem.device.cores if core.timing.model == "litert" and core.engine == "litert"}
    front = trials.rank_plans(problem.recipe.pick.objective) if trials.front else []
    plans = [trial.plan for trial in front if host.issuperset(trial.plan.cores)]
    if not plans:
        return {}
    digests = [plan.digest for plan in plans]
    if stored is not None and stored.belong_to(digests):
        write_trials(trials, folder, stored.times)
        return stored.times
    times, started = dict[str, dict[str, float]](), time.monotonic()
    with console.progress(len(plans), "measure the front") as bar, tools_in_one_line():
        for plan in plans:
            if time.monotonic() - started < FRONT_TIMEOUT_S:
                times[plan.digest] = _measure_plan(plan, problem, baseline, cost)
            bar.advance(note=plan.digest)
    folder.write_json(FRONT_TIMES_FILE, {"front": digests, "times": times})
    write_trials(trials, folder, times)
    return times


def describe_front(times: PathTimes, trials: SearchResult) -> str:
    """Return a line with the median error of predicted times over the measured plans of the front."""
    errors = sorted(abs(row["predicted_us"] / row["measured_us"] - 1) for row in times.values())
    median = errors[len(errors) // 2]
    count = f"{len(errors)} of {len(trials.front)} plans of the front"
    return f"measured {count} on this host: predicted to {median:.0%} (median)"


def measure_stream(problem: Problem, bundle: PlanBundle, folder: RunFolder) -> StreamTiming:
    """Time the bundle and the fastest ungated .tflite on the same stream of windows, on the host."""
    test = problem.features.test.stream or problem.features.test
    windows = draw_windows(
        test.features,
        test.kinds,
        problem.data.kind_names,
        problem.shares,
        windows=STREAM_WINDOWS,
        seed=problem.recipe.seed,
    )
    engines = {core.name: "litert" for core in problem.device.cores}
    plain = folder.load(UNGATED_AS_CONVERTED, bytes, "the ungated network is timed only as gatesearch exports it")
    ungated = [(folder / UNGATED).read_bytes(), *([] if plain is None else [plain])]
    return time_stream(Bundle(bundle.path, engines), pick_fastest(ungated), windows)


def warn_of_engines(cost: CostModel, best: BestPlan, firmware: FirmwareRecord | None = None) -> None:
    """Warn if the best plan's files need another engine than its price assumes.

    Firmware runs gatesearch's kernels, which the price of a microcontroller assumes. If it holds the whole plan, the
    lines are no warnings: they say what the .tflite files cost instead.

    Args:
        cost: the cost model of the plan's device.
        best: the best plan, with its pass rates and gate reports from the search.
        firmware: the firmware of the plan, if it has one; it is a program for one core.
    """
    details = best.trial.details
    if "passed" not in details:
        return
    plan = best.trial.plan
    price = partial(price_details, plan=plan, details=details)
    lines = list(describe_artifacts(cost, plan, details["passed"], details["layers"], price))
    if firmware is None or len(set(plan.cores)) > 1:
        for line in lines:
            console.warn(line)
    elif lines:
        console.say(f"{firmware.folder} runs the kernels that the price assumes; with the .tflite files instead:")
        for line in lines:
            console.say(line)


class _StoredTimes(NamedTuple):
    """The times of a front, and the digests of its plans; None in files of older versions."""

    front: list[str] | None
    times: PathTimes

    def belong_to(self, front: list[str]) -> bool:
        """Return whether the times are of this front, which more trials change."""
        if self.front is None:
            return list(self.times) == front[: len(self.times)]
        return self.front == front


def _parse_times(text: bytes) -> _StoredTimes:
    stored = json.loads(text)
    front, times = (stored["front"], stored["times"]) if "front" in stored else (None, stored)
    rows = {plan: {name: float(us) for name, us in row.items()} for plan, row in times.items()}
    return _StoredTimes(front, rows)


def _measure_plan(plan: GatePlan, problem: Problem, baseline: Baseline, cost: CostModel) -> dict[str, float]:
    """Return the measured and the predicted time of one plan on the host, in microseconds."""
    model, calibration = build_model(plan, problem, baseline), calibration_features(problem)
    with torch.no_grad():
        model.train()(calibration)  # sets the ranges of quantisers and the statistics of gates
        model.eval()
        for gate in model.layer_gates.values():
            gate.reset()
        model(calibration[:1])
    observed = {site: dict(gate.report()) for site, gate in model.layer_gates.items()}
    timed = executable.time_models({"run": executable.assemble(model, calibration, problem.device)}, calibration[:1])
    costs = [estimate.cost for estimate in cost.stages(plan, observed=observed)]
    # The device profile may say that a core is slower than the host by a factor. The predicted times are divided by
    # this factor, so that they can be compared with times measured on the host.
    slowdown = {c.name: c.timing.latency_us(1.0) for c in problem.device.cores if c.timing.model == "litert"}
    predicted = sum(part.latency_us / slowdown[part.core] for part in costs)
    return {"measured_us": timed.us["run"], "predicted_us": predicted}
