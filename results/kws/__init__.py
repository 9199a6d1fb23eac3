"""`gatesearch bench kws data.root=DIR`: Gated Compression on a keyword spotter.

A run of recipes/kws_clips.yaml on synthetic speech is always part of the benchmark. ``data.root`` adds a run on real
speech for each seed. In each run, the benchmark compares three plans, which are retrained in the same way from the same
baseline: no gates, the plan that the search picked, and one gate after the third block. The search does not choose the
third plan. An earlier experiment measured this plan, and the benchmark repeats it.
"""

from __future__ import annotations

from gatesearch._lib import console
from gatesearch.recipe import load
from gatesearch.report.rows import print_rows
from results.arguments import split_seeds
from results.benchmark import public_command
from results.kws import measure
from results.kws.measure import DEVICE, REAL, RECIPE
from results.kws.page import KeywordSpotting
from results.whole_runs import SPEECH

SEEDS = (0, 1, 2)


def main(arguments: list[str]) -> None:
    """Make the missing run of every seed, then write results/kws.

    Args:
        arguments: ``data.root=DIR``, a folder of real speech (default: synthetic speech alone); ``seeds=0,1,2``; any
            key of the recipe.

    Raises:
        UserError: an argument is wrong.
    """
    seeds, overrides = split_seeds("bench kws", arguments, SEEDS)
    synthetic_overrides = [text for text in overrides if not text.startswith("data.root=")]
    real = {}
    if len(synthetic_overrides) < len(overrides):
        for seed in seeds:
            real[seed] = measure.measure(f"real-{seed}", load(RECIPE, [*DEVICE, *REAL, *overrides, f"seed={seed}"]))
    synthetic = measure.measure("synthetic", load(RECIPE, [*DEVICE, *synthetic_overrides]))
    benchmark = KeywordSpotting(public_command("kws", arguments, SPEECH), real, synthetic)
    path = benchmark.publish()
    print_rows("kws", benchmark.rows())
    console.say(f"wrote {path}")
