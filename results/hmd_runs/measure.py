"""Runs a recipe that compresses a recurrent network, collects its figures, and times one step of its layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gatesearch.kernels import status
from gatesearch.pipeline.result import RunResult
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.recipe import Recipe
from results.hmd import latency
from results.whole_runs import finish_run

RECIPES: Mapping[str, str] = {"speech": "kws_lstm_hmd.yaml", "har": "har_hmd.yaml"}
OUTCOME = "outcome.json"
SUMMARY_KEYS = ("data", "baseline", "best", "search", "streaming", "seconds")

Outcome = Mapping[str, Any]


def measure(recipe: Recipe, folder: RunFolder) -> dict[str, Any]:
    """Run the recipe to its end; return its figures, and the times of one step of the ungated network and the plan."""
    run = finish_run(folder.path, recipe)
    summary, split = folder.read_json("summary.json"), run.problem.features.validation
    runtime = latency.runtime()
    steps = latency.measure({"ungated": run.ungated, "plan": run.model}, runtime)
    goal = run.problem.goal
    return {
        **{key: summary[key] for key in SUMMARY_KEYS},
        "parity": summary["export"]["parity"],
        "validation": {
            "ungated": goal.assess(run.ungated, split).value,
            "plan": goal.assess(run.model, split).value,
        },
        "bar": recipe.constraints.max_accuracy_drop,
        "space": len(run.problem.space),
        "front": _front(run),
        "step": {name: {"minimum_us": t.minimum_us, "median_us": t.median_us} for name, t in steps.items()},
        "runtime": {"name": runtime, "kernels": status()},
    }


def read_outcomes(runs: RunFolder) -> dict[str, Outcome]:
    """Return the outcomes of all finished runs, by the name of the run."""
    paths = sorted(runs.path.glob(f"*/{OUTCOME}"))
    return {path.parent.name: RunFolder(path.parent).read_json(OUTCOME) for path in paths}


def _front(run: RunResult) -> list[dict[str, Any]]:
    """Return the plans on the front of the search, the fastest first."""
    plans = []
    for trial in run.trials.front:
        if trial.objectives is not None:
            objectives = trial.objectives
            plans.append({"plan": str(trial.plan), "accuracy": objectives.accuracy, "us": objectives.latency_us})
    return sorted(plans, key=lambda plan: plan["us"])
