"""`gatesearch bench kws data.root=DIR`: the keyword spotter on real speech over three seeds, beside the synthetic run.

Each seed is one ordinary run of recipes/kws.yaml. Three plans are compared, all retrained from the same baseline by the
same schedule: no gates; the plan that the search picked; and one gate three blocks deep, which
the search does not choose, because an earlier probe measured that gate.
"""

from __future__ import annotations

from gatesearch._lib import console
from gatesearch.recipe import load
from gatesearch.report.rows import print_rows
from results.arguments import split_seeds
from results.benchmark import public_command
from results.kws import measure
from results.kws.measure import REAL, RECIPE
from results.kws.page import KeywordSpotting
from results.whole_runs import SPEECH

SEEDS = (0, 1, 2)


def main(arguments: list[str]) -> None:
    """Run every seed that is not done yet, then write results/kws.

    Args:
        arguments: ``data.root=DIR``, real speech, synthetic where it is not given; ``seeds=0,1,2``; any key of the
            recipe.

    Raises:
        UserError: an argument is wrong.
    """
    seeds, overrides = split_seeds("bench kws", arguments, SEEDS)
    synthetic_overrides = [text for text in overrides if not text.startswith("data.root=")]
    real = {}
    if len(synthetic_overrides) < len(overrides):
        for seed in seeds:
            real[seed] = measure.measure(f"real-{seed}", load(RECIPE, [*REAL, *overrides, f"seed={seed}"]))
    synthetic = measure.measure("synthetic", load(RECIPE, synthetic_overrides))
    benchmark = KeywordSpotting(public_command("kws", arguments, SPEECH), real, synthetic)
    path = benchmark.publish()
    print_rows("kws", benchmark.rows())
    console.say(f"wrote {path}")
