"""Tests of what the command ``listen`` says about sounds that it cannot run on."""

from __future__ import annotations

import io
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatesearch.cli import app, listen
from gatesearch.errors import UserError
from gatesearch.runtime.listener import StreamFormat


@given(st.binary(max_size=60), st.integers(1, 9))
def test_a_pipe_gives_all_whole_samples(data: bytes, samples: int) -> None:
    blocks = list(listen._blocks(io.BytesIO(data).read, samples))
    together = np.concatenate([np.zeros(0, np.int16), *blocks])
    assert together.astype("<i2").tobytes() == data[: len(data) // 2 * 2]


def test_half_a_sample_at_the_end_gives_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    list(listen._blocks(io.BytesIO(b"abc").read, 4))
    assert "ends in half a sample" in capsys.readouterr().err


def say_in_time(waits: list[float], works: list[float], capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the lines about a source that sends blocks of 0.1 s.

    ``waits`` holds the seconds for which a read waits for each block, and ``works`` those that each block takes.
    """
    spent_s: list[float] = []

    def clock() -> float:
        return sum(spent_s)

    def blocks() -> Iterator[np.ndarray]:
        for wait in waits:
            spent_s.append(wait)
            yield np.zeros(10, np.int16)

    capsys.readouterr()
    for work, _ in zip(works, listen._in_time(blocks(), 100, "the pipe", clock), strict=False):
        spent_s.append(work)
    return capsys.readouterr().err.splitlines()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=st.integers(1, 30), gap=st.floats(1.2, 900.0), behind=st.integers(1, 30))
def test_a_gap_in_a_live_stream_is_said_with_its_place(capsys, before: int, gap: float, behind: int) -> None:
    waits = [0.1] * before + [0.1 + gap] + [0.1] * behind
    [line] = say_in_time(waits, [0.0] * len(waits), capsys)
    assert line == f"listen: a gap of {gap:.1f} s in the sound of the pipe, at {before / 10:.1f} s"


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=st.integers(1, 30), work=st.floats(1.3, 60.0))
def test_a_slow_consumer_of_a_live_stream_is_said_until_it_is_in_time(capsys, before: int, work: float) -> None:
    """The source buffers what arrives meanwhile, so that reads do not wait until the consumer has caught up."""
    count = before + 2 + round(10 * work)
    waits = [0.1] * (before + 1) + [0.0] * (count - before - 1)
    works = [0.0] * before + [work] + [0.0] * count
    late, again = say_in_time(waits, works, capsys)
    assert late.endswith(" s behind the pipe: sound may be lost") and again == "listen: in time again"


def test_a_pipe_that_is_faster_than_the_sound_gives_no_line(capsys) -> None:
    assert say_in_time([0.0] * 50, [0.001] * 50, capsys) == []


def test_a_lower_sample_rate_is_refused_with_the_rate_of_the_network(tmp_path: Path) -> None:
    path = tmp_path / "low.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(1600))
    with (
        pytest.raises(UserError, match=r"low\.wav: 8000 Hz; wanted: 16000 Hz or more"),
        listen._open(str(path), StreamFormat(rate=16000, window=16000, hop=640)),
    ):
        pass


def test_a_file_in_place_of_a_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "sound.wav"
    path.write_bytes(b"RIFF")
    assert app.main(["listen", str(path), str(path)]) == 2
    assert "is a file; wanted: a run folder" in capsys.readouterr().err
