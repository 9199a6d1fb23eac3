"""Windows of a stream that share frames have the same features as windows that are computed one by one."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gatesearch.data.scenes import Scene
from gatesearch.data.scenes.window_labels import label_windows
from gatesearch.errors import UserError
from gatesearch.frontends import build
from gatesearch.frontends.grid import FEATURE_RANGE
from gatesearch.gates.level import STATISTICS, window_statistic
from gatesearch.metrics.streams import Background, Event
from gatesearch.training.stream_split import read_stream, window_features

RATE = 1000
KINDS = ("positive", "quiet", "speech")


def sound(seconds: float, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(round(seconds * RATE), generator=generator) * 4000).to(torch.int16)


def log_mel(window_ms: float, stride_ms: float, seconds: float):
    return build(
        "log_mel",
        sample_rate=RATE,
        seconds=seconds,
        window_ms=window_ms,
        stride_ms=stride_ms,
        fft=64,
        mel_bins=5,
        high_hz=500.0,
    )


def scene(seconds: float = 6.0, events: tuple[Event, ...] = (Event("yes", 2.0, 2.5),)) -> Scene:
    samples = sound(seconds).numpy()
    segments = (Background("quiet", 0.0, seconds / 2), Background("speech", seconds / 2, seconds))
    return Scene(
        name="toy", rate=RATE, length=len(samples), classes=("yes",), events=events, segments=segments, samples=samples
    )


@settings(max_examples=30, deadline=None)
@given(
    frame=st.integers(20, 64),
    stride=st.integers(5, 40),
    frames=st.integers(1, 9),
    rest=st.integers(0, 4),
    strides_a_hop=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_windows_that_share_frames_equal_windows_read_alone(frame, stride, frames, rest, strides_a_hop, seed):
    window, hop = frame + (frames - 1) * stride + min(rest, stride - 1), strides_a_hop * stride
    front = log_mel(frame, stride, window / RATE).fit(sound(window / RATE * 3, seed).view(3, -1)[:, :window])
    samples = sound(3.0 + window / RATE, seed)
    shared = window_features(samples, front, window, hop)
    alone = front(samples.unfold(0, window, hop))
    assert shared.shape == alone.shape
    # Features lie on a grid of 255 steps. A value halfway between two steps may round either way in another batch.
    step = (FEATURE_RANGE[1] - FEATURE_RANGE[0]) / 255
    assert (shared - alone).abs().max() <= 1.01 * step
    assert ((shared - alone).abs() > 0.5 * step).float().mean() < 0.01


def test_a_hop_that_frames_do_not_divide_is_read_window_by_window():
    front = log_mel(50, 20, 0.25).fit(sound(2.5).view(10, 250))
    samples = sound(2.0)
    assert torch.equal(window_features(samples, front, 250, 30), front(samples.unfold(0, 250, 30)))


def test_motion_keeps_its_channels():
    front = build("identity").fit(torch.zeros(2, 8, 3))
    samples = torch.arange(60.0).view(20, 3)
    windows = window_features(samples, front, 8, 4)
    assert windows.shape == (4, 8, 3)
    assert torch.equal(windows[1], samples[4:12])


def test_a_window_has_the_kind_of_its_event_or_background():
    front = build("wave").fit(sound(1.0).view(1, -1))
    stream = read_stream(scene(), front, window_s=1.0, hop_s=0.5, kinds=KINDS)
    # Windows end at 1.0, 1.5, ... 6.0 s; those that overlap the event from 2.0 to 2.5 s are positive.
    assert stream.ends_s.tolist() == [1.0 + 0.5 * k for k in range(11)]
    # The window from 2.5 to 3.5 s is half quiet and half speech; the first kind of the scene decides.
    assert [KINDS[kind] for kind in stream.kinds] == ["quiet"] * 3 + ["positive"] * 2 + ["quiet"] + ["speech"] * 5
    assert stream.shares(KINDS) == {"positive": 2 / 11, "quiet": 4 / 11, "speech": 5 / 11}


segment_lengths = st.lists(st.tuples(st.sampled_from(("quiet", "speech", "music")), st.integers(1, 900)), min_size=1)


@settings(max_examples=40, deadline=None)
@given(
    lengths=segment_lengths,
    gap=st.integers(0, 300),
    event=st.none() | st.tuples(st.integers(0, 5000), st.integers(1, 1500)),
    window=st.integers(20, 700),
    hop=st.integers(10, 400),
)
def test_hops_and_training_windows_have_one_rule_for_the_kind(lengths, gap, event, window, hop):
    segments, end = [], 0
    for kind, length in lengths:
        segments.append(Background(kind, (end + gap) / RATE, (end + gap + length) / RATE))
        end += gap + length
    seconds = max(end, window) / RATE
    events = () if event is None else (Event("yes", event[0] / RATE, sum(event) / RATE),)
    samples = sound(seconds).numpy()
    drawn = Scene(
        name="drawn",
        rate=RATE,
        length=len(samples),
        classes=("yes",),
        events=events if event is not None and sum(event) <= len(samples) else (),
        segments=tuple(segments),
        samples=samples,
    )
    kinds = ("positive", "quiet", "speech", "music", "background")
    front = build("wave").fit(sound(window / RATE).view(1, -1))
    stream = read_stream(drawn, front, window / RATE, hop / RATE, kinds)
    classes = ("yes", *kinds[1:])
    starts = hop * np.arange(len(stream.kinds))
    labels = label_windows(drawn, starts, window, classes, 1e-12, {kind: kind for kind in kinds[1:]})
    assert stream.kinds.tolist() == labels.tolist()  # a window with any part of an event is a positive in both


def test_a_stream_that_events_fill_has_positives_alone():
    front = build("wave").fit(sound(1.0).view(1, -1))
    filled = scene(events=(Event("yes", 0.0, 6.0),))
    filled = replace(filled, segments=())
    assert set(read_stream(filled, front, 1.0, 0.5, KINDS).kinds.tolist()) == {0}


def test_a_sound_has_the_numbers_of_the_level_gate_at_each_hop():
    front = build("wave").fit(sound(1.0).view(1, -1))
    stream = read_stream(scene(), front, window_s=1.0, hop_s=0.04, kinds=KINDS)
    windows = sound(6.0).unfold(0, RATE, 40)
    assert stream.signal.keys() == STATISTICS.keys()
    for name in ("spread", "level"):
        assert torch.equal(torch.from_numpy(stream.signal[name]), window_statistic(name, windows, 20))
    assert all(len(values) == len(stream.features) for values in stream.signal.values())


def test_an_hour_takes_the_memory_of_its_frames():
    front = log_mel(50, 20, 1.0).fit(sound(2.0).view(2, -1))
    features = window_features(sound(60.0), front, RATE, 20)
    assert features.untyped_storage().nbytes() <= 4 * 5 * (1 + 60 * RATE // 20)


@pytest.mark.parametrize(
    ("window_s", "hop_s", "message"),
    [
        (1.0, 0.0333333, "a hop of 0.0333333 s is 33.3333 samples at 1000 Hz; wanted: a whole number"),
        (7.0, 0.5, "scene 'toy': 6 s are shorter than one window of 7 s"),
    ],
)
def test_windows_and_hops_that_do_not_fit_are_refused(window_s, hop_s, message):
    front = build("wave").fit(sound(1.0).view(1, -1))
    with pytest.raises(UserError, match=message):
        read_stream(scene(), front, window_s, hop_s, KINDS)


def test_a_background_of_another_kind_is_refused():
    front = build("wave").fit(sound(1.0).view(1, -1))
    with pytest.raises(UserError, match="background 'speech' is no kind of the data; kinds: positive, quiet"):
        read_stream(scene(), front, 1.0, 0.5, ("positive", "quiet"))
