"""Blocks that are used at the same time never share memory, and moved places keep their distances."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gatesearch.export.firmware.memory_plan import ALIGNMENT, Group, Lifetimes, Relocation, place_groups

STEPS = st.tuples(st.integers(-1, 20), st.integers(0, 6)).map(lambda pair: (pair[0], pair[0] + pair[1]))
GROUPS = st.lists(st.tuples(st.integers(1, 500), STEPS), min_size=1, max_size=20)


def build(rows: list) -> list[Group]:
    groups, first = [], 0
    for size, steps in rows:
        groups.append(Group(first, size, steps))
        first += size
    return groups


@given(GROUPS)
def test_groups_that_are_used_at_the_same_time_do_not_overlap(rows):
    groups = build(rows)
    places, total = place_groups(groups)
    for i, (a, at_a) in enumerate(zip(groups, places, strict=True)):
        assert at_a % ALIGNMENT == 0 and at_a + a.size <= total
        for b, at_b in list(zip(groups, places, strict=True))[i + 1 :]:
            if a.steps[0] <= b.steps[1] and b.steps[0] <= a.steps[1]:
                assert at_a + a.size <= at_b or at_b + b.size <= at_a
    needed = max(sum(g.size for g in groups if g.steps[0] <= step <= g.steps[1]) for step in range(-1, 27))
    assert needed <= total <= sum(group.size + ALIGNMENT for group in groups)


@given(GROUPS)
def test_moved_places_keep_their_distances_within_a_group(rows):
    groups = build(rows)
    places, _ = place_groups(groups)
    move = Relocation.build(groups, places).move
    for group, place in zip(groups, places, strict=True):
        old = np.arange(group.first, group.first + group.size)
        assert np.array_equal(move(old), np.arange(place, place + group.size))


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3), st.integers(-1, 5)), max_size=20))
def test_blocks_that_one_access_covers_become_one_group(accesses):
    lifetimes = Lifetimes([(64 * k, 64) for k in range(13)])
    for block, more, step in accesses:
        lifetimes.use((64 * block + 3, 64 * more + 10), step)
    groups = lifetimes.groups()
    assert groups == sorted(groups, key=lambda group: group.first)
    for block, more, step in accesses:
        inside = [g for g in groups if g.first <= 64 * block and 64 * (block + more + 1) <= g.first + g.size]
        assert len(inside) == 1 and inside[0].steps[0] <= step <= inside[0].steps[1]
