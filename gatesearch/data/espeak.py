"""Synthesises speech with the program eSpeak NG, in a subprocess."""

from __future__ import annotations

import importlib.util
import json
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from gatesearch.data.waveforms import Int16Waveform
from gatesearch.errors import UserError

NOISE_SEED = 1  # the seed of the synthesiser; it is fixed, because all variation comes from the utterances


class Utterance(NamedTuple):
    """A text, and the voice, pace and pitch in which it is spoken.

    Args:
        text: the text.
        voice: the voice, as ``<accent>+<variant>``.
        words_per_minute: the pace; from about 260 on, the ends of words are lost.
        pitch: the pitch, from 0 to 100.
        pitch_range: the range of the pitch, from 0 (monotone) to 100.
    """

    text: str
    voice: str
    words_per_minute: int
    pitch: int
    pitch_range: int


def available() -> bool:
    """Return whether the extra ``gatesearch[speech]`` is installed."""
    return importlib.util.find_spec("espeakng_loader") is not None


def synthesise(utterances: Sequence[Utterance]) -> Iterator[tuple[int, Int16Waveform]]:
    """Yield the sample rate (Hz) and the samples of each utterance, in order.

    The same utterances give the same samples.

    Raises:
        UserError: eSpeak NG is not installed, or its process fails.
    """
    if not available():
        raise UserError(
            'data.root: null synthesises speech, which needs eSpeak NG: pip install "gatesearch[speech]";'
            " or set data.root to a folder of recordings"
        )
    # -P keeps the worker's folder off the module path. Else the folder's types.py would hide Python's module types.
    command = [sys.executable, "-P", str(Path(__file__).with_name("espeak_worker.py"))]
    payload = json.dumps({"seed": NOISE_SEED, "utterances": utterances}).encode()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
        try:
            assert process.stdin and process.stdout
            try:
                process.stdin.write(payload)
                process.stdin.close()
                (sample_rate,) = struct.unpack("<I", _read_exactly(process.stdout, 4))
                for _ in utterances:
                    (count,) = struct.unpack("<I", _read_exactly(process.stdout, 4))
                    yield sample_rate, np.frombuffer(_read_exactly(process.stdout, 2 * count), "<i2")
            except (BrokenPipeError, EOFError):
                code = process.wait()
                errors.seek(0)
                lines = errors.read().decode(errors="replace").strip().splitlines()
                last = lines[-1] if lines else "no output"
                raise UserError(f"data.root: null: eSpeak NG exited with status {code} ({last})") from None
        finally:
            if process.stdout:
                process.stdout.close()
            process.kill()  # has no effect on a process that has exited
            process.wait()


def _read_exactly(stream: IO[bytes], size: int) -> bytes:
    """Return exactly ``size`` bytes.

    Raises:
        EOFError: the stream ends earlier.
    """
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return data
