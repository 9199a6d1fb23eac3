"""Tests of factored matrices: their dense form, their number of parameters, and their pruning."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from gatesearch.gates.matrices import (
    END,
    Factors,
    HybridMatrix,
    LowRankMatrix,
    PrunedMatrix,
    count_dense_rows,
    hybrid_parameters,
    low_rank,
    zhu_gupta,
)


@settings(max_examples=40, deadline=None)
@given(
    groups=st.integers(1, 4),
    rows=st.integers(2, 9),
    columns=st.integers(1, 12),
    blocks=st.integers(1, 4),
    data=st.data(),
)
def test_a_hybrid_matrix_multiplies_as_the_matrix_that_it_stands_for(groups, rows, columns, blocks, data):
    blocks, rich = min(blocks, columns), data.draw(st.integers(1, rows))
    torch.manual_seed(0)
    matrix = HybridMatrix(torch.randn(groups * rows, columns), groups, rich, blocks)
    x = torch.randn(2, 3, columns)
    dense = matrix.dense()
    assert dense.shape == (groups * rows, columns)
    torch.testing.assert_close(matrix(x), x @ dense.T, atol=1e-5, rtol=1e-4)
    held = sum(p.numel() for p in matrix.parameters())
    assert held == groups * hybrid_parameters(rows, columns, rich, blocks)
    for stack in dense.unflatten(0, (groups, rows)):
        assert torch.linalg.matrix_rank(stack) <= rich + blocks
        for block in stack[rich:].split(matrix.widths, 1):
            assert torch.linalg.matrix_rank(block) <= 1


def test_a_hybrid_matrix_equals_one_computed_by_hand():
    matrix = HybridMatrix(torch.zeros(3, 4), groups=1, dense_rows=1, blocks=2)
    with torch.no_grad():
        matrix.rich.copy_(torch.tensor([[1.0, 2.0, 3.0, 4.0]]))
        matrix.left.copy_(torch.tensor([[[1.0, 2.0]], [[10.0, 20.0]]]))
        matrix.right.copy_(torch.tensor([[1.0, -1.0, 0.5, 2.0]]))
    expected = [[1.0, 2.0, 3.0, 4.0], [1.0, -1.0, 5.0, 20.0], [2.0, -2.0, 10.0, 40.0]]
    assert matrix.dense().tolist() == expected
    assert matrix(torch.tensor([1.0, 0.0, 0.0, 1.0])).tolist() == [5.0, 21.0, 42.0]


def test_multiplications_are_as_many_as_parameters():
    matrix = HybridMatrix(torch.randn(3 * 20, 14), groups=3, dense_rows=6, blocks=2)
    with FlopCounterMode(display=False) as counter:
        matrix(torch.randn(1, 14))
    # The counter misses J (m - r) products of each of 3 matrices, with J = 2 blocks, m = 20 rows and r = 6 dense rows.
    scaled_additions = 3 * 2 * 14
    assert counter.get_total_flops() // 2 + scaled_additions == sum(p.numel() for p in matrix.parameters())


@pytest.mark.parametrize(("size", "factor", "rank"), [(200, 2, 99), (200, 4, 49), (650, 2, 324), (1024, 4, 255)])
def test_at_equal_parameters_a_hybrid_matrix_has_twice_the_rank_of_a_low_rank_matrix(size, factor, rank):
    rich = count_dense_rows(size, size, 2, factor)
    assert rich + 2 == rank
    assert hybrid_parameters(size, size, rich, 2) <= size * size / factor < hybrid_parameters(size, size, rich + 1, 2)
    assert low_rank(size, size, factor) == size // (2 * factor)
    assert 1.9 < rank / low_rank(size, size, factor) < 2.1


def test_a_block_for_every_column_saves_nothing():
    assert hybrid_parameters(6, 3, 0, 3) > 6 * 3 and count_dense_rows(6, 3, 3, 2) < 0


def test_a_fitted_start_is_exact_where_the_matrix_has_that_form_already():
    torch.manual_seed(0)
    hybrid = HybridMatrix(torch.randn(24, 10), groups=2, dense_rows=4, blocks=3).dense().detach()
    torch.testing.assert_close(HybridMatrix(hybrid, 2, 4, 3).dense(), hybrid, atol=1e-5, rtol=1e-4)
    low = LowRankMatrix(torch.randn(24, 10), groups=2, rank=3).dense().detach()
    torch.testing.assert_close(LowRankMatrix(low, 2, 3).dense(), low, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("build", [lambda w: HybridMatrix(w, 4, 20, 2), lambda w: LowRankMatrix(w, 4, 15)])
def test_a_random_start_has_the_spread_that_it_is_given(build):
    torch.manual_seed(0)
    matrix = build(torch.zeros(4 * 100, 90))
    matrix.redraw(0.05)
    assert float(matrix.dense().detach().std()) == pytest.approx(0.05, rel=0.1)


def test_low_rank_factors_multiply_as_their_product():
    torch.manual_seed(0)
    matrix = LowRankMatrix(torch.randn(3 * 8, 6), groups=3, rank=2)
    x = torch.randn(5, 6)
    torch.testing.assert_close(matrix(x), x @ matrix.dense().T)
    assert sum(p.numel() for p in matrix.parameters()) == 3 * 2 * (8 + 6)


def test_pruning_follows_the_cubic_and_no_element_returns():
    torch.manual_seed(0)
    matrix = PrunedMatrix(torch.randn(40, 10), groups=4, keep=0.25)
    before = matrix.mask.clone()
    assert matrix.train().dense().count_nonzero() == 400
    for progress in (0.0, 0.2, 0.4, 0.6, END, 1.0):
        matrix.anneal(progress)
        with torch.no_grad():
            matrix.weight += torch.randn_like(matrix.weight)  # pruned weights do not return, however large
        assert not (matrix.mask & ~before).any()
        before = matrix.mask.clone()
        assert int(matrix.mask.sum()) == pytest.approx(400 * (1 - zhu_gupta(progress, 0.75)), abs=1)
    assert int(matrix.dense().count_nonzero()) == 100


def test_a_pruned_element_gets_no_gradient():
    torch.manual_seed(0)
    matrix = PrunedMatrix(torch.randn(8, 5), groups=1, keep=0.5)
    matrix.anneal(1.0)
    matrix(torch.randn(3, 5)).sum().backward()
    assert matrix.weight.grad is not None and not matrix.weight.grad[~matrix.mask].any()
    assert matrix.weight.grad[matrix.mask].any()


def test_pruning_keeps_the_largest():
    matrix = PrunedMatrix(torch.tensor([[1.0, -4.0], [3.0, 0.5]]), groups=1, keep=0.5).eval()
    assert matrix.dense().tolist() == [[0.0, -4.0], [3.0, 0.0]]


def test_plain_factors_are_the_matrix():
    weight = torch.randn(6, 4)
    assert torch.equal(Factors(weight, 2).dense(), weight)
