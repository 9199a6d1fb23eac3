"""`gatesearch bench latency`: compares predicted with measured latencies of networks with gates.

Predictions come from the latency tables with which a search prices plans. The benchmark has three resumable steps: it
writes bundles of random plans, fills the latency table of each backbone, and times every bundle end to end. The last
two steps need a machine without other load.
"""

from __future__ import annotations

import time

import torch

from gatesearch import kernels
from gatesearch._lib import console
from gatesearch.errors import UserError
from gatesearch.report.rows import print_rows
from results.arguments import check_choice, check_choices, read_count, read_keys
from results.benchmark import public_command
from results.latency import steps
from results.latency.page import Latency
from results.latency.steps import FIRST_SEEDS, HELD_OUT

WHERE = "bench latency"
MODELS = 8  # number of models (random plans) of each backbone
STEPS = ("bundles", "tables", "times", "page")


def main(arguments: list[str]) -> None:
    """Do the steps that are not done yet, then write results/latency.

    Args:
        arguments: ``models=8``, the number of models of each backbone; ``steps=bundles,tables,times,page``, or some of
            these steps; ``seconds=inf``, the time after which no further bundle or table is started; ``set=held-out``
            (reported on the page) or ``set=development``.

    Raises:
        UserError: an argument is wrong, or kernels cannot be compiled.
    """
    values = read_keys(WHERE, arguments, ("models", "steps", "seconds", "set"))
    count, seconds = read_count(WHERE, "models", values.get("models", str(MODELS))), float(values.get("seconds", "inf"))
    chosen = check_choices(WHERE, "steps", values.get("steps", ",".join(STEPS)), STEPS, "step")
    models_set = check_choice(WHERE, "set", values.get("set", HELD_OUT), FIRST_SEEDS)
    if "page" in chosen and models_set != HELD_OUT and "steps" in values:
        raise UserError(f"{WHERE}: steps=page set={models_set}: the page is made of the {HELD_OUT} set alone")
    if kernels.load() is None:
        raise UserError(f"{WHERE}: {kernels.status()}: there is nothing to measure")
    until = time.monotonic() + seconds
    torch.set_num_threads(1)
    if "bundles" in chosen:
        steps.write_bundles(models_set, count, until)
    if "tables" in chosen:
        steps.fill_tables(until)
    if "times" in chosen:
        steps.time_bundles(models_set, count)
    if "page" in chosen and models_set == HELD_OUT:
        command = public_command("latency", [text for text in arguments if text.startswith("models=")], {})
        benchmark = Latency(command, steps.read_models(HELD_OUT, count), steps.read_tables(), count)
        path = benchmark.publish()
        print_rows("latency", benchmark.rows())
        console.say(f"wrote {path}")
