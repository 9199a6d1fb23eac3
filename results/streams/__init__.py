"""`gatesearch bench streams words=DIR talk=DIR sounds=FILE`: a wake-word detector on streams.

Each seed is one run of recipes/wake_word.yaml on scenes, which are streams mixed from recordings. The events are the
word "stop" of Speech Commands. The background is other words, orders spoken to a coffee machine, environmental sounds,
music and noise. No recording is in two splits, and no speaker of Speech Commands is in two splits. Without the three
paths, the scenes are of synthetic speech, and the page says so.
"""

from __future__ import annotations

from gatesearch._lib import console
from gatesearch.pipeline.run_dir import RunFolder
from results.arguments import split_data_sets
from results.benchmark import public_command
from results.streams import measure
from results.streams.measure import OUTCOME, SOURCES
from results.streams.page import Streams


def main(arguments: list[str]) -> None:
    """Run the recipe for each seed without a result, and write results/streams after each seed.

    Args:
        arguments: ``words=DIR``, the folder of Speech Commands; ``talk=DIR``, a folder of recorded speech without a
            command word; ``sounds=FILE``, ESC-10 as .npz; ``seeds=0,1,2``; any key of the recipe.

    Raises:
        UserError: an argument is wrong, only one or two of the three paths are given, or a folder holds a run of
            another recipe.
    """
    roots, seeds, overrides = split_data_sets("bench streams", arguments, SOURCES)
    command = public_command("streams", arguments, SOURCES)
    runs = Streams.runs()
    for seed in seeds:
        folder = RunFolder(runs.path / (f"real-{seed}" if roots else f"synthetic-{seed}"))
        if folder.read_json(OUTCOME) is None:
            outcome = measure.measure(measure.load_recipe(roots, seed, overrides), folder)
            folder.write_json(OUTCOME, {**outcome, "command": command})
        path = Streams(command, measure.read_outcomes(runs)).publish()
    console.say(f"wrote {path}")
