from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatesearch.kernels import HMD, Dense, GRUStep, GRUStepU8, Library, LSTMStep, LSTMStepU8, WeightsU8

SCALE = 0.02
CELLS = {4: (LSTMStep, LSTMStepU8), 3: (GRUStep, GRUStepU8)}


def weights(rng: np.random.Generator, gates: int, size: int, columns: int, hybrid: bool) -> Dense | HMD:
    if not hybrid:
        return Dense(rng.uniform(-1, 1, (gates, size, columns)).astype(np.float32) / columns**0.5)
    parts, rich = min(2, columns), size // 3
    shapes = (gates, rich, columns), (gates, parts, size - rich), (gates, columns)
    return HMD(*(rng.uniform(-1, 1, shape).astype(np.float32) / columns**0.25 for shape in shapes))


@settings(max_examples=25)
@given(
    gates=st.sampled_from([3, 4]),
    size=st.sampled_from([1, 7, 16, 37]),
    columns=st.sampled_from([2, 5, 16, 40]),
    hybrid=st.booleans(),
    zero=st.sampled_from([0, 128, 200]),
    seed=st.integers(0, 99),
)
def test_steps_equal_their_reference_in_every_bit(
    library: Library, gates: int, size: int, columns: int, hybrid: bool, zero: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    of_x, of_h = (WeightsU8.of(weights(rng, gates, size, n, hybrid and n > 1), 8.0) for n in (columns, size))
    biases = rng.uniform(-1, 1, (2, gates * size)).astype(np.float32)
    step = CELLS[gates][1](of_x, of_h, *biases, SCALE, zero, library)
    h, c = rng.integers(0, 256, size).astype(np.uint8), rng.integers(-32768, 32768, size).astype(np.int16)
    for _ in range(4):
        x, state = rng.integers(0, 256, columns).astype(np.uint8), (h, c)[: gates - 2]
        expected = step.reference(x, *state)
        step(x, *state)
        for found, wanted in zip(state, expected if gates == 4 else (expected,), strict=True):
            assert (found == wanted).all()


@pytest.mark.parametrize("gates", [3, 4])
@pytest.mark.parametrize("hybrid", [False, True])
def test_steps_are_near_those_in_float(compiled: Library, gates: int, hybrid: bool) -> None:
    rng = np.random.default_rng(0)
    size, columns = 48, 32
    of_x, of_h = (weights(rng, gates, size, n, hybrid) for n in (columns, size))
    biases = rng.uniform(-0.5, 0.5, (2, gates * size)).astype(np.float32)
    real, whole = CELLS[gates]
    exact = real(of_x, of_h, *biases, compiled)
    step = whole(WeightsU8.of(of_x, 8.0), WeightsU8.of(of_h, 8.0), *biases, SCALE, 128, compiled)
    states = [np.zeros(size, np.float32) for _ in range(gates - 2)]
    bytes_ = [np.full(size, 128, np.uint8), np.zeros(size, np.int16)][: gates - 2]
    for _ in range(10):
        x = rng.integers(64, 192, columns).astype(np.uint8)
        exact(((x.astype(np.float32) - 128) * np.float32(SCALE)), *states)
        step(x, *bytes_)
    assert np.abs(states[0]).max() > 0.2
    assert np.abs((bytes_[0].astype(np.float32) - 128) / 128 - states[0]).max() < 0.03


def test_weights_that_do_not_fit_are_refused(compiled: Library) -> None:
    with pytest.raises(ValueError, match="3 rows, but scales of 5"):
        WeightsU8(np.zeros((4, 3, 2), np.int8), np.ones((4, 5), np.float32))
    three = WeightsU8(np.zeros((3, 2, 2), np.int8), np.ones((3, 2), np.float32))
    with pytest.raises(ValueError, match="both must be of 4 gates"):
        LSTMStepU8(three, three, np.zeros(8, np.float32), np.zeros(8, np.float32), SCALE)


def test_without_kernels_the_reference_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    from gatesearch.kernels import native

    monkeypatch.setattr(native, "load", lambda: None)
    rng = np.random.default_rng(1)
    of_x, of_h = (WeightsU8.of(weights(rng, 4, 5, 5, False), 8.0) for _ in range(2))
    step = LSTMStepU8(of_x, of_h, *np.zeros((2, 20), np.float32), SCALE)
    x, h, c = np.full(5, 200, np.uint8), np.full(5, 128, np.uint8), np.zeros(5, np.int16)
    expected = step.reference(x, h, c)
    step(x, h, c)
    assert (h == expected[0]).all() and (c == expected[1]).all() and (h != 128).any()
