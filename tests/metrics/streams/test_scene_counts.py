"""Compares the hops whose windows hold an event with a search over all hops."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gatesearch.metrics.streams import Event
from gatesearch.metrics.streams.scene_counts import events_passed, holding_hops

WINDOW_S = 1.0
TIMES = st.integers(0, 40).map(lambda tenths: tenths / 10)


@given(start=TIMES, length=st.integers(1, 15).map(lambda tenths: tenths / 10), hop=st.sampled_from([0.1, 0.2, 0.5]))
def test_holding_hops_are_those_whose_window_lies_around_or_inside_the_event(
    start: float, length: float, hop: float
) -> None:
    ends = np.arange(1, round(6 / hop) + 1) * hop
    event = Event("stop", start, start + length)
    around = (ends >= event.end_s - 1e-9) & (ends <= event.start_s + WINDOW_S + 1e-9)
    inside = (ends >= event.start_s + WINDOW_S - 1e-9) & (ends <= event.end_s + 1e-9)
    expected = np.flatnonzero(around if length <= WINDOW_S else inside)
    [first], [end] = holding_hops([event], ends, WINDOW_S)
    if len(expected):
        assert list(range(first, end)) == expected.tolist()
    else:
        assert end - first == 1  # the one window that holds most of the event
    for stopped in (True, False):
        assert events_passed([event], ends, np.full(len(ends), stopped), WINDOW_S) == [not stopped]
