"""Tests that the kernels of LSTM and GRU steps equal their references and PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gatesearch.gates.factored import FactoredRNN
from gatesearch.gates.matrices import HybridMatrix, count_dense_rows
from gatesearch.kernels import HMD, Dense, GRUStep, Library, LowRank, LSTMStep, Pruned
from gatesearch.kernels.recurrent_weights import Weights

Array = np.ndarray[Any, Any]


def real(rng: np.random.Generator, *shape: int) -> Array:
    return (rng.standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32)


def dense(rng: np.random.Generator, gates: int, height: int, columns: int) -> Weights:
    return Dense(real(rng, gates, height, columns))


def hybrid(rng: np.random.Generator, gates: int, height: int, columns: int) -> Weights:
    rich = int(rng.integers(1, height + 1))
    parts = int(rng.integers(1, min(columns, 6) + 1))
    across = real(rng, gates, columns)
    return HMD(real(rng, gates, rich, columns), real(rng, gates, parts, height - rich), across)


def low_rank(rng: np.random.Generator, gates: int, height: int, columns: int) -> Weights:
    rank = int(rng.integers(1, min(height, columns) + 1))
    return LowRank(real(rng, gates, height, rank), real(rng, gates, rank, columns))


def pruned(rng: np.random.Generator, gates: int, height: int, columns: int) -> Weights:
    weight = real(rng, gates, height, columns)
    return Pruned(np.where(rng.random(weight.shape) < 0.3, weight, 0).astype(np.float32))


forms = st.sampled_from([dense, hybrid, low_rank, pruned])
sizes = st.sampled_from([1, 5, 16, 33, 70])


@settings(max_examples=40)
@given(input_weights=forms, state_weights=forms, height=sizes, columns=sizes, seed=st.integers(0, 999))
def test_an_lstm_step_equals_the_reference(
    library: Library, input_weights: Any, state_weights: Any, height: int, columns: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    biases = 3 * real(rng, 4 * height), real(rng, 4 * height)
    step = LSTMStep(input_weights(rng, 4, height, columns), state_weights(rng, 4, height, height), *biases, library)
    x, h, c = (10 * real(rng, columns), real(rng, height), 20 * real(rng, height))
    for _ in range(3):
        expected_h, expected_c = step.reference(x, h, c)
        step(x, h, c)
        np.testing.assert_allclose(c, expected_c, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(h, expected_h, rtol=1e-5, atol=1e-5)


@settings(max_examples=40)
@given(input_weights=forms, state_weights=forms, height=sizes, columns=sizes, seed=st.integers(0, 999))
def test_a_gru_step_equals_the_reference(
    library: Library, input_weights: Any, state_weights: Any, height: int, columns: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    biases = 3 * real(rng, 3 * height), real(rng, 3 * height)
    step = GRUStep(input_weights(rng, 3, height, columns), state_weights(rng, 3, height, height), *biases, library)
    x, h = 10 * real(rng, columns), real(rng, height)
    for _ in range(3):
        expected = step.reference(x, h)
        step(x, h)
        np.testing.assert_allclose(h, expected, rtol=1e-5, atol=1e-5)


def test_dense_steps_equal_those_of_torch(library: Library) -> None:
    torch.manual_seed(0)
    for cell, kind in ((nn.LSTMCell(12, 20), LSTMStep), (nn.GRUCell(12, 20), GRUStep)):
        w = {name: value.detach().numpy() for name, value in cell.named_parameters()}
        weights = [Dense(w[name].reshape(kind.gates, 20, -1)) for name in ("weight_ih", "weight_hh")]
        step = kind(*weights, w["bias_ih"], w["bias_hh"], library)  # type: ignore[call-arg, arg-type]
        x, states = torch.randn(12), [torch.randn(20) for _ in range(2 if kind is LSTMStep else 1)]
        before = tuple(state[None] for state in states)
        with torch.no_grad():
            after = cell(x[None], before if len(before) > 1 else before[0])
        step(x.numpy(), *(state.numpy() for state in states))
        for ours, theirs in zip(states, after if isinstance(after, tuple) else [after], strict=True):
            torch.testing.assert_close(ours, theirs[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_hybrid_steps_equal_those_of_the_training_module(library: Library, kind: Any) -> None:
    torch.manual_seed(0)
    layer = FactoredRNN(
        kind(11, 20, batch_first=True), lambda weight, groups: HybridMatrix(weight, groups, dense_rows=5, blocks=2)
    ).eval()
    x = torch.randn(1, 4, 11)
    with torch.no_grad():
        expected = layer(x)[0][0]
    cell = layer.cells[0]
    bias_x, bias_h = (bias.detach() for bias in cell["biases"])
    cells = {nn.LSTM: LSTMStep, nn.GRU: GRUStep}
    step = cells[kind](HMD.from_factors(cell["input"]), HMD.from_factors(cell["state"]), bias_x, bias_h, library)
    states = [np.zeros(20, np.float32) for _ in range(2 if kind is nn.LSTM else 1)]
    for time in range(4):
        step(x[0, time].numpy(), *states)
        torch.testing.assert_close(torch.from_numpy(states[0]), expected[time], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("value", [-1e4, -88.0, -20.0, 0.0, 1e-4, 20.0, 1e4])
def test_gates_saturate_at_large_inputs(library: Library, value: float) -> None:
    zero = Dense(np.zeros((4, 1, 1), np.float32))
    step = LSTMStep(zero, zero, np.full(4, value, np.float32), np.zeros(4, np.float32), library)
    x, h, c = np.zeros(1, np.float32), np.zeros(1, np.float32), np.ones(1, np.float32)
    expected = step.reference(x, h, c)
    step(x, h, c)
    np.testing.assert_allclose([h, c], expected, rtol=1e-5, atol=1e-30)


def test_the_hybrid_form_holds_a_quarter_of_the_numbers() -> None:
    rng = np.random.default_rng(0)
    rich = count_dense_rows(128, 96, 2, 4.0)
    form = HMD(real(rng, 4, rich, 96), real(rng, 4, 2, 128 - rich), real(rng, 4, 96))
    assert 0.24 * 4 * 128 * 96 < form.parameters <= 0.25 * 4 * 128 * 96
    full = form.full()
    assert (np.linalg.matrix_rank(full[0]), full.shape) == (rich + 2, (4, 128, 96))
    np.testing.assert_allclose(full[1, rich:, 50], form.down[1, 1] * form.across[1, 50], rtol=1e-6)


def test_weights_that_do_not_belong_together_are_refused(compiled: Library) -> None:
    weights = Dense(np.zeros((4, 3, 2), np.float32))
    with pytest.raises(ValueError, match="have 2 columns, not 3"):
        LSTMStep(weights, weights, np.zeros(12, np.float32), np.zeros(12, np.float32))
    with pytest.raises(ValueError, match="both must have 3 gates"):
        GRUStep(weights, weights, np.zeros(9, np.float32), np.zeros(9, np.float32))
