"""Tests that the detector reports the same hop by hop as over a whole recording, and obeys its settings."""

from __future__ import annotations

import itertools
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatesearch.errors import UserError
from gatesearch.metrics.streams import Detection
from gatesearch.runtime.detector import Detector, DetectorSettings

NAMES = ("up", "down", "left", "right")


@st.composite
def settings_of_detectors(draw: st.DrawFn) -> DetectorSettings:
    classes = NAMES[: draw(st.integers(1, 4))]
    positives = tuple(draw(st.permutations(classes)))[: draw(st.integers(1, len(classes)))]
    single = st.floats(0, 1)
    each = st.tuples(*[single] * len(positives))
    return DetectorSettings(
        classes=classes,
        positives=positives,
        hop_s=draw(st.sampled_from([0.02, 0.03, 0.04, 0.1, 1 / 3])),
        smoothing=draw(st.integers(1, 12)),
        threshold=draw(single | each),
        hits=draw(st.integers(1, 5)),
        refractory_s=draw(st.sampled_from([0.0, 0.02, 0.1, 0.3, 0.99, 1.0])),
        first_s=draw(st.none() | st.just(1.0)),
    )


@st.composite
def streams(draw: st.DrawFn) -> tuple[DetectorSettings, Any, Any]:
    """Draw settings, outputs [hops, classes] with many ties, and whether each hop is stopped [hops]."""
    settings = draw(settings_of_detectors())
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (draw(st.integers(0, 200)), len(settings.classes))
    outputs = generator.random(shape) ** draw(st.sampled_from([0.1, 1.0, 4.0]))
    if draw(st.booleans()):
        outputs = outputs.round(1)
    if draw(st.booleans()):
        outputs = outputs.astype(np.float32)
    return settings, outputs, generator.random(shape[0]) < draw(st.sampled_from([0.0, 0.3, 1.0]))


@given(streams())
def test_hop_by_hop_equals_the_whole_recording_to_the_bit(stream: tuple[DetectorSettings, Any, Any]) -> None:
    settings, outputs, stopped = stream
    detector = Detector(settings)
    rows = [None if stop else row for row, stop in zip(outputs, stopped, strict=True)]
    first = [detector.push(row) for row in rows]
    assert [detection for detection in first if detection is not None] == detector.detect(outputs, stopped)
    detector.reset()
    assert [detector.push(row) for row in rows] == first


@given(streams(), st.lists(st.integers(1, 60), max_size=8))
def test_blocks_of_hops_equal_the_whole_recording_to_the_bit(
    stream: tuple[DetectorSettings, Any, Any], cuts: Any
) -> None:
    settings, outputs, stopped = stream
    detector = Detector(settings)
    borders = [0, *np.cumsum(cuts)[np.cumsum(cuts) < len(outputs)].tolist(), len(outputs)]
    blocks = [slice(start, end) for start, end in itertools.pairwise(borders) if end > start]
    detections = [each for block in blocks for each in detector.push_hops(outputs[block], stopped[block])]
    assert detections == detector.detect(outputs, stopped)


@given(streams())
def test_every_detection_agrees_with_the_settings(stream: tuple[DetectorSettings, Any, Any]) -> None:
    settings, outputs, stopped = stream
    detections = Detector(settings).detect(outputs, stopped)
    hops = [round((detection.time_s - settings.time_s(0)) / settings.hop_s) for detection in detections]
    zeroed = np.where(stopped[:, None], 0.0, outputs.astype(float))
    padded = np.concatenate([np.zeros((settings.smoothing, len(settings.classes))), zeroed])
    for before, after in itertools.pairwise(detections):
        assert after.time_s - before.time_s >= settings.refractory_s - 1e-6
    for hop, detection in zip(hops, detections, strict=True):
        column = settings.classes.index(detection.label)
        means = [
            padded[row + 1 : row + 1 + settings.smoothing, column].mean()
            for row in range(hop - settings.hits + 1, hop + 1)
            if row >= 0
        ]
        assert len(means) == settings.hits and detection.confidence == pytest.approx(min(means))
        threshold = settings.threshold
        own = threshold[settings.positives.index(detection.label)] if isinstance(threshold, tuple) else threshold
        assert detection.confidence > own


def settings_for(**changes: Any) -> DetectorSettings:
    return replace(DetectorSettings(("yes", "noise"), ("yes",), hop_s=0.1, refractory_s=0.3), **changes)


