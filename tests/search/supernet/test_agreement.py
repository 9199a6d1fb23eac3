from __future__ import annotations

import pytest

from gatesearch.search.supernet.agreement import Agreement


def test_tau_counts_pairs_in_the_same_order():
    assert Agreement.of([0.1, 0.2, 0.3, 0.4], [1, 2, 3, 4]).tau == 1.0
    assert Agreement.of([0.1, 0.2, 0.3, 0.4], [4, 3, 2, 1]).tau == -1.0
    assert Agreement.of([0.1, 0.2, 0.3, 0.4], [1, 2, 4, 3]).tau == pytest.approx(4 / 6)


def test_the_line_shrugs_off_one_that_is_far_out():
    estimated = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    found = Agreement.of(estimated, [0.5 + e / 2 for e in estimated[:-1]] + [0.0])
    assert found.on_scale(0.4) == pytest.approx(0.7, abs=0.03)


@pytest.mark.parametrize("estimated, trained", [([0.5] * 4, [0.1, 0.2, 0.3, 0.4]), ([0.1, 0.2, 0.3], [0.5] * 3)])
def test_a_sample_that_is_worth_the_same_all_over_tells_nothing(estimated, trained):
    assert Agreement.of(estimated, trained).tau == -1.0
