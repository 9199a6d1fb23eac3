"""The trainings of a run: the baseline, the brief training of a trial, the retraining of a plan."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from gatesearch._lib import console
from gatesearch.errors import UserError
from gatesearch.model import GatedModel
from gatesearch.pipeline.problem import Problem
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.pipeline.weights import load_weights, store_weights
from gatesearch.plan import GatePlan
from gatesearch.training import GateSettings, Operation, Schedule, digest_weights, find_hard_negatives, fit, saliency

HARD_NEGATIVES = "logs/hard_negatives.json"
MIN_STANDARD_ERRORS = 2.0  # smallest accepted excess over chance; chance reaches it once in 44 runs


@dataclass(frozen=True)
class Baseline:
    """The trained ungated backbone: trials start from its weights and are compared with its quality.

    Args:
        model: the ungated backbone, wrapped in a :class:`GatedModel` with an empty plan.
        saliency: for each cut site, the importance of each channel [C].
        quality: the quality of the model on the validation split.
    """

    model: GatedModel
    saliency: Mapping[str, Tensor]
    quality: float

    @property
    def backbone(self) -> nn.Module:
        """The trained backbone alone."""
        return self.model.stages[0]


def train_baseline(problem: Problem, folder: RunFolder) -> Baseline:
    """Train the ungated backbone, or load it if the run folder holds it."""
    model = untrained_model(problem)
    train_or_load("baseline", model, problem, folder, problem.schedule())
    split = problem.features.train
    importance = saliency(
        model.stages[0], problem.space.cut_sites, split.features, split.labels, errors=problem.goal.errors
    )
    quality = problem.goal.assess(model, problem.features.validation).value
    check_learned(problem, model, quality)
    mine_hard_negatives(problem, model, folder)
    return Baseline(model, importance, quality)


def mine_hard_negatives(problem: Problem, model: GatedModel, folder: RunFolder) -> None:
    """Find the negatives with the highest scores of the baseline; later trainings draw them from the first epoch on.

    The run folder stores their indices, because a resumed run would examine tens of thousands of windows again.
    """
    windows = problem.features.windows
    if windows is None or not problem.recipe.training.hard_negatives:
        return
    key = f"{digest_weights(model)} of {len(windows.negatives)}"
    stored = folder.load(HARD_NEGATIVES, _parse_hard_negatives, "hard negatives are found again")
    if stored is None or stored[0] != key:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(problem.recipe.seed)  # the same windows, if the file is lost
            stored = key, find_hard_negatives(model, windows, problem.features.positive)
        folder.write_json(HARD_NEGATIVES, {"baseline": key, "windows": stored[1].tolist()})
    windows.baseline_hard = stored[1]


def _parse_hard_negatives(text: bytes) -> tuple[str, Tensor]:
    values = json.loads(text)
    return values["baseline"], torch.tensor(values["windows"], dtype=torch.long)


def check_learned(problem: Problem, model: GatedModel, quality: float) -> None:
    """Check that the baseline learned something; gates in a network that answers at random are useless.

    Raises:
        UserError: the baseline is no better than answers that ignore the input; the error says what to try.
    """
    split = problem.features.validation
    if problem.goal.excess_over_chance(model, split) < MIN_STANDARD_ERRORS:
        raise UserError(
            f"baseline: learned nothing: on {len(split.labels)} validation samples it answers no better than without "
            f"looking at the input ({problem.goal.quality} {quality:.3f}); begin a new run with more training.epochs, "
            "another training.learning_rate or training.averaging=0, and check labels and features"
        )


def retrain(
    name: str,
    plan: GatePlan,
    problem: Problem,
    baseline: Baseline,
    folder: RunFolder,
    gates: GateSettings | None = None,
    operation: Operation | None = None,
) -> GatedModel:
    """Train a plan from the baseline's weights by the recipe's ``retrain``, and calibrate its thresholds.

    Args:
        name: the name of the plan's checkpoint and curves under logs/.
        plan: the plan to build.
        problem, baseline, folder: the run's problem, baseline and folder.
        gates: settings for the training of gates; None takes the settings of the recipe.
        operation: target for which calibration sets all gates of the plan together; None calibrates each gate alone.
    """
    model = build_model(plan, problem, baseline)
    train_or_load(name, model, problem, folder, problem.schedule(problem.recipe.retrain), gates)
    doubt = problem.goal.calibrate(model, problem.features.validation, problem.features.positive, operation)
    if doubt is not None:
        console.warn(f"plan {plan.digest}, retrained: {doubt}")
    return model


def train_trial(plan: GatePlan, problem: Problem, baseline: Baseline, folder: Path) -> GatedModel:
    """Return the model of a plan, trained for as long as a trial lasts; its gates are not calibrated yet.

    An interrupted training continues from its last completed epoch, in any process or node that shares the folder.

    Args:
        plan: the plan to build.
        problem, baseline: the run's problem and baseline.
        folder: the folder for checkpoints of trials.
    """
    model = build_model(plan, problem, baseline)
    schedule = problem.schedule(problem.recipe.search)
    checkpoints = folder / GatePlan(plan.gates).digest if schedule.epochs > 1 else None
    fit(
        model,
        problem.features,
        schedule,
        problem.gates,
        seed=training_seed(problem.recipe.seed, plan),
        goal=problem.goal,
        augment=problem.augment,
        checkpoints=checkpoints,
    )
    if checkpoints is not None:
        # Errors are ignored: another worker that trained the same gates may already have deleted the folder.
        shutil.rmtree(checkpoints, ignore_errors=True)
    return model


def build_model(plan: GatePlan, problem: Problem, baseline: Baseline) -> GatedModel:
    """Put a plan's gates into the trained backbone; their initial weights depend on the seed and the gates alone."""
    torch.manual_seed(training_seed(problem.recipe.seed, plan))
    return GatedModel(
        baseline.backbone,
        plan,
        problem.sites,
        problem.outputs,
        saliency=baseline.saliency,
        layers=problem.layers,
    )


