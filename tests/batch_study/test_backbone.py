"""Tests of trainings in a batch-size study: seeds, accumulated gradients, and the optimiser's step."""

from __future__ import annotations

import pytest
import torch

from gatesearch.batch_study.backbone import BackboneLearner, BackboneTraining
from gatesearch.pipeline.problem import Problem, load_problem
from gatesearch.recipe import load


@pytest.fixture(scope="module")
def problem() -> Problem:
    return load_problem(
        load("digits_hybrid.yaml", ["backbone_args.width=0.0625", "backbone_args.dropout=0.0", "augment=null"])
    )


def weights(learner: BackboneLearner) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in learner.model.parameters()])


def stepped(training: BackboneTraining, batch: int, seed: int, steps: int = 2) -> BackboneLearner:
    learner = training.start(batch, seed)
    for _ in range(steps):
        learner.step(0.05, 0.9)
    return learner


def test_a_training_depends_on_its_seed_alone(problem: Problem) -> None:
    training = BackboneTraining(problem, ghost_size=8, micro_batch=64)
    first = stepped(training, 32, 1)
    torch.rand(3)
    again, other = stepped(training, 32, 1), stepped(training, 32, 2)
    assert torch.equal(weights(first), weights(again)) and first.error() == again.error()
    assert not torch.equal(weights(first), weights(other))


def test_accumulated_gradients_equal_those_of_the_whole_batch(problem: Problem) -> None:
    whole, parts = (stepped(BackboneTraining(problem, ghost_size=8, micro_batch=micro), 64, 1) for micro in (64, 16))
    torch.testing.assert_close(weights(whole), weights(parts), rtol=1e-4, atol=1e-5)


def test_a_step_is_nesterov_momentum(problem: Problem) -> None:
    learner = BackboneTraining(problem, ghost_size=8, micro_batch=64).start(16, 0)
    start = weights(learner)
    learner.step(0.1, 0.75)
    gradient = torch.cat([p.grad.flatten() for p in learner.model.parameters() if p.grad is not None])
    torch.testing.assert_close(weights(learner), start - 0.1 * (1 + 0.75) * gradient)
    learner.step(0.1, 0.0)  # a momentum of 0, which PyTorch's own Nesterov option refuses


def test_the_error_is_the_share_of_wrong_validation_answers_and_training_lowers_it(problem: Problem) -> None:
    training = BackboneTraining(problem, ghost_size=8, micro_batch=64)
    assert training.has_batch_norm and training.samples == 1079
    learner = training.start(32, 0)
    before = learner.error()
    assert before == learner.error() > 0.7
    for _ in range(60):
        loss = learner.step(0.1, 0.9)
    assert learner.error() < before - 0.2 and 0 < loss < 2.3
    wrong = learner.error() * len(problem.features.validation.labels)
    assert wrong == pytest.approx(round(wrong))
