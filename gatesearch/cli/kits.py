"""Makes latency tables of boards: `gatesearch measure kit=DIR` writes a kit, `board=NAME` emulates a board.

A kit is a folder of C sources that times kernels on a board.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gatesearch._lib import console
from gatesearch.cost.sources.board import count, kit, shapes
from gatesearch.cost.sources.board.call_counter import CallCounter, macs_of_call
from gatesearch.gates import KernelCall

if TYPE_CHECKING:
    from gatesearch.recipe import Recipe


def write_kit(folder: Path, recipe: Recipe | None = None) -> None:
    """Write a kit with the kernel calls of every table; a recipe adds the calls of its backbone's layers.

    Raises:
        UserError: the folder holds files that are no kit.
    """
    calls = list(shapes.table_calls())
    if recipe is not None:
        calls += _backbone_calls(recipe)
    manifest = kit.write(folder, calls, shapes.held_out_calls())
    console.say(
        f"kit {manifest['kit']}: {len(manifest['calls'])} calls of kernels in {folder}; read {folder}/README.md"
    )


def _backbone_calls(recipe: Recipe) -> list[KernelCall]:
    """Return the kernel calls of a backbone on one window, without duplicates."""
    import torch

    from gatesearch.pipeline.problem import load_problem

    problem = load_problem(recipe, with_features=False, only_shapes=True)
    with torch.no_grad(), CallCounter(problem.backbone.eval()) as counter:
        problem.backbone(problem.features.train.features[:1])
    # A recurrent layer is timed for one step, whatever the number of its steps.
    single = [call._replace(shape=(1, *call.shape[1:])) if len(call.shape) == 3 else call for call in counter.calls]
    return [call for call in dict.fromkeys(single) if macs_of_call(call)]


def count_board(name: str) -> None:
    """Count the instructions of kernels on an emulated board, and compare the table with the package's own table.

    Raises:
        UserError: there is no such board, or its emulator is missing.
    """
    table = count.count(name, shapes.table_calls(), shapes.held_out_calls())
    count.show(table)
    shipped = count.TABLES / f"{name}.json"
    if shipped.is_file() and shipped.read_text(encoding="utf-8") == table.to_json():
        console.say(f"equal to the shipped table {name}")
        return
    command = f"python -m gatesearch.cost.sources.board.count {name}"
    console.say(f"differs from the shipped {name}; write it anew: {command}")
