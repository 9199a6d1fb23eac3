"""`gatesearch bench hmd_runs speech=DIR har=FILE`: runs two recipes that compress recurrent networks.

The recipes are kws_lstm_hmd.yaml (keywords) and har_hmd.yaml (human activities). For each recipe and seed, there is one
ordinary run. A finished run is not repeated, and an interrupted run continues where it stopped. The page is written
after each run. Without recordings the data are synthetic, and the page says so.
"""

from __future__ import annotations

from gatesearch._lib import console
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.recipe import load
from results.arguments import split_data_sets
from results.benchmark import public_command
from results.hmd.protocol import DATA_SETS
from results.hmd_runs import measure
from results.hmd_runs.measure import OUTCOME, RECIPES
from results.hmd_runs.page import RecurrentRecipes


def main(arguments: list[str]) -> None:
    """Make the missing runs of the two recipes; write results/hmd_runs after each run.

    Args:
        arguments: ``speech=DIR`` and ``har=FILE``, the paths of recordings; ``seeds=0,1``; any key of the recipes.

    Raises:
        UserError: an argument is wrong, or a folder holds a run of another recipe.
    """
    roots, seeds, overrides = split_data_sets("bench hmd_runs", arguments, RECIPES)
    command = public_command("hmd_runs", arguments, DATA_SETS)
    runs = RecurrentRecipes.runs()
    for key, recipe in RECIPES.items():
        root = [f"data.root={roots[key]}"] if key in roots else []
        for seed in seeds:
            folder = RunFolder(runs.path / (f"{key}-{seed}" if root else f"{key}-synthetic-{seed}"))
            if folder.read_json(OUTCOME) is None:
                outcome = measure.measure(load(recipe, [*root, *overrides, f"seed={seed}"]), folder)
                folder.write_json(OUTCOME, {**outcome, "recipe": recipe, "command": command})
            path = RecurrentRecipes(command, measure.read_outcomes(runs)).publish()
    console.say(f"wrote {path}")
