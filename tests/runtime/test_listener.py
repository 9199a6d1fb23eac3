"""Tests of the listener, which runs a bundle and its detector on blocks of samples of any size."""

from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatesearch.errors import UserError
from gatesearch.runtime.cascade import Answer
from gatesearch.runtime.detector import Detector, DetectorSettings
from gatesearch.runtime.listener import Listener, StreamFormat, describe_detector, read_detector

STREAM = StreamFormat(rate=100, window=50, hop=20)
SETTINGS = DetectorSettings(
    classes=("yes", "noise"),
    positives=("yes",),
    hop_s=0.2,
    smoothing=2,
    threshold=0.6,
    refractory_s=0.5,
    first_s=0.5,
)


class LoudBundle:
    """A stand-in for a bundle of two stages: it stops faint windows, and its score of "yes" rises with loudness."""

    folder = "toy"
    programs = (None, None)
    manifest: ClassVar = {"detector": describe_detector(SETTINGS, STREAM)}

    def __call__(self, features):
        loudness = float(features)
        if loudness < 0.1:
            return Answer(label=1, exit=0, logits=None, gate_logits=(0.0,))
        return Answer(label=0, exit=1, logits=np.array([4 * loudness - 1, 0.0], np.float32), gate_logits=(1.0,))


def loudness(window):
    return np.abs(window / 32768).mean()


def listen(samples, blocks):
    listener = Listener(LoudBundle(), loudness)
    detections = []
    for block in np.split(samples, np.cumsum(blocks)):
        detections += list(listener.push(block))
    return listener, detections


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 999), blocks=st.lists(st.integers(0, 130), max_size=12))
def test_blocks_of_any_size_give_the_detections_of_the_whole_recording(seed, blocks):
    rng = np.random.default_rng(seed)
    samples = (rng.standard_normal(1200) * np.repeat(rng.uniform(0, 30000, 12), 100)).clip(-32768, 32767)
    samples = samples.astype(np.int16)
    listener, detections = listen(samples, [block for block in blocks if block])
    windows = np.lib.stride_tricks.sliding_window_view(samples, STREAM.window)[:: STREAM.hop]
    answers = [LoudBundle()(loudness(window)) for window in windows]
    outputs = np.array([np.exp(a.logits) / np.exp(a.logits).sum() if a.exit else [0, 0] for a in answers])
    expected = Detector(SETTINGS).detect(outputs, np.array([a.exit == 0 for a in answers]))
    assert [(d.label, d.time_s) for d in detections] == [(d.label, d.time_s) for d in expected]
    assert np.allclose([d.confidence for d in detections], [d.confidence for d in expected])
    assert listener.hops == len(windows)
    assert listener.reached.tolist() == [len(windows), sum(a.exit for a in answers)]


@pytest.mark.parametrize("rest", [0, 1, STREAM.hop - 1])
def test_the_line_at_the_end_counts_samples_and_not_hops(rest):
    listener, _ = listen(np.zeros(10 * STREAM.rate + rest, np.int16), [7])
    assert listener.length == 10 * STREAM.rate + rest
    assert listener.describe().startswith(f"listened to {10 + rest / STREAM.rate:,.1f} s in {listener.hops} hops")


def test_clipped_samples_are_counted():
    samples = np.array([0, 32767, -32768, 5], np.int16)
    listener, _ = listen(samples, [])
    assert listener.clipped == 2
    assert listener.describe() == "listen: the stream is shorter than one window"


@pytest.mark.parametrize("samples", [np.zeros(4), np.zeros((2, 2), np.int16)])
def test_samples_of_another_form_are_refused(samples):
    with pytest.raises(UserError, match=r"wanted: int16 \[n\]"):
        list(Listener(LoudBundle(), loudness).push(samples))


def test_a_detector_is_read_back_from_its_manifest():
    assert read_detector(LoudBundle.manifest, "toy") == (SETTINGS, STREAM)


@pytest.mark.parametrize(
    "manifest",
    [{}, {"detector": 3}, {"detector": {"classes": []}}, {"detector": {**LoudBundle.manifest["detector"], "hits": 0}}],
)
def test_a_bundle_without_a_detector_is_refused(manifest):
    with pytest.raises(UserError, match=r"^toy: "):
        Listener(SimpleNamespace(manifest=manifest, folder="toy"), loudness)
