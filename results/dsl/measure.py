"""Runs an audio codec's recipe for the ``dsl`` benchmark (dynamic switch layers), and collects the run's figures.

One of these figures is the fidelity at each share of windows that take the light path.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from gatesearch.gates import cut_gates
from gatesearch.pipeline.result import RunResult
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.recipe import Recipe
from gatesearch.training import gate_logits, path_errors
from results.whole_runs import finish_run

RECIPE = "codec_dsl.yaml"
# Data sets, each with the word that replaces the user's own path in published commands.
DATA_SETS = {"esc10": "ESC10.npz", "fsdd": "FSDD.npz", "speech": "SPEECH_COMMANDS"}
SYNTHETIC = "synthetic"
OUTCOME = "outcome.json"
LIGHT_SHARES = torch.linspace(0, 1, 41)

Outcome = Mapping[str, Any]


def measure(recipe: Recipe, folder: RunFolder) -> dict[str, Any]:
    """Run the recipe to its end and return the figures of the run."""
    run = finish_run(folder.path, recipe)
    summary, record = folder.read_json("summary.json"), folder.read_json("record.json")
    energy = record["energy"]
    validation = run.problem.goal.assess(run.model, run.problem.features.validation)
    return {
        "data": summary["data"],
        "plan": summary["best"]["plan"],
        "baseline": summary["baseline"],
        "best": summary["best"],
        "parity": summary["export"]["parity"],
        "streaming": summary["streaming"],
        "seconds": summary["seconds"],
        "compute_uj": energy["by_term"]["compute"],
        "ungated_compute_uj": energy["ungated_by_term"]["compute"],
        "validation_share": validation.gated_summary()["light_share"],
        "curve": _curve(run),
    }


def read_outcomes(runs: RunFolder) -> dict[str, dict[int, Outcome]]:
    """Return the outcomes of all finished runs, by data set and seed."""
    outcomes: dict[str, dict[int, Outcome]] = {}
    for name in (*DATA_SETS, SYNTHETIC):
        for path in sorted(runs.path.glob(f"{name}-*/{OUTCOME}")):
            seed = int(path.parent.name.rpartition("-")[2])
            outcomes.setdefault(name, {})[seed] = RunFolder(path.parent).read_json(OUTCOME)
    return outcomes


@torch.no_grad()
def _curve(run: RunResult) -> dict[str, list[float]]:
    """Return the fidelity on test windows at each light share, for three ways to choose the light windows.

    The light share is the share of windows on the light path. ``switch`` chooses the windows with the smallest logits
    of the first gate. ``lot`` is the expectation over a random choice. ``known`` chooses the windows whose error grows
    least on the light path. This choice needs the errors of both paths, so no switch can be better. Fidelity is
    1 - error / error of silence.
    """
    if not cut_gates(run.model.plan):
        return {}
    windows = run.problem.features.test.features
    errors = path_errors(run.model, windows)[:, [0, -1]].double()
    order = gate_logits(run.model, windows)[:, 0].argsort()
    silence = run.problem.goal.scores(torch.zeros_like(windows), windows, torch.zeros(0))[1].double().mean()
    counts = (LIGHT_SHARES * len(order)).round().long()
    light, heavy = errors.unbind(1)
    random_errors = heavy.mean() + LIGHT_SHARES * (light.mean() - heavy.mean())
    routed = {
        "switch": _mean_errors(errors[order], counts),
        "lot": random_errors,
        "known": _mean_errors(errors[(light - heavy).argsort()], counts),
    }
    return {"share": LIGHT_SHARES.tolist(), **{name: (1 - e / silence).tolist() for name, e in routed.items()}}


def _mean_errors(errors: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """Return, for each count, the mean error if the first ``count`` windows take the light path, [counts].

    Args:
        errors: errors of each window on both paths, [windows, (light, heavy)].
        counts: numbers of light windows, [counts].

    >>> _mean_errors(torch.tensor([[2.0, 1.0], [4.0, 3.0]]), torch.tensor([0, 1, 2])).tolist()
    [2.0, 2.5, 3.0]
    """
    light, heavy = errors.unbind(1)
    return torch.stack([(light[:n].sum() + heavy[n:].sum()) / len(errors) for n in counts])
