"""`gatesearch bench vit_gc data.root=DIR`: Gated Compression on a keyword transformer.

Prevalence is the share of positives in the stream. The page gives figures for several prevalences. Each seed is one
ordinary run of recipes/kws_vit_gc.yaml, on real speech with ``data.root``, else on synthetic speech. The page compares
the figures with arXiv 2405.01739. That paper claims, in theory and without a measurement, that gates make always-on
models 158 to 30,000 times as power-efficient.
"""

from __future__ import annotations

from gatesearch._lib import console
from gatesearch.recipe import load
from gatesearch.report.rows import print_rows
from results.arguments import split_seeds
from results.benchmark import public_command
from results.vit_gc import measure
from results.vit_gc.measure import REAL, RECIPE, RUNS
from results.vit_gc.page import KeywordTransformer
from results.whole_runs import SPEECH

SEEDS = (0,)


def main(arguments: list[str]) -> None:
    """Make the missing run of every seed, then write results/vit_gc.

    Args:
        arguments: ``data.root=DIR``, a folder of real speech (default: synthetic speech); ``seeds=0``; any key of the
            recipe.

    Raises:
        UserError: an argument is wrong.
    """
    seeds, overrides = split_seeds("bench vit_gc", arguments, SEEDS)
    real = any(text.startswith("data.root=") for text in overrides)
    name, settings = ("real", REAL) if real else ("synthetic", ())
    outcomes = {}
    for seed in seeds:
        recipe = load(RECIPE, [*settings, *overrides, f"seed={seed}"])  # the user's settings come last
        outcomes[seed] = measure.measure(RUNS / f"{name}-{seed}", recipe)
    benchmark = KeywordTransformer(public_command("vit_gc", arguments, SPEECH), outcomes, settings)
    path = benchmark.publish()
    print_rows("vit_gc", benchmark.rows())
    console.say(f"wrote {path}")
