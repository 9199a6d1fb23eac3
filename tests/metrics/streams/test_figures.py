"""Tests of figures of streams: sums over scenes, shares by cause, background and level, confidence intervals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatesearch.errors import DataError
from gatesearch.metrics.streams import (
    MICROWAKEWORD,
    MLPERF_TINY,
    Background,
    Claim,
    Detection,
    Event,
    SceneCounts,
    StreamFigures,
    count_scene,
    events_passed,
    snr_band,
    stream_figures,
)

EVENTS = [
    Event("yes", 10.0, 10.5, snr_db=3.0, background="kitchen"),
    Event("yes", 20.0, 20.5, snr_db=12.0, background="kitchen"),
    Event("yes", 30.0, 30.5, snr_db=18.0, background="quiet"),
    Event("no", 40.0, 40.5, background="quiet"),
]
BACKGROUNDS = [Background("kitchen", 0.0, 25.0), Background("quiet", 25.0, 1800.0)]
DETECTIONS = [
    Detection("yes", 20.4, 0.9),  # hit, 0.1 s before the end
    Detection("yes", 30.7, 0.9),  # hit, 0.2 s after the end
    Detection("yes", 40.2, 0.9),  # a false accept: the word is "no"
    Detection("yes", 5.0, 0.9),  # a false accept in the kitchen
    Detection("no", 100.0, 0.9),  # a false accept in quiet
]


def counts() -> SceneCounts:
    return count_scene(EVENTS, DETECTIONS, 0.5, passed=[False, True, True, True], backgrounds=BACKGROUNDS)


def test_figures_equal_hand_counts() -> None:
    figures = stream_figures([counts()])
    assert (figures.events, figures.misses, figures.false_accepts) == (4, 2, 3)
    assert (figures.miss_rate, figures.fa_per_hour) == (0.5, 6.0)
    assert (figures.gate_misses, figures.network_misses) == (1, 1)
    assert figures.latency_p50_s == pytest.approx(0.05)
    assert figures.latency_p95_s == pytest.approx(-0.1 + 0.95 * 0.3)
    assert {name: share.count for name, share in figures.misses_by_background.items()} == {"kitchen": 1, "quiet": 1}
    assert figures.misses_by_background["kitchen"].rate == 0.5
    assert {band: (share.count, share.rate) for band, share in figures.misses_by_snr.items()} == {
        "0 to 5 dB": (1, 1.0),
        "10 to 15 dB": (0, 0.0),
        "15 to 20 dB": (0, 0.0),
        "unknown": (1, 1.0),
    }
    kitchen = figures.false_accepts_by_background["kitchen"]
    assert kitchen.count == 1 and kitchen.rate == pytest.approx(3600 / 25)
    assert kitchen.interval is not None and kitchen.interval.low < kitchen.rate < kitchen.interval.high
    assert figures.false_accepts_by_background["quiet"].count == 2
    assert {band: share.count for band, share in figures.false_accepts_by_snr.items()} == {"unknown": 1, "no event": 2}
    assert figures.fa_per_hour_interval.low < 6 < figures.fa_per_hour_interval.high


def test_two_scenes_add_up() -> None:
    figures = stream_figures([counts(), count_scene([], [], 1.5)])
    assert figures.fa_per_hour == 1.5 and figures.hours == 2.0
    assert figures.gate_misses is None  # the second scene has no decisions of gates
    assert stream_figures([counts(), counts()]).latency_p50_s == stream_figures([counts()]).latency_p50_s


def test_a_stream_without_events_or_detections_has_its_figures() -> None:
    figures = stream_figures([count_scene([], [], 1.0)])
    assert (figures.miss_rate, figures.latency_p50_s, figures.fa_per_hour) == (0.0, None, 0.0)
    assert figures.miss_interval == (0.0, 1.0) and figures.fa_per_hour_interval.high == pytest.approx(3.0, abs=0.01)


def board_figures(misses: int, false_accepts: int) -> StreamFigures:
    """Return the figures of a stream like that of MLPerf Tiny: 50 words in 1,200 s."""
    words = [Event("marvin", 20.0 * i, 20.0 * i + 0.6) for i in range(50)]
    hits = [Detection("marvin", word.end_s, 0.9) for word in words[misses:]]
    others = [Detection("marvin", 20.0 * i + 10, 0.9) for i in range(false_accepts)]
    return stream_figures([count_scene(words, hits + others, 1200 / 3600, MLPERF_TINY)])


@pytest.mark.parametrize(
    ("misses", "false_accepts", "meets"), [(6, 4, True), (8, 8, True), (9, 8, False), (8, 9, False)]
)
def test_mlperf_allows_eight_misses_and_eight_false_accepts(misses: int, false_accepts: int, meets: bool) -> None:
    figures = board_figures(misses, false_accepts)
    assert (figures.misses, figures.false_accepts) == (misses, false_accepts)
    assert MLPERF_TINY.claim is not None and figures.meets(MLPERF_TINY.claim) == meets


def test_twenty_minutes_are_too_short_to_claim_one_false_accept_in_eight_hours() -> None:
    assert MICROWAKEWORD.claim is not None
    doubt = board_figures(0, 0).doubt(MICROWAKEWORD.claim)
    assert (
        doubt is not None
        and "too short to claim 0.12 false accepts an hour" in doubt
        and "the claim needs 25 h" in doubt
    )
    assert board_figures(0, 0).doubt(Claim(fa_per_hour=24.0)) is None


def test_streams_that_cannot_be_counted_are_refused() -> None:
    with pytest.raises(DataError, match="no scene"):
        stream_figures([])
    with pytest.raises(DataError, match=r"0.0 hours"):
        count_scene([], [], 0.0)
    with pytest.raises(DataError, match="3 values for 4 events"):
        count_scene(EVENTS, [], 1.0, passed=[True] * 3)
    with pytest.raises(DataError, match="ends at nan"):
        Event("yes", 0.0, float("nan"))
    with pytest.raises(DataError, match="snr_db is nan"):
        Event("yes", 0.0, 1.0, snr_db=float("nan"))


@given(st.floats(-60, 60))
def test_a_band_holds_its_level(snr_db: float) -> None:
    low, high = (float(word) for word in snr_band(snr_db).removesuffix(" dB").split(" to "))
    assert low <= snr_db < high


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.3, 1.0]))
def test_an_event_passes_with_any_window_that_holds_it(seed: int, window_s: float) -> None:
    generator = np.random.default_rng(seed)
    ends = window_s + 0.1 * np.arange(60)
    stopped = generator.random(60) < 0.7
    starts = generator.integers(0, 50, 8) / 10
    events = [Event("yes", start, start + generator.integers(0, 12) / 10) for start in starts]
    expected = []
    for event in events:
        held = [
            (end >= event.end_s - 1e-9 and end - window_s <= event.start_s + 1e-9)
            or (end - window_s >= event.start_s - 1e-9 and end <= event.end_s + 1e-9)
            for end in ends
        ]
        if not any(held):  # the window that holds most of the event counts
            middle = (event.start_s + window_s + event.end_s) / 2
            held = np.arange(60) == np.abs(ends - middle).argmin()
        expected.append(any(held & ~stopped))
    assert events_passed(events, ends, stopped, window_s) == expected


@given(st.lists(st.tuples(st.floats(0, 20), st.floats(0.01, 3)), max_size=8), st.integers(1, 200), st.floats(0.01, 0.5))
def test_every_event_passes_where_no_gate_stops_anything(
    spans: list[tuple[float, float]], hops: int, hop_s: float
) -> None:
    ends = 1.0 + hop_s * np.arange(hops)
    events = [Event("yes", start, start + length) for start, length in spans]
    assert events_passed(events, ends, np.zeros(hops, bool), 1.0) == [True] * len(events)