def hops_of(settings: DetectorSettings, outputs: list[float], stopped: list[int] | None = None) -> list[int]:
    rows = np.array([[output, 1 - output] for output in outputs])
    flags = None if stopped is None else np.array(stopped, bool)
    return [round(detection.time_s / 0.1) - 1 for detection in Detector(settings).detect(rows, flags)]


def test_a_threshold_has_to_be_exceeded() -> None:
    assert hops_of(settings_for(threshold=0.5), [0.5, 0.4, 0.51]) == [2]


def test_a_mean_counts_hops_before_the_start_as_zeros() -> None:
    """After two loud hops, the mean over four hops is 0.5, because the buffer starts at zero, as in a device."""
    assert hops_of(settings_for(smoothing=4, threshold=0.6), [1.0, 1.0, 1.0, 0.0]) == [2]


def test_hits_are_in_a_row() -> None:
    assert hops_of(settings_for(hits=3), [0.9, 0.9, 0.1, 0.9, 0.9, 0.9]) == [5]


def test_the_refractory_time_counts_from_the_detection() -> None:
    """With 0.3 s and hops of 0.1 s, the third hop after a detection is the first one that may detect again."""
    assert hops_of(settings_for(), [0.9] * 8) == [0, 3, 6]
    assert hops_of(settings_for(refractory_s=0.25), [0.9] * 8) == [0, 3, 6]
    assert hops_of(settings_for(refractory_s=0.0), [0.9] * 3) == [0, 1, 2]


def test_a_hop_that_a_gate_stops_counts_as_zeros() -> None:
    loud = [0.9] * 4
    assert hops_of(settings_for(hits=2), loud, [0, 1, 0, 0]) == [3]
    assert hops_of(settings_for(smoothing=2, threshold=0.5), loud, [0, 1, 0, 0]) == [3]
    assert hops_of(settings_for(), loud, [1, 1, 1, 1]) == []
    assert hops_of(settings_for(), [float("nan"), 0.9], [1, 0]) == [1]  # outputs of a stopped hop are not read


def test_the_refractory_time_holds_over_stopped_hops() -> None:
    assert hops_of(settings_for(refractory_s=0.4), [0.9] * 5, [0, 1, 1, 0, 0]) == [0, 4]


def test_the_surest_class_is_reported() -> None:
    settings = DetectorSettings(("up", "down"), ("up", "down"), hop_s=0.1, threshold=(0.5, 0.9))
    outputs = np.array([[0.6, 0.8], [0.0, 0.0]])
    assert Detector(settings).detect(outputs) == [Detection("up", 0.1, 0.6)]  # "down" is below its threshold
    equal_thresholds = replace(settings, threshold=0.5)
    assert Detector(equal_thresholds).detect(outputs)[0].label == "down"
    assert Detector(equal_thresholds).detect(np.array([[0.8, 0.8]]))[0].label == "up"


def test_a_detection_has_the_time_at_which_its_window_ends() -> None:
    detection = Detector(settings_for(first_s=1.0)).push([0.9, 0.1])
    assert detection is not None and detection.time_s == 1.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"positives": ("yess",)}, "unknown class 'yess'; nearest: 'yes'"),
        ({"positives": ()}, "one class at least"),
        ({"positives": ("yes", "yes")}, "each once"),
        ({"hop_s": 0.0}, "hop_s: 0.0; wanted: a time above 0"),
        ({"hop_s": float("nan")}, "hop_s: nan"),
        ({"smoothing": 0}, "smoothing: 0; wanted: a whole number from 1"),
        ({"hits": 0}, "hits: 0"),
        ({"refractory_s": -1.0}, "refractory_s: -1.0"),
        ({"threshold": (0.5, 0.5)}, "one number, or 1 for the positives"),
        ({"threshold": -0.1}, "threshold: -0.1; wanted: from 0"),
        ({"threshold": float("nan")}, "threshold: nan"),
    ],
)
def test_impossible_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        settings_for(**changes)


def test_impossible_outputs_are_refused() -> None:
    detector = Detector(settings_for())
    with pytest.raises(UserError, match=r"outputs \[1, 3\]; wanted: \[hops, 2\] for the classes yes, noise"):
        detector.push([0.1, 0.2, 0.3])
    with pytest.raises(UserError, match="the outputs of hop 1 are not finite"):
        detector.detect(np.array([[0.1, 0.9], [float("nan"), 0.1]]))
    with pytest.raises(UserError, match=r"stopped \[1\]; wanted: \[2\]"):
        detector.detect(np.zeros((2, 2)), np.zeros(1, bool))


def test_the_detector_needs_no_torch() -> None:
    program = (
        "import sys, gatesearch.runtime.detector, gatesearch.runtime.detector_tuning; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "False"
