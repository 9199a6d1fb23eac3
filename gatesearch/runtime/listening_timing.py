"""Measures the CPU time of listening on this host: whole windows, the ungated network by hops, and a gated plan."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gatesearch._lib.timing import not_collecting
from gatesearch.errors import DataError
from gatesearch.frontends import LogMel, restore
from gatesearch.kernels import Mel
from gatesearch.runtime.cascade import Array
from gatesearch.runtime.manifest import load_manifest
from gatesearch.runtime.open_listener import open_listener
from gatesearch.runtime.program import Program

BLOCK_S = 8.0  # seconds of sound that each way reads before the next way does
MAX_S = 600.0  # seconds of sound that are measured at most
SHORT_HOP_S = 0.02  # seconds of the hop to which the time of whole windows is scaled


@dataclass(frozen=True, slots=True)
class ListeningTiming:
    """CPU time of three ways to listen, in seconds for an hour of sound, on one thread.

    Args:
        windows_s: the ungated network on the whole window at each hop, its front end included.
        hops_s: the ungated network by hops, with the same kernels and blocks as the gated plan.
        gated_s: the gated plan.
        hop_s: length of a hop in seconds.
        sound_s: length of the measured sound in seconds.
    """

    windows_s: float
    hops_s: float
    gated_s: float
    hop_s: float
    sound_s: float

    @property
    def short_hop_windows_s(self) -> float:
        """Time of whole windows at a hop of 20 ms, derived from their number: each window takes the same time."""
        return self.windows_s * self.hop_s / SHORT_HOP_S

    @property
    def windows_ratio(self) -> float:
        """The time of whole windows at a hop of 20 ms, divided by the time of the gated plan."""
        return self.short_hop_windows_s / self.gated_s

    @property
    def hops_ratio(self) -> float:
        """The time of the ungated network by hops, divided by the time of the gated plan."""
        return self.hops_s / self.gated_s


def time_listening(gated: Path, ungated: Path, whole: bytes, samples: Array) -> ListeningTiming:
    """Measure the three ways on the same sound, block by block in turn.

    Args:
        gated: folder of the plan's bundle.
        ungated: folder of a bundle of the ungated network, with programs by hops.
        whole: the ungated network's int8 .tflite for whole windows.
        samples: the sound, int16 [n].

    Raises:
        UserError: a bundle cannot be opened.
        DataError: the sound is shorter than two blocks, or the kernel does not compute the front end.
    """
    listeners = [open_listener(ungated), open_listener(gated)]
    windows = _WholeWindows(gated, whole)
    stream = listeners[1].stream
    block = max(stream.window, round(BLOCK_S * stream.rate) // stream.hop * stream.hop)
    count = min(len(samples), round(MAX_S * stream.rate)) // block
    if count < 2:
        raise DataError(f"listening: {len(samples) / stream.rate:g} s of sound; wanted: {2 * block / stream.rate:g} s")
    busy_s = np.zeros(3)
    with not_collecting():
        for k in range(count):
            part = samples[k * block : (k + 1) * block]
            used = [_time(windows.run, part, stream.window, stream.hop)]
            used += [_time(lambda own, sound: list(own.push(sound)), each, part) for each in listeners]
            if k:  # the first block fills buffers and caches
                busy_s += used
    # A block of whole windows has fewer hops than a block of a stream, which goes on from the block before.
    busy_s[0] *= (block // stream.hop) / (1 + (block - stream.window) // stream.hop)
    sound_s = (count - 1) * block / stream.rate
    windows_s, hops_s, gated_s = (3600 * busy_s / sound_s).tolist()
    return ListeningTiming(windows_s, hops_s, gated_s, hop_s=stream.hop / stream.rate, sound_s=sound_s)


class _WholeWindows:
    """The ungated network on whole windows: the kernel's front end, then LiteRT."""

    def __init__(self, folder: Path, whole: bytes) -> None:
        frontend = restore(load_manifest(folder)["frontend"])
        self._program = Program(whole)
        spec = self._program.inputs[0]
        if not isinstance(frontend, LogMel) or spec.dtype != np.int8 or spec.zero_point:
            raise DataError(f"listening: front end {frontend.name}: no kernel computes its whole windows")
        self._mel, self._shape = Mel(frontend), spec.shape

    def run(self, samples: Array, window: int, hop: int) -> None:
        """Run each window of a stretch of sound."""
        for start in range(0, len(samples) - window + 1, hop):
            frames = self._mel.frames(samples[start : start + window], self._mel.shape[0])
            self._program(frames.reshape(self._shape))


def _time(function: Callable[..., object], *arguments: object) -> float:
    started = time.process_time()
    function(*arguments)
    return time.process_time() - started
