"""Runs the wake-word recipe on scenes of recordings, and collects the figures of the test stream."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from gatesearch.errors import UserError
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.recipe import Recipe, load
from results.whole_runs import finish_run

RECIPE = "wake_word.yaml"
DEVICE = "three_core"  # device of the page's main figures
OUTCOME = "outcome.json"
# Word that replaces the user's own path in published commands, by argument.
SOURCES: Mapping[str, str] = {"words": "SPEECH_COMMANDS", "talk": "SPEECH_NEGATIVES", "sounds": "esc10.npz"}
# Settings of the recipe for hours of recordings. The recipe itself is for a run of minutes on synthetic speech.
REAL = (
    "data.hours={train: 3.0, validation: 2.0, test: 2.0}",
    "data.windows=16000",
    "training.batch_size=128",
    "training.epochs=16",
    "retrain.epochs=6",
    "backbone_args.width=64",
    "stream.fa_per_hour=6.0",
    "constraints.max_miss_rise=0.02",
)
SUMMARY_KEYS = ("title", "data", "baseline", "best", "search", "stream", "listening", "seconds", "warnings")
RATES = (2.0, 12.0)  # false accepts per hour at which the page gives the misses of the ungated detector's DET curve

Outcome = Mapping[str, Any]


def load_recipe(roots: Mapping[str, str], seed: int, overrides: Sequence[str]) -> Recipe:
    """Return the recipe of a seed; its scenes are mixed from recordings if their paths are given.

    Raises:
        UserError: some of the three paths are given, but not all; or an override is wrong.
    """
    seeds = [f"seed={seed}", f"data.seed={seed}"]
    on_device = f"device={DEVICE}"
    if not roots:
        return load(RECIPE, [on_device, *overrides, *seeds])
    for name in SOURCES:
        if name not in roots:
            raise UserError(f"bench streams: {name}: wanted: {name}={SOURCES[name]} beside {', '.join(sorted(roots))}")
    sources = [
        {"kind": "folders", "name": "words", "root": roots["words"], "events": ["stop"]},
        {"kind": "recordings", "name": "talk", "root": roots["talk"], "background": "speech"},
        {"kind": "archive", "name": "sounds", "root": roots["sounds"]},
        {"kind": "synthetic_noise", "seed": seed},
    ]
    return load(RECIPE, [f"data.sources={json.dumps(sources)}", on_device, *REAL, *overrides, *seeds])


def measure(recipe: Recipe, folder: RunFolder) -> dict[str, Any]:
    """Run the recipe to its end and return the figures of the run."""
    finish_run(folder.path, recipe)
    summary = folder.read_json("summary.json")
    return {key: summary[key] for key in SUMMARY_KEYS if key in summary}


def read_outcomes(runs: RunFolder) -> dict[str, Outcome]:
    """Return the outcomes of all finished runs, by the name of the run."""
    paths = sorted(runs.path.glob(f"*/{OUTCOME}"))
    return {path.parent.name: RunFolder(path.parent).read_json(OUTCOME) for path in paths}


def misses_at(curve: Mapping[str, Sequence[float]], rate: float) -> float | None:
    """Return the lowest miss rate of a DET curve at up to ``rate`` false accepts per hour; None without such a point.

    >>> misses_at({"fa_per_hour": [30.0, 4.0, 0.0], "miss_rate": [0.02, 0.1, 0.4]}, 12.0)
    0.1
    """
    pairs = zip(curve["fa_per_hour"], curve["miss_rate"], strict=True)
    return min((miss for own, miss in pairs if own <= rate), default=None)
