"""Recurrent layers between bytes stay near the float layers whose weights they round."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from gatesearch.kernels import Library
from gatesearch.kernels.recurrent import RecurrentLayer
from gatesearch.kernels.recurrent_u8 import STATE_STEPS, RecurrentBytes

CELLS: dict[str, type[nn.GRU] | type[nn.LSTM]] = {"gru": nn.GRU, "lstm": nn.LSTM}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cell=st.sampled_from(sorted(CELLS)),
    sizes=st.tuples(st.integers(1, 30), st.integers(1, 40), st.integers(1, 40)),
    depth=st.integers(1, 2),
    both_ways=st.booleans(),
    zero=st.integers(0, 255),
    seed=st.integers(0, 999),
)
def test_a_layer_in_int8_stays_near_the_float_layer(
    library: Library, cell: str, sizes: tuple[int, int, int], depth: int, both_ways: bool, zero: int, seed: int
) -> None:
    torch.manual_seed(seed)
    steps, columns, hidden = sizes
    layer = CELLS[cell](columns, hidden, depth, batch_first=True, bidirectional=both_ways).eval()
    rng, level = np.random.default_rng(seed), 4.0 / 255
    x = rng.integers(0, 256, (steps, columns)).astype(np.uint8)
    real = ((x.astype(np.float32) - zero) * np.float32(level)).astype(np.float32)
    with torch.no_grad():
        expected = layer(torch.from_numpy(real[None]))[0][0].numpy()
    in_float = RecurrentLayer.from_module(layer, torch.from_numpy(real[None]), None, False)
    arrays = RecurrentBytes.pack(in_float.arrays(), level, zero)
    y = RecurrentBytes(arrays, library)(x)
    assert y.shape == expected.shape
    error = np.abs((y.astype(np.float32) - STATE_STEPS) / STATE_STEPS - expected)
    assert error.max() < 0.1 and error.mean() < 0.02


def test_a_state_that_moves_by_less_than_a_byte_at_each_step_still_moves(library: Library) -> None:
    """An update gate of 0.995 moves the state by half a percent a step, which is less than half a step of a byte."""
    layer = nn.GRU(1, 1, batch_first=True)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        cast(torch.Tensor, layer.bias_ih_l0)[1:] = torch.tensor([5.3, 0.5])  # update gate, candidate
        expected = float(layer(torch.zeros(1, 200, 1))[0][0, -1, 0])
    in_float = RecurrentLayer.from_module(layer, torch.zeros(1, 200, 1), None, False)
    y = RecurrentBytes(RecurrentBytes.pack(in_float.arrays(), 1.0, 0), library)(np.zeros((200, 1), np.uint8))
    assert (int(y[-1, 0]) - STATE_STEPS) / STATE_STEPS == pytest.approx(expected, abs=0.02) and expected > 0.2
