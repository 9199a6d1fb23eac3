"""Tests of a bundle on a stream: kernels and interpreter give the same answers."""

from __future__ import annotations

import numpy as np
import pytest

from gatesearch import kernels
from gatesearch.devices import profile
from gatesearch.export.bundle import write_bundle
from gatesearch.plan import GatePlan, PlacedGate
from gatesearch.runtime import stage_program, stream_runner
from gatesearch.runtime.bundle import Bundle
from gatesearch.runtime.stream_runner import StreamRunner
from gatesearch.runtime.stream_timing import time_stream
from tests.export.small_model import CLASSES, POSITIVE, Exported, gated, windows

PLAN = GatePlan((PlacedGate.of("gc", "input", mode="channel", keep=1.0, recall=0.97),), ("mcu", "npu"))
ENGINES = {"mcu": "litert", "npu": "litert"}


@pytest.fixture(scope="module")
def listening(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle whose first gate reads the features of the front end."""
    folder = tmp_path_factory.mktemp("listen") / "bundle"
    calibration, validation = windows(96, seed=1).features, windows(200, seed=2)
    about = {"recipe": "kws", "synthetic_data": True, "frontend": {"name": "mfcc"}}
    device = profile.load("three_core")
    write_bundle(
        folder, gated(PLAN), device, calibration, validation, POSITIVE,
        formats=["tflite"], classes=CLASSES, about=about,
    )  # fmt: skip
    return Bundle(folder, ENGINES)


def test_kernels_and_interpreter_give_the_same_answers(listening: Bundle) -> None:
    listener = StreamRunner(listening)
    if kernels.load() is None:
        pytest.skip(kernels.status())
    assert listener.unsupported is None
    stopped = 0
    raw = np.stack([listening.quantise(window) for window in windows(120, seed=4).features.numpy()])
    for window in raw:
        expected, answer = listening.run(window), listener(window)
        stopped += expected.exit == 0
        if answer is None:
            assert expected.exit == 0
        else:
            assert (answer.exit, answer.label, answer.gate_logits) == (
                expected.exit,
                expected.label,
                expected.gate_logits,
            )
    assert 0 < stopped < 120
    assert len(listener.bind(raw)()) == 120 - stopped
    with pytest.raises(ValueError, match="a window has"):
        listener(raw[0, :, :-1])


def test_without_a_compiler_the_interpreter_runs_with_a_warning(
    listening: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_runner.kernels, "load", lambda: None)
    listener = StreamRunner(listening)
    assert listener.unsupported
    for window in windows(24, seed=5).features.numpy():
        raw = listening.quantise(window)
        expected, answer = listening.run(raw), listener(raw)
        assert (answer is None) == (expected.exit == 0)
        assert answer is None or answer.label == expected.label
    with pytest.raises(ValueError, match="no kernels"):
        listener.bind(raw)


def test_a_stage_without_a_kernel_runs_in_the_interpreter(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage_program, "_OPERATORS", {})
    listener = StreamRunner(exported.loaded)
    assert listener.unsupported
    if kernels.load() is not None:
        assert "no kernel for" in listener.unsupported


def test_the_measured_gain_follows_from_the_times_of_its_parts(listening: Bundle, exported: Exported) -> None:
    features = windows(40, seed=6).features
    ungated = (listening.folder / listening.manifest["stages"][1]["program"]["path"]).read_bytes()
    times = time_stream(listening, ungated, features, rounds=2)
    exits = [listening(window).exit for window in features.numpy()]
    assert times.reach == (float(np.mean(np.array(exits) >= 1)),)
    assert times.windows == 40 and len(times.later_us) == 1
    assert times.bound == pytest.approx(times.invoke_us / (times.always_us + times.reach[0] * times.later_us[0]))
    assert times.gain == pytest.approx(times.ratio * times.invoke_us / times.ungated_us)