def untrained_model(problem: Problem) -> GatedModel:
    """Return the untrained ungated backbone, with the initial weights that follow from the seed."""
    return _channels_last(GatedModel(problem.backbone, GatePlan(), problem.sites, problem.outputs))


def train_or_load(
    name: str,
    model: GatedModel,
    problem: Problem,
    folder: RunFolder,
    schedule: Schedule,
    gates: GateSettings | None = None,
) -> None:
    """Train a model in place and store its weights and curves, or load the weights if the run folder holds them."""
    # `fit` returns models in the memory format channels_last. Loaded weights get the same format, so that a resumed run
    # computes the same bits as an uninterrupted one.
    _channels_last(model)
    path = "baseline.ckpt" if name == "baseline" else f"logs/{name}.ckpt"
    folder = folder.trainings
    if load_weights(model, path, folder):
        return
    with console.progress(schedule.epochs, f"train {name.partition('-')[0]}") as bar:
        history = fit(
            model,
            problem.features,
            schedule,
            gates or problem.gates,
            seed=training_seed(problem.recipe.seed, model.plan),
            goal=problem.goal,
            augment=problem.augment,
            log_dir=folder / "logs" / name,
            on_epoch=bar.advance,
        )
    folder.write_json(f"logs/{name}.json", asdict(history))
    store_weights(model, path, folder)


def training_seed(seed: int, plan: GatePlan) -> int:
    """Return the seed of a plan's trainings; plans that differ in their cores alone have the same seed.

    >>> training_seed(0, GatePlan((), ("mcu",))) == training_seed(0, GatePlan((), ("npu",)))
    True
    """
    return (seed * 1_000_003 + int(GatePlan(plan.gates).digest[:7], 16)) % 2**31


def _channels_last(model: GatedModel) -> GatedModel:
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model
