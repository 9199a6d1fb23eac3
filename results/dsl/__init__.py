"""`gatesearch bench dsl esc10=FILE fsdd=FILE speech=DIR`: Dynamic Switch Layers in an audio codec.

A switch in the codec sends easy windows to a small decoder, the light path. The sounds have no labels. For each data
set and each seed, there is one ordinary run of recipes/codec_dsl.yaml. A finished run is not repeated, and an
interrupted run continues where it stopped. The page is written after each run. Without a data set, the sounds are
synthetic.
"""

from __future__ import annotations

from gatesearch._lib import console
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.recipe import load
from results.arguments import split_data_sets
from results.benchmark import public_command, resume
from results.dsl import measure
from results.dsl.measure import DATA_SETS, OUTCOME, RECIPE, SYNTHETIC
from results.dsl.page import Codec


def main(arguments: list[str]) -> None:
    """Run the recipe for every data set and seed without a finished run; write results/dsl after each run.

    Args:
        arguments: ``esc10=FILE``, ``fsdd=FILE`` and ``speech=DIR``, the paths of data sets; ``seeds=0,1,2``; any key of
            the recipe.

    Raises:
        UserError: an argument is wrong, or a folder holds a run of another recipe.
    """
    roots, seeds, overrides = split_data_sets("bench dsl", arguments, DATA_SETS)
    command = public_command("dsl", arguments, DATA_SETS)
    data_sets = {name: [f"data.root={root}"] for name, root in roots.items()} or {SYNTHETIC: []}
    recipes = []
    for name, root in data_sets.items():
        for seed in seeds:
            recipes.append((f"{name}-{seed}", load(RECIPE, [*root, *overrides, f"seed={seed}"])))
    for name, recipe in recipes:
        folder = RunFolder(Codec.runs().path / name)
        resume(folder, OUTCOME, lambda r=recipe, f=folder: {**measure.measure(r, f), "command": command})  # type: ignore[misc]
        path = Codec(command, measure.read_outcomes(Codec.runs())).publish()
    console.say(f"wrote {path}")
