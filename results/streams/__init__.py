"""`gatesearch bench streams words=DIR talk=DIR sounds=FILE`: a wake-word detector on streams.

Each seed is one run of recipes/wake_word.yaml on scenes, which are streams mixed from recordings. The events are the
word "stop" of Speech Commands. The background is other words, orders spoken to a coffee machine, environmental sounds,
music and noise. No recording is in two splits, and no speaker of Speech Commands is in two splits. Without the three
paths, the scenes are of synthetic speech, and the page says so. With ``device=NAME``, the runs are on that device and
have a section of their own.
"""

from __future__ import annotations

from pathlib import Path

from gatesearch._lib import console
from gatesearch.pipeline.run_dir import RunFolder
from results.arguments import split_data_sets
from results.benchmark import public_command, revision
from results.streams import measure
from results.streams.measure import DEVICE, OUTCOME, SOURCES
from results.streams.page import Streams


def main(arguments: list[str]) -> None:
    """Run the recipe for each seed without a result, and write results/streams after each seed.

    Args:
        arguments: ``words=DIR``, the folder of Speech Commands; ``talk=DIR``, a folder of recorded speech without a
            command word; ``sounds=FILE``, ESC-10 as .npz; ``device=NAME``; ``seeds=0,1,2``; any key of the recipe.

    Raises:
        UserError: an argument is wrong, only one or two of the three paths are given, or a folder holds a run of
            another recipe.
    """
    roots, seeds, overrides = split_data_sets("bench streams", arguments, SOURCES, recipe_keys=("device",))
    command = public_command("streams", arguments, SOURCES)
    runs = Streams.runs()
    for seed in seeds:
        recipe = measure.load_recipe(roots, seed, overrides)
        folder = RunFolder(runs.path / f"{name_runs(recipe.device, bool(roots))}-{seed}")
        if folder.read_json(OUTCOME) is None:
            outcome = measure.measure(recipe, folder)
            folder.write_json(OUTCOME, {**outcome, "command": command, "revision": revision()})
        path = Streams(command, measure.read_outcomes(runs)).publish()
    console.say(f"wrote {path}")


def name_runs(device: str, has_recordings: bool) -> str:
    """Return the first part of the name of runs; the page shows runs on other devices than its own apart.

    >>> name_runs("three_core", True), name_runs("stm32u385", True)
    ('real', 'stm32u385')
    """
    if device != DEVICE:
        return Path(device).stem
    return "real" if has_recordings else "synthetic"
