"""`gatesearch bench training_step`: times a training step in gatesearch's trainer and in a loop written by hand.

Both compute the same: they end with the same weights. So the ratio of their times is the trainer's own work.
"""

from __future__ import annotations

import torch

from gatesearch._lib import console
from gatesearch._lib.timing import fingerprint
from results.arguments import read_count, read_keys
from results.benchmark import public_command
from results.training_step import measure
from results.training_step.page import TrainingStep

WHERE = "bench training_step"
ROUNDS = 5
MEASUREMENT = "steps.json"


def main(arguments: list[str]) -> None:
    """Time the steps, and write results/training_step.

    Args:
        arguments: ``rounds=5``, the number of trainings of each network in each way.

    Raises:
        UserError: an argument is wrong.
    """
    values = read_keys(WHERE, arguments, ("rounds",))
    rounds = read_count(WHERE, "rounds", values.get("rounds", str(ROUNDS)))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the processor time of several threads would count their waiting, too
    try:
        times = measure.measure(rounds)
    finally:
        torch.set_num_threads(threads)
    TrainingStep.runs().write_json(MEASUREMENT, {"times": times, "rounds": rounds, "machine": fingerprint()})
    benchmark = TrainingStep(public_command("training_step", arguments, {}), times, rounds, fingerprint())
    for name, own in times.items():
        console.say(f"{name}: {own['trainer']:.1f} ms a step, {own['trainer'] / own['loop']:.2f} times the loop")
    console.say(f"wrote {benchmark.publish()}")
