"""Tests that perfect gates are open exactly at the hops whose windows hold an event."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatesearch.metrics.streams import STEADY, Event
from gatesearch.pipeline.perfect_gates import perfect_activities
from gatesearch.runtime.chain import ChainSettings, SignalGate
from gatesearch.runtime.detector import DetectorSettings
from gatesearch.runtime.stream_gate import StreamGateSettings

HOP_S, WINDOW_S, HOPS = 0.5, 2.0, 100
DETECTOR = DetectorSettings(("stop", "noise"), ("stop",), hop_s=HOP_S, first_s=WINDOW_S)
GATE = StreamGateSettings(threshold=0.0)


@given(st.lists(st.integers(2, 95), max_size=6, unique=True), st.booleans(), st.integers(0, 3))
def test_parts_behind_perfect_gates_run_where_a_window_holds_an_event(
    starts: list[int], gates_signal: bool, gates: int
) -> None:
    events = [Event("stop", HOP_S * start, HOP_S * (start + 1)) for start in sorted(starts)]
    stream = SimpleNamespace(events=events, features=np.zeros((HOPS, 1)))
    settings = ChainSettings((GATE,) * gates, SignalGate("spread", GATE) if gates_signal else None)
    first, stage, *later = perfect_activities(settings, DETECTOR, stream)
    ends = WINDOW_S + HOP_S * np.arange(HOPS)
    holds = np.zeros(HOPS, bool)
    for event in events:
        holds |= (ends - WINDOW_S <= event.start_s) & (event.end_s <= ends)
    assert stage == first and len(later) == gates
    assert first == STEADY if not gates_signal else first.open_share == pytest.approx(holds.mean())
    for part in later:
        openings = np.count_nonzero(holds & ~np.append(False, holds[:-1]))
        assert (part.open_share, part.openings) == pytest.approx((holds.mean(), openings / HOPS))
