"""Words from eSpeak NG, which runs in a process of its own."""

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

from gatesearch.data.wav import Waves
from gatesearch.errors import UserError

RANDOM_SEED = 1  # breath and aspiration noise; always the same, since what differs is in the requests


class Request(NamedTuple):
    """One utterance.

    Args:
        text: what to say.
        voice: ``<accent>+<variant>``.
        rate: words a minute; from about 260 the ends of words are lost.
        pitch: 0 to 100.
        pitch_range: 0 (monotone) to 100.
    """

    text: str
    voice: str
    rate: int
    pitch: int
    pitch_range: int


def available() -> bool:
    """Return whether the extra ``gatesearch[speech]`` is installed."""
    return importlib.util.find_spec("espeakng_loader") is not None


def speak(requests: Sequence[Request]) -> Iterator[tuple[int, Waves]]:
    """Yield sample rate and samples of each request, in order; the same requests give the same samples.

    Raises:
        UserError: eSpeak NG is not installed, or fails.
    """
    if not available():
        raise UserError(
            'data.root: null synthesises speech, which needs eSpeak NG: pip install "gatesearch[speech]";'
            " or set data.root to a folder of recordings"
        )
    # -P: the folder of the script must not come before the standard library, whose `types` it would hide.
    command = [sys.executable, "-P", str(Path(__file__).with_name("_espeak.py"))]
    job = json.dumps({"seed": RANDOM_SEED, "requests": requests}).encode()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
        try:
            assert process.stdin and process.stdout
            try:
                process.stdin.write(job)
                process.stdin.close()
                (rate,) = struct.unpack("<I", _read_exactly(process.stdout, 4))
                for _ in requests:
                    (count,) = struct.unpack("<I", _read_exactly(process.stdout, 4))
                    yield rate, np.frombuffer(_read_exactly(process.stdout, 2 * count), "<i2")
            except (BrokenPipeError, EOFError):
                code = process.wait()
                errors.seek(0)
                lines = errors.read().decode(errors="replace").strip().splitlines()
                last = lines[-1] if lines else "it said nothing"
                raise UserError(f"data.root: null: eSpeak NG ended with status {code}: {last}") from None
        finally:
            if process.stdout:
                process.stdout.close()
            process.kill()  # does nothing to one that has ended
            process.wait()


def _read_exactly(stream: IO[bytes], size: int) -> bytes:
    """Return so many bytes.

    Raises:
        EOFError: the stream ends before.
    """
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return data
