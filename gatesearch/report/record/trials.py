"""What a search leaves for people and programs while it goes on: the tables of trials, and all that is known so far."""

from __future__ import annotations

import datetime
import shlex
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from gatesearch._lib.revision import revision
from gatesearch.devices.profile import constants
from gatesearch.pipeline.study import Study
from gatesearch.report.record import layers
from gatesearch.search.engine import SearchResult
from gatesearch.search.evaluation import Objectives
from gatesearch.training import History

if TYPE_CHECKING:
    from gatesearch.pipeline.run_dir import RunFolder
    from gatesearch.pipeline.steps import Run
    from gatesearch.recipe import Recipe

TRIAL_COLUMNS = (
    "number",
    "state",
    "given_up_after",
    "digest",
    "accuracy",
    "expected_latency_us",
    "expected_energy_uj",
    "feasible",
    "on_front",
    "predicted_path_us",
    "measured_path_us",
    "plan",
)
BEGUN = "logs/begun.json"
ENGINE = "logs/engine.json"  # which engine searched, and why


def write_trials(
    folder: RunFolder, result: SearchResult, times: Mapping[str, Mapping[str, float]] | None = None
) -> list[dict[str, Any]]:
    """Write trials.csv and pareto.csv; returns the rows.

    Args:
        folder: where to.
        result: of the search.
        times: of plans that were measured, by digest, the time of a window that passes every gate.
    """
    rows = trial_rows(result, times or {})
    folder.write_csv("trials.csv", TRIAL_COLUMNS, rows)
    folder.write_csv("pareto.csv", TRIAL_COLUMNS, [row for row in rows if row["on_front"]])
    return rows


def trial_rows(result: SearchResult, times: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    """Return a row for each trial, in the columns of trials.csv."""
    front = {trial.number for trial in result.front}
    rows = []
    for trial in result.trials:
        o, timed = trial.objectives, times.get(trial.plan.digest, {})
        rows.append(
            {
                "number": trial.number,
                "state": trial.state,
                "given_up_after": trial.given_up,
                "digest": trial.plan.digest,
                "accuracy": None if o is None else o.accuracy,
                "expected_latency_us": None if o is None else o.latency_us,
                "expected_energy_uj": None if o is None else o.energy_uj,
                "feasible": trial.feasible,
                "on_front": trial.number in front,
                "predicted_path_us": timed.get("predicted_us"),
                "measured_path_us": timed.get("measured_us"),
                "plan": str(trial.plan),
            }
        )
    return rows


def reference_point(run: Run) -> Objectives:
    """Return what hypervolumes are measured against: no accuracy at all, at the cost of the ungated backbone."""
    rival = run.cost.ungated()[1]
    return Objectives(0.0, rival.expected_latency_us, rival.energy.total_uj)


def begun(run: Run) -> dict[str, Any]:
    """Return what is known of a run when its search begins."""
    s, recipe, cost = run.setting, run.recipe, run.cost
    plan, rival = cost.ungated()
    return {
        "recipe": recipe.name,
        "title": recipe.title,
        "goal": {"name": s.goal.name, "quality": s.goal.quality},
        "command": _command(run),
        "seed": recipe.seed,
        "created": _now(),
        "machine": dict(cost.table.fingerprint),
        "revision": revision(),
        "data": {
            "name": s.data.name,
            "source": s.data.source,
            "synthetic": s.data.synthetic,
            "train": len(s.data.train),
            "validation": len(s.data.validation),
            "test": len(s.data.test),
            "positive_share": float(s.features.positive[s.features.test.labels].float().mean()),
            "test_by_kind": counts_by_kind(run),
            "classes": list(s.data.classes),
            "positive": list(s.data.positive),
            "stream": dict(cost.shares),
            "period_s": cost.period_s,
        },
        "sites": [{key: value for key, value in asdict(site).items() if key != "node"} for site in s.space.sites],
        "layer_sites": [asdict(site) for site in s.layers],
        "layer_kinds": list(s.space.layers.kinds),
        "layer_figures": layers.heads(s.space.layers.kinds),
        "reference": {
            "macs": s.sites[0].macs_after,
            "params": s.sites[0].params_after,
            "core": plan.cores[0],
            "expected_latency_us": rival.expected_latency_us,
            "expected_energy_uj": rival.energy.total_uj,
        },
        "constants": [{"path": path, **constant.model_dump()} for path, constant in constants(s.device)],
    }


def so_far(recipe: Recipe, folder: RunFolder) -> dict[str, Any] | None:
    """Return the record of a run that has not ended, from its folder alone; None where record.json tells all."""
    result, ended = Study.of(recipe, folder).read(), folder.read_json("record.json")
    if ended is not None and len(ended["trials"]) == len(result.trials):
        return None
    opening = folder.read_json(BEGUN) or {"recipe": recipe.name, "title": recipe.title, "seed": recipe.seed}
    costs = opening.get("reference")
    reference = costs and Objectives(0.0, costs["expected_latency_us"], costs["expected_energy_uj"])
    trained = {name: folder.read_json(f"logs/{name}.json") for name in ("baseline", "ungated")}
    return opening | {
        "created": _now(),
        "unfinished": {"complete": len(result.tried), "wanted": recipe.search.trials},
        "trials": with_plans(trial_rows(result, {}), result),
        "hypervolume": result.hypervolume(reference) if reference else [],
        "engine": folder.read_json(ENGINE),
        "curves": curves({name: History(**curve) for name, curve in trained.items() if curve is not None}),
    }


def counts_by_kind(run: Run) -> dict[str, int]:
    """Return how many test windows there are of each kind."""
    s = run.setting
    return {name: int((s.features.test.kinds == i).sum()) for i, name in enumerate(s.data.kind_names)}


def with_plans(rows: list[dict[str, Any]], result: SearchResult) -> list[dict[str, Any]]:
    """Return rows of trials, each with its plan in full."""
    return [row | {"plan": trial.plan.to_dict()} for row, trial in zip(rows, result.trials, strict=True)]


def curves(histories: Mapping[str, History]) -> list[dict[str, Any]]:
    """Return learning curves as the report draws them."""
    return [
        {"name": name, "epochs": list(range(1, len(h.train_loss) + 1)), **asdict(h)} for name, h in histories.items()
    ]


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _command(run: Run) -> str:
    return shlex.join(["gatesearch", "run", f"recipe={run.folder / 'recipe.yaml'}"])
