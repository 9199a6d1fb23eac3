"""Tests that the level gate's kernel equals its reference to the bit, on every instruction set of this CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatesearch import kernels
from gatesearch.errors import UserError
from gatesearch.gates.level import STATISTICS, SignalFormat, SignalStream
from gatesearch.gates.level.statistics import MAX_FRAMES
from gatesearch.kernels import Library
from gatesearch.kernels.level import LevelKernel, LevelStream
from tests.gates.level.test_hops import sound


@st.composite
def formats(draw: st.DrawFn) -> SignalFormat:
    """Draw a statistic, and the lengths of a window, a hop and a frame in samples."""
    frame = draw(st.sampled_from([1, 2, 7, 64, 160, 320]))
    window = draw(st.integers(max(frame, 64), 4000 if frame > 1 else MAX_FRAMES))
    statistic = draw(st.sampled_from(list(STATISTICS)))
    return SignalFormat(statistic=statistic, window=window, hop=draw(st.integers(1, 900)), frame=frame)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(formats(), st.lists(st.integers(0, 1200), min_size=1, max_size=12), st.integers(0, 2**31), st.booleans())
def test_numbers_equal_the_reference_to_the_bit(
    library: Library, form: SignalFormat, pieces: list[int], seed: int, loud: bool
) -> None:
    samples = sound(sum(pieces) + form.window, seed)
    if loud:
        samples = np.where(samples < 0, -32768, 32767).astype(np.int16)
    kernel, reference, start = LevelStream(form, library), SignalStream(form), 0
    for piece in (form.window, *pieces):
        values = samples[start : start + piece]
        assert kernel.push(values) == reference.push(values)
        start += piece


@pytest.mark.parametrize("statistic", STATISTICS)
def test_hours_of_hops_do_not_drift(library: Library, statistic: str) -> None:
    """Running sums of integers are exact, so the value after many hops equals the value of the last window alone."""
    form = SignalFormat(statistic=statistic, window=1600, hop=64, frame=32)
    samples = sound(400_000, 5)
    stream = LevelStream(form, library)
    for piece in np.split(samples, 1000):
        value = stream.push(piece)
    assert value == SignalStream(form).push(samples[-1600:])


def test_without_a_compiler_the_reference_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    form = SignalFormat(statistic="spread", window=640, hop=320, frame=320)
    expected = SignalStream(form).push(sound(640, 1))
    monkeypatch.setattr(kernels.native, "load", lambda: None)
    assert LevelStream(form).push(sound(640, 1)) == expected


def test_strided_samples_are_read_as_they_are(library: Library) -> None:
    form = SignalFormat(statistic="level", window=640, hop=320, frame=320)
    assert LevelStream(form, library).push(sound(1280, 2)[::2]) == SignalStream(form).push(sound(1280, 2)[::2].copy())


@pytest.mark.parametrize("samples", [np.zeros(320, np.float32), np.zeros((320, 1), np.int16), np.zeros(320, np.uint8)])
def test_samples_that_are_no_sound_are_refused(library: Library, samples: Any) -> None:
    form = SignalFormat(statistic="level", window=640, hop=320, frame=320)
    with pytest.raises(UserError, match="wanted: int16"):
        LevelStream(form, library).push(samples)


def test_a_hop_is_priced_by_its_samples() -> None:
    """A hop of 40 ms at 16 kHz takes 640 additions or, for flatness, 62 filters over 640 samples."""
    kernel = LevelKernel()
    calls = {name: kernel.call(SignalFormat(statistic=name, window=16000, hop=640, frame=320)) for name in STATISTICS}
    assert {name: kernel.macs(call) for name, call in calls.items()} == {
        "spread": 640.0,
        "level": 640.0,
        "flatness": 62 * 640.0,
    }
    assert kernel.work(calls["spread"], tile=4)["frames"] == 2.0
