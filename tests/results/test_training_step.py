"""Tests of the benchmark of a training step: same weights in both ways, and what the page says."""

from __future__ import annotations

import pytest
import torch

from gatesearch._lib.timing import fingerprint
from results.training_step import measure
from results.training_step.page import TrainingStep


@pytest.mark.parametrize("gates", [(), measure.GATES])
def test_trainer_and_loop_end_with_the_same_weights(gates, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "STEPS", 6)
    models = [measure.build_model(measure.Case(8, gates)) for _ in range(2)]
    measure.run_trainer(models[0], lambda: None)
    measure.run_loop(models[1], lambda: None)
    for (name, one), other in zip(models[0].state_dict().items(), models[1].state_dict().values(), strict=True):
        assert torch.equal(one, other), name


@pytest.mark.parametrize(("trainer", "verdict"), [(10.0, "<= 1.15, reached"), (12.0, "<= 1.15, **not reached**")])
def test_the_page_says_whether_the_target_is_reached(trainer: float, verdict: str) -> None:
    times = {"net": {"trainer": trainer, "loop": 10.0}}
    benchmark = TrainingStep("gatesearch bench training_step", times, 5, fingerprint())
    assert {row.name: row.value for row in benchmark.rows()}["ratio, net"] == trainer / 10
    assert verdict in " ".join(benchmark.text().split())
