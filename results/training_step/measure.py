"""Measures the processor time of a training step in gatesearch's trainer and in a loop written by hand, in turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import NamedTuple

import torch

from gatesearch._lib import console
from gatesearch._lib.allocator import memory_reuse
from gatesearch.backbones.ds_cnn import DSCNN
from gatesearch.graph.sites import cut_sites
from gatesearch.model import GatedModel
from gatesearch.plan import GatePlan, PlacedGate
from gatesearch.training import Features, FeatureSplit, GateSettings, Schedule, fit
from results.training_step import loop

CLASSES, SHAPE, RENDITIONS = 12, (1, 49, 10), 8
BATCH, STEPS, EPOCHS = 50, 20, 3  # the first epoch also prepares the training, and is not counted
GATES = (PlacedGate.of("gc", "stem", keep=1.0), PlacedGate.of("gc", "blocks.1", keep=0.5))


class Case(NamedTuple):
    """A DS-CNN of some width, with some gates."""

    width: int
    gates: tuple[PlacedGate, ...] = ()


CASES: Mapping[str, Case] = {
    "DS-CNN, width 64": Case(64),
    "DS-CNN, width 64, two gates": Case(64, GATES),
    "DS-CNN, width 32": Case(32),
    "DS-CNN, width 32, two gates": Case(32, GATES),
}


def measure(rounds: int) -> dict[str, dict[str, float]]:
    """Return the least milliseconds of processor time of a step, by case and by way of training.

    Args:
        rounds: number of trainings in each way. The ways take turns, so that other load affects all of them.
    """
    times: dict[str, dict[str, float]] = {}
    with console.progress(rounds * len(CASES), "training steps") as bar:
        for name, case in CASES.items():
            own = times[name] = {"trainer": float("inf"), "loop": float("inf")}
            for _ in range(rounds):
                own["trainer"] = min(own["trainer"], time_step(run_trainer, case))
                with memory_reuse():  # so that the ratio shows the trainer's own work, and not what it saves
                    own["loop"] = min(own["loop"], time_step(run_loop, case))
                bar.advance()
    return times


def time_step(run: Callable[[GatedModel, Callable[[], None]], None], case: Case) -> float:
    """Return the milliseconds of processor time of a step, in the fastest epoch after the first."""
    ends: list[float] = []
    run(build_model(case), lambda: ends.append(time.process_time()))
    return min(after - before for before, after in pairwise(ends)) * 1e3 / STEPS


def run_trainer(model: GatedModel, on_epoch: Callable[[], None]) -> None:
    """Train a model with gatesearch's trainer."""
    fit(model, build_features(), SCHEDULE, GateSettings(), seed=0, on_epoch=on_epoch)


def run_loop(model: GatedModel, on_epoch: Callable[[], None]) -> None:
    """Train a model with the loop written by hand."""
    loop.train(model, build_features(), SCHEDULE, GateSettings(), 0, on_epoch)


SCHEDULE = Schedule(epochs=EPOCHS, batch_size=BATCH, weight_decay=0.05, label_smoothing=0.05, averaging=0.99)


def build_model(case: Case) -> GatedModel:
    """Return the untrained model of a case."""
    torch.manual_seed(1)
    backbone = DSCNN(CLASSES, SHAPE, width=case.width)
    return GatedModel(backbone, GatePlan(case.gates), cut_sites(backbone, torch.zeros(1, *SHAPE)), CLASSES)


def build_features() -> Features:
    """Return random features in the shapes of the recipe kws_clips; the time of a step does not depend on values."""
    generator = torch.Generator().manual_seed(0)
    bank = torch.randn(BATCH * STEPS, RENDITIONS, *SHAPE, generator=generator)
    labels = torch.randint(CLASSES, (len(bank),), generator=generator)
    positive = torch.arange(CLASSES) < CLASSES - 2
    split = FeatureSplit(bank[:, 0], labels, (~positive[labels]).long())
    return Features(bank, labels, split, split, split, positive, ("positive", "negative"))
