"""What giving trainings up early saves: trainings to equal hypervolume, with and without it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from gatesearch.bench.results import Row, markdown_table
from gatesearch.bench.search.run import Outcome, reached
from gatesearch.bench.search.table import Table

WHOLE, HALVED = "GateSampler", "GateSampler with halving"
LEVELS = (0.8, 0.9, 0.95)  # of the true hypervolume
TARGET = ">= 5"


def fewest(table: Table, level: float) -> int:
    """Return how many plans that somebody knows beforehand, taken one by one, have so much of the hypervolume."""
    taken: list[int] = []
    while not taken or table.volume(taken) < level:
        taken.append(max(table.front, key=lambda plan: table.volume([*taken, plan])))
    return len(taken)


def rows(table: Table, outcomes: Sequence[Outcome], command: str) -> list[Row]:
    """Return training saved at equal hypervolume, a row a level; none where either engine was not replayed."""
    return [
        Row.over(
            f"{table.name}: training to {level:.0%}, median of GateSampler over that with halving",
            saved,
            "x",
            target=TARGET if level == LEVELS[-1] else None,
            provenance="simulated",
            protocol=f"replayed on table {table.name}, {table.epochs} epochs a training; never reached counts as one "
            "training more than there were",
            command=command,
        )
        for level in LEVELS
        if (saved := _saved(table, outcomes, level))
    ]


def section(tables: Sequence[Table], outcomes: Sequence[Outcome]) -> str:
    """Return that part of the page; nothing where either engine was not replayed."""
    lines = []
    for table in tables:
        for level in LEVELS:
            saved = _saved(table, outcomes, level)
            if not saved:
                continue
            known = fewest(table, level)
            whole, halved = (
                [count * table.epochs for count in _counts(table, outcomes, name, level).values()]
                for name in (WHOLE, HALVED)
            )
            most = next(o.evaluations for o in outcomes if o.engine == HALVED) * table.epochs
            bound = statistics.median(whole) / (known * table.epochs)
            shown = (_quartiles(whole, most), _quartiles(halved, most), _quartiles(list(saved.values()), math.inf))
            lines.append([table.name, f"{level:.0%}", *shown, str(known * table.epochs), f"{bound:.1f}"])
    if not lines:
        return ""
    heads = ["table", "hypervolume", "epochs, whole trainings", "epochs, with halving", "saved, x"]
    heads += ["epochs if the front were known", "saved at most, x"]
    epochs = ", ".join(f"{table.epochs} on {table.name}" for table in tables)
    return f"""## Trainings that are given up early

{markdown_table(heads, lines)}

Epochs of training that GateSampler spends up to a share of the true hypervolume, **simulated**, counted in whole
trainings ({epochs} epochs); medians, quartiles in brackets. With halving (`gatesearch/search/pruner.py`: rungs after 1
and 3 epochs, one in 3 goes on, and whoever nobody beats) a training that is given up counts for no hypervolume; the
sampler learns from it by a forecast. The rule of MO-ASHA alone, one in 3 and no more, was tried on these tables first
and gave up plans of the front; what was changed since was chosen on the made-up tables. A training of 4 epochs that is
given up after one saves a factor of 4 at most. What is on a front has to be trained whole: the last two columns are
what somebody would spend who knew the front beforehand and trained nothing else, and what would be saved so. To reach:
{TARGET} x."""


def _saved(table: Table, outcomes: Sequence[Outcome], level: float) -> dict[int, float]:
    whole, halved = (_counts(table, outcomes, name, level) for name in (WHOLE, HALVED))
    if not whole or not halved:
        return {}
    middle = statistics.median(whole.values())
    return {seed: middle / count for seed, count in halved.items()}


def _counts(table: Table, outcomes: Sequence[Outcome], engine: str, level: float) -> Mapping[int, float]:
    found = next((o for o in outcomes if o.table == table.name and o.engine == engine), None)
    return reached(found, level) if found is not None else {}


def _quartiles(found: Sequence[float], most: float) -> str:
    low, middle, high = statistics.quantiles(found, n=4, method="inclusive") if len(found) > 1 else [*found] * 3
    shown = [f"> {most:g}" if value > most else f"{value:.3g}" for value in (middle, low, high)]
    return f"{shown[0]} ({shown[1]} to {shown[2]})"
