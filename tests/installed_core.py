"""Checks that an installed wheel works without extras; .ci/wheel.sh runs it outside the checkout."""

from __future__ import annotations

import sys
from pathlib import Path

import gatesearch
from gatesearch.cli import app

assert Path(gatesearch.__file__).is_relative_to(sys.prefix), f"{gatesearch.__file__} is not the installed wheel"
assert app.main(["--help"]) == 0
assert "torch" not in sys.modules, "import gatesearch and --help load torch"

import optuna  # noqa: E402 # imported after the checks above, which must pass without it
import torch  # noqa: E402
from torch import nn  # noqa: E402

from gatesearch import GatePlan, GateSampler  # noqa: E402
from gatesearch.graph.sites import cut_sites  # noqa: E402
from gatesearch.search import build_space  # noqa: E402

TRIALS = 12

backbone = nn.Sequential(
    nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)
)
sites = cut_sites(backbone, torch.zeros(1, 1, 12, 10))
space = build_space(
    sites,
    cores=("mcu", "npu"),
    kinds={"gc": {"mode": ["channel"], "keep": [0.5, 1.0], "recall": [0.99]}},
    max_gates=2,
)


def stage_costs(plan: GatePlan) -> list[tuple[float, float]]:
    """Return pairs of latency and energy: first of the part that always runs, then of each stage."""
    return [(1.0, 1.0), *((10.0, 10.0 if core == "mcu" else 20.0) for core in plan.cores)]


def objective(trial: optuna.Trial) -> tuple[float, float, float]:
    """Return a made-up accuracy, and latency and energy summed over all stages."""
    plan = space.propose(trial)
    latency, energy = (sum(column) for column in zip(*stage_costs(plan), strict=True))
    return 0.9 - 0.01 * len(plan.gates), latency, energy


optuna.logging.set_verbosity(optuna.logging.ERROR)
sampler = GateSampler(space, stage_costs, shares={"positive": 0.1, "negative": 0.9}, seed=0)
study = optuna.create_study(directions=["maximize", "minimize", "minimize"], sampler=sampler)
study.optimize(objective, n_trials=TRIALS)
assert len(study.trials) == TRIALS and all(trial.values for trial in study.trials)
print(f"GateSampler: {TRIALS} trials over {len(sites)} cut sites, {len(study.best_trials)} on the front")
