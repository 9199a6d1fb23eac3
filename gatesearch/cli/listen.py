"""The command ``listen``: prints what an exported network detects in a recording, a pipe or a microphone."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gatesearch.errors import UserError

if TYPE_CHECKING:
    from gatesearch.metrics.streams import Detection
    from gatesearch.runtime.detector import Array
    from gatesearch.runtime.listener import Listener, StreamFormat

LIVE_BLOCK_S = 0.1  # seconds of live sound that are read at once; this delays a detection by at most the same time
LATE_S = 1.0  # a line warns of a longer gap, and if the computation is further behind a live source, in seconds
RECORDER = "arecord"

Bundle = Annotated[
    str,
    typer.Argument(metavar="RUN_DIR|BUNDLE", help="A run folder, or the folder of a bundle.", show_default=False),
]
Sound = Annotated[
    str,
    typer.Argument(
        metavar="FILE.wav|-|mic",
        help="A recording; - for raw 16-bit samples on standard input, lowest byte first; mic for the microphone.",
        show_default=False,
    ),
]


Devices = Annotated[
    bool,
    typer.Option("--devices", help="Run each stage in the engine that stands in for its core, such as TFLM: slower."),
]


def listen(bundle: Bundle = "", sound: Sound = "", devices: Devices = False) -> None:
    """Print what a bundle detects in a sound, as it comes.

    Each detection is one line: time, class, confidence. This host's fastest kernels and LiteRT run all stages.
    """
    if not bundle or not sound:
        raise UserError("listen: name a run and a sound, such as: gatesearch listen runs/wake-1 evening.wav")
    listener = _load(Path(bundle), devices)
    with _open(sound, listener.stream) as blocks:
        for block in blocks:
            for detection in listener.push(block):
                print(_write(detection), flush=True)
    if listener.clipped:
        print(f"{listener.clipped:,} samples were at full scale: the sound is clipped", file=sys.stderr)
    print(listener.describe(), file=sys.stderr)


def _load(path: Path, devices: bool) -> Listener:
    """Return the listener of a run folder or a bundle.

    Raises:
        UserError: there is no bundle.
    """
    if path.exists() and not path.is_dir():
        raise UserError(f"listen: {path} is a file; wanted: a run folder, or the folder of a bundle")
    folder = path
    if (path / "best").is_dir():
        from gatesearch.pipeline.results_check import check_results

        check_results(path, only="best/bundle/")
        folder = path / "best" / "bundle"
    import torch

    from gatesearch.runtime.open_listener import open_listener

    torch.set_num_threads(1)  # the tensors of a hop are small: threads would wait for each other
    return open_listener(folder, devices)


def _write(detection: Detection) -> str:
    minutes, seconds = divmod(detection.time_s, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02d}:{seconds:05.2f}  {detection.label}  {detection.confidence:.2f}"


@contextmanager
def _open(sound: str, stream: StreamFormat) -> Iterator[Iterator[Array]]:
    """Yield the blocks of int16 samples of a sound.

    Raises:
        UserError: the file does not exist, or there is no recorder for the microphone.
    """
    samples = max(1, round(LIVE_BLOCK_S * stream.rate))
    if sound == "-":
        yield _in_time(_blocks(sys.stdin.buffer.read, samples), stream.rate, "the pipe")
    elif sound == "mic":
        with _microphone(stream.rate) as process:
            assert process.stdout is not None
            yield _in_time(_blocks(process.stdout.read, samples), stream.rate, "the microphone")
    else:
        from gatesearch.data import wav_blocks

        if not Path(sound).exists():
            raise UserError(f"listen: {sound}: no such file; wanted: a WAV file, - or mic")
        rate = wav_blocks.sample_rate(Path(sound))
        if rate < stream.rate:
            raise UserError(
                f"listen: {sound}: {rate} Hz; wanted: {stream.rate} Hz or more, as the network was trained on"
            )
        blocks = wav_blocks.open_wav(Path(sound), stream.rate)
        if blocks.clipped:
            print(f"listen: {blocks.describe_clipping()}", file=sys.stderr)
        yield iter(blocks)


@contextmanager
def _microphone(rate: int) -> Iterator[subprocess.Popen[bytes]]:
    """Record from the default microphone while the context is open."""
    recorder = shutil.which(RECORDER)
    if recorder is None:
        raise UserError(f"listen: mic needs {RECORDER} (Debian: alsa-utils); or pipe 16-bit samples to: listen RUN -")
    command = [recorder, "-q", "-t", "raw", "-f", "S16_LE", "-c", "1", "-r", str(rate)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def _blocks(read: Callable[[int], bytes], samples: int) -> Iterator[Array]:
    """Yield blocks of int16 samples until the source ends; half a sample at the end is dropped, with a line."""
    import numpy as np

    while data := read(2 * samples):
        if len(data) % 2:
            print("listen: the sound ends in half a sample, which is dropped", file=sys.stderr)
        yield np.frombuffer(data[: len(data) // 2 * 2], "<i2").astype(np.int16)


def _in_time(
    blocks: Iterator[Array], rate: int, source: str, clock: Callable[[], float] = time.monotonic
) -> Iterator[Array]:
    """Yield the blocks of a live source, and print a line at each gap and when the computation falls behind.

    The time for which the source lets the reader wait, beyond the length of the block, is a gap in the sound. Time that
    the reader of the blocks takes is no gap: the computation falls behind by it, and the source may drop sound.

    Args:
        blocks: the blocks as they arrive.
        rate: samples per second.
        source: name of the source, for the lines.
        clock: function that returns the time in seconds.
    """
    started: float | None = None
    heard, late, read_began = 0, False, clock()
    for block in blocks:
        now, length_s = clock(), len(block) / rate
        gap_s = 0.0 if started is None else now - read_began - length_s
        started = now - length_s if started is None else started
        if gap_s > LATE_S:
            started += gap_s
            print(f"listen: a gap of {gap_s:.1f} s in the sound of {source}, at {heard / rate:.1f} s", file=sys.stderr)
        heard += len(block)
        behind_s = now - started - heard / rate
        if (behind_s > LATE_S) != late:
            late = not late
            line = f"{behind_s:.1f} s behind {source}: sound may be lost" if late else "in time again"
            print(f"listen: {line}", file=sys.stderr)
        yield block
        read_began = clock()
