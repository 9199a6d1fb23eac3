"""Tests of the CPU time of listening: its ratios, and what cannot be measured."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatesearch.pipeline.listening import listening_entry
from gatesearch.runtime.listening_timing import ListeningTiming

SECONDS = st.floats(0.01, 1000.0)


@given(SECONDS, SECONDS, SECONDS, st.sampled_from([0.02, 0.04, 0.1]))
def test_ratios_compare_whole_windows_every_20_ms_and_hops(windows: float, hops: float, gated: float, hop: float):
    timing = ListeningTiming(windows_s=windows, hops_s=hops, gated_s=gated, hop_s=hop, sound_s=600.0)
    entry = listening_entry(timing)
    assert entry is not None and entry["gated_s"] == gated
    assert entry["short_hop_windows_s"] == pytest.approx(windows * hop / 0.02)
    assert entry["windows_ratio"] == pytest.approx(windows * hop / 0.02 / gated)
    assert entry["hops_ratio"] == pytest.approx(hops / gated)


def test_a_run_without_a_measurement_has_no_entry():
    assert listening_entry(None) is None
