"""Tests of the quality of the hard cascade, and of calibrated thresholds, against figures computed by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from gatesearch.errors import UserError
from gatesearch.graph.sites import cut_sites
from gatesearch.metrics import quality
from gatesearch.model import Cascade, GatedModel
from gatesearch.plan import GatePlan, PlacedGate
from gatesearch.training import (
    Features,
    FeatureSplit,
    assess,
    calibrate,
    gate_logits,
    predictions,
    run_cascade,
)
from gatesearch.training.calibration import default_answer
from tests.nets import CLASSES, build

YES, NO, SILENCE, UNKNOWN = range(4)
POSITIVE = torch.tensor([True, True, False, False])
KINDS = ["positive", "silence", "unknown"]

# Samples behind two gates: label, exit, prediction. An exit of 2 means that no gate stopped the sample.
TABLE = [
    (YES, 2, YES),  # right
    (YES, 2, NO),  # the wrong word
    (YES, 0, SILENCE),  # stopped by the first gate
    (NO, 2, UNKNOWN),  # passed, and not reported
    (NO, 1, UNKNOWN),  # stopped by the second gate
    (SILENCE, 0, SILENCE),
    (SILENCE, 0, SILENCE),
    (SILENCE, 1, UNKNOWN),  # stopped; the gate answers with another negative class
    (UNKNOWN, 1, UNKNOWN),
    (UNKNOWN, 2, YES),  # a false accept
    (UNKNOWN, 2, SILENCE),  # passed, and not reported
    (UNKNOWN, 0, SILENCE),
]


def of_table(rows: list[tuple[int, int, int]], gates: int = 2):
    labels, exits, answers = (torch.tensor(column) for column in zip(*rows, strict=True))
    kinds = torch.tensor([0, 0, 1, 2])[labels]
    return quality(exits, answers, labels, POSITIVE, kinds, KINDS, gates)


def test_figures_equal_hand_computed_ones():
    result = of_table(TABLE)
    assert result.accuracy == pytest.approx(7 / 12)
    assert result.accuracy_all_classes == pytest.approx(4 / 12)
    assert result.precision == pytest.approx(1 / 3)
    assert result.recall == pytest.approx(1 / 5)
    assert result.gate_recall == pytest.approx(3 / 5)
    assert result.gate_recalls == pytest.approx((4 / 5, 3 / 4))
    assert result.early_stop_rate == pytest.approx(5 / 7)
    assert result.passed["positive"] == pytest.approx((1, 4 / 5, 3 / 5))
    assert result.passed["silence"] == pytest.approx((1, 1 / 3, 0))
    assert result.passed["unknown"] == pytest.approx((1, 3 / 4, 2 / 4))


def test_early_stop_and_gate_recall_are_products_over_the_gates():
    result = of_table(TABLE)
    # The first gate stops 3 of 7 negatives, the second stops 2 of the 4 that reach it.
    first, second = 3 / 7, 2 / 4
    assert result.early_stop_rate == pytest.approx(1 - (1 - first) * (1 - second))
    assert result.gate_recall == pytest.approx(math.prod(result.gate_recalls))


rows = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30)


@given(rows)
def test_figures_are_shares_and_agree_with_each_other(drawn):
    # A gate answers with a negative class.
    table = [(label, exit_, answer if exit_ == 3 else 2 + answer % 2) for label, exit_, answer in drawn]
    result = of_table(table, gates=3)
    for value in (
        result.accuracy,
        result.accuracy_all_classes,
        result.precision,
        result.recall,
        result.early_stop_rate,
    ):
        assert 0 <= value <= 1
    assert result.recall <= result.gate_recall
    assert result.gate_recall == pytest.approx(math.prod(result.gate_recalls)) or result.passed["positive"][-1] == 0
    for passed in result.passed.values():
        assert list(passed) == sorted(passed, reverse=True)
    assert result.accuracy_all_classes <= result.accuracy


def test_without_gates_nothing_is_stopped():
    result = of_table([(YES, 0, YES), (SILENCE, 0, SILENCE), (UNKNOWN, 0, YES)], gates=0)
    assert (result.accuracy, result.early_stop_rate, result.gate_recall) == (pytest.approx(2 / 3), 0.0, 1.0)
    assert result.gate_recalls == ()


def test_the_answer_comes_from_the_last_stage_or_the_gate_that_stopped():
    nan = math.nan
    logits = torch.tensor([[0.0, 3.0, 1.0], [nan, nan, nan], [nan, nan, nan]])
    cascade = Cascade(logits, torch.tensor([2, 0, 1]), torch.zeros(3, 2))
    assert predictions(cascade, torch.tensor([2, 1])).tolist() == [1, 2, 1]


def test_a_gate_answers_with_the_negative_class_that_it_stops_most():
    reached = torch.tensor([YES] * 4 + [SILENCE] * 2 + [UNKNOWN] * 10)
    stopped = torch.tensor([YES] * 4 + [SILENCE] * 2 + [UNKNOWN] * 5)
    assert default_answer(stopped, reached, POSITIVE) == SILENCE
    assert default_answer(torch.tensor([UNKNOWN]), reached, POSITIVE) == UNKNOWN


def chain(recalls: tuple[float, ...], seed: int) -> tuple[GatedModel, tuple[int, ...]]:
    backbone, shape = build("ds_cnn")
    sites = cut_sites(backbone, torch.zeros(1, *shape))
    gates = tuple(
        PlacedGate.of("gc", site.name, keep=0.5, recall=recall) for site, recall in zip(sites, recalls, strict=False)
    )
    model = GatedModel(backbone, GatePlan(gates), sites, CLASSES).eval()
    torch.manual_seed(seed)
    for gate in model.gates:
        nn.init.normal_(gate.linear.weight)
    return model, shape


def split_of(features: Tensor, labels: Tensor) -> FeatureSplit:
    return FeatureSplit(features, labels, labels)


@settings(max_examples=15, deadline=None)
@given(
    recalls=st.lists(st.sampled_from([0.5, 0.8, 0.9, 0.97, 0.99, 1.0]), min_size=1, max_size=4).map(tuple),
    seed=st.integers(0, 99),
)
def test_theta_meets_the_recall_target_on_validation_gate_by_gate_on_the_hard_cascade(recalls, seed):
    model, shape = chain(recalls, seed)
    features, labels = torch.randn(150, *shape), torch.arange(150) % 3
    positive = torch.tensor([True, False, False])
    split = split_of(features, labels)
    calibrate(model, split, positive)
    result = assess(model, split, positive, ("positive", "unknown", "silence"))
    for own, target in zip(result.gate_recalls, recalls, strict=True):
        assert own >= target - 1e-6
    # The target of a gate counts the positives that reach it, so the product of the targets holds for the chain.
    assert result.gate_recall >= math.prod(recalls) - 1e-6
    # A gate passes as few positives as the target allows: with one positive fewer, it would miss the target.
    arriving = int((labels == 0).sum())
    for own, target in zip(result.gate_recalls, recalls, strict=True):
        assert round(own * arriving) == math.ceil(target * arriving - 1e-6)
        arriving = round(own * arriving)


def test_a_gate_that_no_positive_reaches_stops_nothing():
    model, shape = chain((0.9, 0.9), seed=0)
    split = split_of(torch.randn(30, *shape), torch.ones(30, dtype=torch.long))
    calibrate(model, split, torch.tensor([True, False, False]))
    assert all(float(model.gate(k).theta) == -math.inf for k in range(2))
    assert (run_cascade(model, split.features).exit == 2).all()


def test_samples_with_equal_logits_all_pass():
    model, shape = chain((0.5, 0.5), seed=0)
    for gate in model.gates:
        nn.init.zeros_(gate.linear.weight)
    features = torch.randn(30, *shape)
    calibrate(model, split_of(features, torch.arange(30) % 3), torch.tensor([True, False, False]))
    assert (run_cascade(model, features).exit == 2).all()


def test_calibration_sets_the_answer_for_stopped_samples():
    model, shape = chain((1.0,), seed=0)
    torch.manual_seed(0)
    features, labels = torch.randn(60, *shape), torch.arange(60) % 3
    logit = gate_logits(model, features)[:, 0]
    # Samples of class 0 get the highest logits, and samples of class 2 the lowest.
    order = logit.argsort(descending=True)
    features = features[order]
    labels = torch.arange(60) // 20
    calibrate(model, split_of(features, labels), torch.tensor([True, False, False]))
    assert model.answers.tolist() in ([1], [2])  # both negative classes are stopped completely
    labels = torch.tensor([0] * 20 + [1] * 20 + [0] + [2] * 19)
    calibrate(model, split_of(features, labels), torch.tensor([True, False, False]))
    assert model.answers.tolist() == [2]


def test_batches_make_no_difference(monkeypatch):
    model, shape = chain((0.9, 0.9), seed=0)
    features = torch.randn(50, *shape)
    calibrate(model, split_of(features, torch.arange(50) % 3), torch.tensor([True, False, False]))
    whole_logits, whole = gate_logits(model, features), run_cascade(model, features)
    monkeypatch.setattr("gatesearch.training.cascade.EVALUATION_BATCH", 7)
    torch.testing.assert_close(gate_logits(model, features), whole_logits, atol=1e-5, rtol=1e-4)
    parts = run_cascade(model, features)
    assert torch.equal(parts.exit, whole.exit)
    torch.testing.assert_close(parts.logits, whole.logits, equal_nan=True, atol=1e-5, rtol=1e-4)


def test_without_gates_there_are_no_gate_logits(features: Features):
    backbone, shape = build("ds_cnn")
    model = GatedModel(backbone, GatePlan(), cut_sites(backbone, torch.zeros(1, *shape)), CLASSES)
    assert gate_logits(model, features.test.features).shape == (60, 0)
    calibrate(model, features.validation, features.positive)
    result = assess(model, features.test, features.positive, features.kind_names)
    logits = backbone(features.test.features)
    assert result.accuracy_all_classes == pytest.approx(
        float((logits.argmax(1) == features.test.labels).float().mean())
    )


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_logits_that_are_not_finite_give_no_figures(value):
    """Without a check, NaN would count as the first class, and a threshold of NaN would stop every sample."""
    model, shape = chain((0.9, 0.9), seed=0)
    features, positive = torch.randn(30, *shape), torch.tensor([True, False, False])
    split = split_of(features, torch.arange(30) % 3)
    calibrate(model, split, positive)
    poisoned = features.clone()
    poisoned[4] = value
    bad = split_of(poisoned, split.labels)
    with pytest.raises(UserError, match=r"evaluation: logits of gate 1 are not finite for 1 of 30 samples"):
        assess(model, bad, positive, ("positive", "unknown", "silence"))
    with pytest.raises(UserError, match="calibration: 1 of 30 logits are not finite"):
        calibrate(model, bad, positive)
    with torch.no_grad():
        last = [module for module in model.stages[-1].modules() if isinstance(module, nn.Linear)][-1]
        last.bias[1] = value
    with pytest.raises(UserError, match="evaluation: outputs of the last stage are not finite"):
        assess(model, split, positive, ("positive", "unknown", "silence"))


def test_the_error_names_a_gate_with_a_threshold_of_nan(monkeypatch):
    model, shape = chain((0.9,), seed=0)
    monkeypatch.setattr(model.gate(0), "calibrate", lambda logit, positive: model.gate(0).theta.fill_(math.nan))
    split = split_of(torch.randn(9, *shape), torch.arange(9) % 3)
    with pytest.raises(UserError, match=r"ChannelGC\.calibrate set theta of gate 1 to nan"):
        calibrate(model, split, torch.tensor([True, False, False]))


def test_a_gate_that_no_sample_reaches_passes_all(monkeypatch):
    """Such a gate is not calibrated, because its own calibration may fail without samples."""
    model, shape = chain((0.9, 0.9), seed=0)
    monkeypatch.setattr(model.gate(0), "calibrate", lambda logit, positive: model.gate(0).theta.fill_(math.inf))
    monkeypatch.setattr(model.gate(1), "calibrate", lambda logit, positive: model.gate(1).theta.copy_(logit.mean()))
    calibrate(model, split_of(torch.randn(9, *shape), torch.arange(9) % 3), torch.tensor([True, False, False]))
    assert float(model.gate(1).theta) == -math.inf
