"""Tests that a bundle makes the same detections by hops as on whole windows, with any settings of its gates."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gatesearch.frontends.log_mel import LogMel
from gatesearch.frontends.stream import FrontendStream
from gatesearch.runtime.bundle import Bundle
from gatesearch.runtime.cascade import Array
from gatesearch.runtime.chain import STREAM_GATES
from gatesearch.runtime.detector import DetectorSettings
from gatesearch.runtime.listener import DETECTOR, Listener, StreamFormat, decide_stream, describe_detector
from tests.export.hop_model import export_by_hops
from tests.export.small_model import CLASSES

RATE, HOP = 16000, 640
STREAM = StreamFormat(rate=RATE, window=RATE, hop=HOP)
DETECTOR_SETTINGS = DetectorSettings(
    classes=CLASSES,
    positives=("yes", "no"),
    hop_s=HOP / RATE,
    smoothing=2,
    threshold=0.3,
    refractory_s=0.2,
    first_s=1.0,
)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return export_by_hops(tmp_path_factory.mktemp("decisions") / "bundle")


@pytest.fixture(scope="module")
def frontend() -> LogMel:
    torch.manual_seed(0)
    return LogMel(mel_bins=10).fit((torch.randn(16, RATE) * torch.rand(16, 1) * 9000).to(torch.int16))


def sound(seconds: float, seed: int) -> Array:
    """Return noise whose loudness changes every tenth of a second."""
    rng = np.random.default_rng(seed)
    loudness = np.repeat(10 ** rng.uniform(0.5, 4.0, int(10 * seconds)), RATE // 10)
    return (rng.standard_normal(len(loudness)) * loudness).clip(-32768, 32767).astype(np.int16)


def with_manifest(bundle: Bundle, by_hops: bool, **entries: object) -> Bundle:
    """Return the bundle with entries in its manifest, and without its programs by hops if asked."""
    copied = Bundle(bundle.folder)
    copied.manifest |= {DETECTOR: describe_detector(DETECTOR_SETTINGS, STREAM), **entries}
    if not by_hops:
        copied.manifest |= {"hops": None, "stages": [{**stage, "hops": None} for stage in copied.manifest["stages"]]}
    return copied


def gate_settings(bundle: Bundle, frontend: LogMel, quantiles: list[float], smoothing: int, hold: int) -> list[dict]:
    """Return the settings of each gate; its threshold is a quantile of its scores on some noise."""
    windows = np.lib.stride_tricks.sliding_window_view(sound(3.0, 1), RATE)[::HOP]
    features = frontend(torch.from_numpy(windows.copy())).numpy()
    rows = [
        Bundle.run(bundle, bundle.quantise(each)).gate_logits for each in features
    ]  # the bundle's own gates pass everything
    result = []
    for k, quantile in enumerate(quantiles):
        entry, spec = bundle.manifest["stages"][k]["gate"]["logit"], bundle.programs[k].outputs[1]
        exported = np.quantile([float(spec.value(row[k])) for row in rows if len(row) > k] or [3.0], quantile)
        # An exported logit e represents the model's logit, which is center + (e - 3) half_width / 3.
        threshold = entry["center"] + (exported - 3) * entry["half_width"] / 3
        result.append({"threshold": float(threshold), "smoothing": smoothing, "hold": hold})
    return result


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 999),
    quantiles=st.lists(st.floats(0.0, 1.0), min_size=2, max_size=2),
    smoothing=st.integers(1, 3),
    hold=st.integers(0, 3),
    signal=st.booleans(),
)
def test_detections_by_hops_are_those_of_whole_windows(bundle, frontend, seed, quantiles, smoothing, hold, signal):
    gates = gate_settings(bundle, frontend, quantiles, smoothing, hold)
    on_signal = {"statistic": "level", "threshold": 12 * 65536.0, "smoothing": 1, "hold": 1} if signal else None
    entry = {STREAM_GATES: {"signal": on_signal, "gates": gates}}
    samples = sound(3.0, seed)
    results = []
    for by_hops in (True, False):
        listener = Listener(with_manifest(bundle, by_hops, **entry), FrontendStream(frontend))
        detections = [each for block in np.array_split(samples, 7) for each in listener.push(block)]
        results.append(([(each.label, each.time_s, each.confidence) for each in detections], listener.reached.tolist()))
    assert results[0] == results[1]
    assert results[0][1][0] <= 1 + (len(samples) - RATE) // HOP


def test_a_front_end_and_stages_catch_up_when_the_gate_on_the_signal_opens(bundle, frontend):
    entry = {
        STREAM_GATES: {
            "signal": {"statistic": "level", "threshold": 12 * 65536.0, "smoothing": 1, "hold": 0},
            "gates": [{"threshold": -np.inf, "smoothing": 1, "hold": 0}] * 2,
        }
    }
    loaded = with_manifest(bundle, True, **entry)
    decisions = decide_stream(loaded, FrontendStream(frontend), STREAM, len(CLASSES))
    quiet, loud = np.ones(RATE, np.int16), sound(3.0, 3)
    samples = np.concatenate([quiet, loud, quiet, quiet, loud])
    outputs = [decisions.decide(samples[first : first + RATE], 1) for first in range(0, len(samples) - RATE, HOP)]
    open_hops = [not output.stopped[0] for output in outputs]
    openings = sum(now and not before for before, now in zip([False, *open_hops], open_hops, strict=False))
    assert openings >= 2 and not all(open_hops)
    assert decisions.chain.catch_ups == [openings] * 3
    assert decisions.usage.reached.tolist() == [sum(open_hops)] * 3


def test_the_line_at_the_end_names_every_part(bundle, frontend):
    entry = {STREAM_GATES: {"signal": None, "gates": [{"threshold": -np.inf, "smoothing": 1, "hold": 0}] * 2}}
    listener = Listener(with_manifest(bundle, True, **entry), FrontendStream(frontend))
    list(listener.push(sound(2.0, 0)))
    line = listener.describe()
    assert "times real time" in line and "reached: stage 0 100.0%" in line
    assert all(f"{part} " in line for part in ("front end", "stage 0", "stage 1", "stage 2"))
