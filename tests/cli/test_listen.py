"""Tests of what the command ``listen`` says about sounds that it cannot run on."""

from __future__ import annotations

import io
import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
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
