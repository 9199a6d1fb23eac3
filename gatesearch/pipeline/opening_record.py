"""Builds the first part of a run's record, when its search starts, and the record of an unfinished run."""

from __future__ import annotations

import datetime
import json
import shlex
from dataclasses import asdict
from typing import Any

from gatesearch._lib import console
from gatesearch._lib.revision import revision
from gatesearch.cost.model import CostModel
from gatesearch.devices.profile import list_constants
from gatesearch.pipeline.problem import Problem
from gatesearch.pipeline.results_check import read_trials
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.recipe import Recipe
from gatesearch.report.page import parse_record
from gatesearch.report.record import layers
from gatesearch.report.record.trials import add_plans, learning_curves, trial_rows
from gatesearch.search.evaluation import Objectives
from gatesearch.training import History

OPENING_FILE = "logs/begun.json"


def opening_record(problem: Problem, cost: CostModel, folder: RunFolder) -> dict[str, Any]:
    """Return the part of a run's record that can be written when its search starts."""
    recipe, data = problem.recipe, problem.data
    plan, ungated = cost.ungated()
    return {
        "recipe": recipe.name,
        "title": recipe.title,
        "goal": {"name": problem.goal.name, "quality": problem.goal.quality},
        "command": shlex.join(folder.command),
        "seed": recipe.seed,
        "created": _now(),
        "machine": dict(cost.table.fingerprint),
        "revision": revision(),
        "data": {
            "name": data.name,
            "source": data.source,
            "synthetic": data.synthetic,
            "train": len(data.train),
            "validation": len(data.validation),
            "test": len(data.test),
            "positive_share": float(problem.features.positive[problem.features.test.labels].float().mean()),
            "test_by_kind": count_test_windows(problem),
            "classes": list(data.classes),
            "positive": list(data.positive),
            "stream": dict(cost.shares),
            "period_s": cost.period_s,
        },
        "sites": [
            {key: value for key, value in asdict(site).items() if key != "node"} for site in problem.space.cut_sites
        ],
        "layer_sites": [asdict(site) for site in problem.layers],
        "layer_kinds": list(problem.space.layer_kinds),
        "layer_figures": layers.figure_headings(problem.space.layer_kinds),
        "reference": {
            "macs": problem.sites[0].macs_after,
            "params": problem.sites[0].params_after,
            "core": plan.cores[0],
            "expected_latency_us": ungated.expected_latency_us,
            "expected_energy_uj": ungated.energy.total_uj,
        },
        "constants": [{"path": path, **constant.model_dump()} for path, constant in list_constants(problem.device)],
    }


def unfinished_record(recipe: Recipe, folder: RunFolder) -> dict[str, Any] | None:
    """Return the record of an unfinished run, built from its folder alone; None if record.json is complete."""
    trials = read_trials(recipe, folder)
    finished = folder.read("record.json", _parse_finished)
    if finished is not None and len(finished["trials"]) == len(trials.trials):
        return None
    opening = folder.read(OPENING_FILE, parse_record) or {
        "recipe": recipe.name,
        "title": recipe.title,
        "seed": recipe.seed,
    }
    costs = opening.get("reference")
    reference = costs and Objectives(0.0, costs["expected_latency_us"], costs["expected_energy_uj"])
    return opening | {
        "created": _now(),
        "unfinished": {"complete": len(trials.trained), "wanted": recipe.search.trials},
        "trials": add_plans(trial_rows(trials, {}), trials),
        "hypervolume": trials.hypervolume(reference) if reference else [],
        "curves": learning_curves(read_histories(folder, {"baseline": "baseline", "ungated": "ungated"})),
        "warnings": folder.warnings(),
    }


def reference_point(cost: CostModel) -> Objectives:
    """Return the reference point of hypervolumes: an accuracy of 0 at the cost of the ungated backbone."""
    ungated = cost.ungated()[1]
    return Objectives(0.0, ungated.expected_latency_us, ungated.energy.total_uj)


def count_test_windows(problem: Problem) -> dict[str, int]:
    """Return the number of test windows of each kind."""
    kinds = problem.features.test.kinds
    return {name: int((kinds == index).sum()) for index, name in enumerate(problem.data.kind_names)}


def read_histories(folder: RunFolder, files: dict[str, str]) -> dict[str, History]:
    """Return the learning curves in the folder, by name; ``files`` maps each curve's name to its file under logs/."""
    remedy = "the report has no such learning curve"
    curves = {}
    for name, file in files.items():
        path = f"logs/{file}.json"
        if folder.checksums.expected_digests(path) and not (folder.path / path).exists():
            console.warn(f"{folder.path / path}: is missing, and the run wrote it; {remedy}")
        elif (curve := folder.load(path, _parse_history, remedy)) is not None:
            curves[name] = curve
    return curves


def _parse_finished(content: bytes) -> dict[str, Any]:
    record = parse_record(content)
    if not isinstance(record.get("trials"), list):
        raise ValueError("it lists no trials")
    return record


def _parse_history(text: bytes) -> History:
    return History(**json.loads(text))


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
