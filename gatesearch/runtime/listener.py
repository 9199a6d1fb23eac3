"""Runs a bundle as a listener on a stream: it reads samples as they arrive and yields detections."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from gatesearch._lib import console
from gatesearch.errors import UserError
from gatesearch.metrics.streams import Detection
from gatesearch.runtime.bundle import Bundle
from gatesearch.runtime.chain import STREAM_GATES, read_chain
from gatesearch.runtime.decisions import ChainDecisions, WindowDecisions
from gatesearch.runtime.detector import Array, Detector, DetectorSettings
from gatesearch.runtime.sample_buffer import SampleBuffer
from gatesearch.runtime.signal_decisions import SignalDecisions
from gatesearch.runtime.stream_frontend import BlockFrontend, HopFrontend, StreamFrontend, WholeWindows

DETECTOR = "detector"
"""Key of the manifest's entry that describes the detector and its stream."""

MAX_BLOCK_HOPS = 1024  # number of hops that are decided at once; longer blocks would only take more memory


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamFormat:
    """The format of the stream that a bundle reads.

    Args:
        rate: samples per second (Hz).
        window: length in samples of the window that the network reads at a decision.
        hop: number of samples from one decision to the next.
    """

    rate: int
    window: int
    hop: int


def describe_detector(settings: DetectorSettings, stream: StreamFormat) -> dict[str, Any]:
    """Return the manifest's entry of a detector."""
    return {**asdict(settings), "stream": asdict(stream)}


def read_detector(manifest: Mapping[str, Any], where: str) -> tuple[DetectorSettings, StreamFormat]:
    """Return the detector and the stream that a manifest describes.

    Raises:
        UserError: the bundle has no detector, or its entry cannot be read.
    """
    entry = manifest.get(DETECTOR)
    if entry is None:
        raise UserError(f"{where}: the bundle names the class of a window and has no detector; wanted: goal detection")
    try:
        values = dict(entry)
        stream = StreamFormat(**values.pop("stream"))
        for key in ("classes", "positives"):
            values[key] = tuple(values[key])
        if isinstance(values["threshold"], list):
            values["threshold"] = tuple(values["threshold"])
        return DetectorSettings(**values), stream
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise UserError(f"{where}: {DETECTOR}: {error}; export again") from None


class Listener:
    """Runs a bundle on a stream. It decides all whole hops of a block at once.

    A bundle with programs by hops computes only the new frames at each hop, and a whole window when a gate opens. Any
    other bundle computes whole windows. When a gate stops a hop, no later stage runs at this hop. How the
    stream is cut into blocks does not change a detection.

    Args:
        bundle: a bundle of a run with goal detection. Kernels run its steps where its engine is ``litert``; a stage
            that they cannot run is named in a warning, and LiteRT runs it.
        frontend: function that maps samples, int16 [1, window], to features [1, *shape]; or a front end by hops.

    Attributes:
        bundle: the bundle.
        hops: number of decisions so far.
        length: number of samples so far.
        clipped: number of samples at full scale so far.
        unsupported: why an interpreter runs a stage in place of kernels, by the stage's index.

    Raises:
        UserError: the bundle has no detector.
    """

    def __init__(self, bundle: Bundle, frontend: Callable[[Array], Array] | StreamFrontend | BlockFrontend) -> None:
        where = str(bundle.folder)
        settings, self.stream = read_detector(bundle.manifest, where)
        self.bundle = bundle
        self._decisions = decide_stream(bundle, frontend, self.stream, len(settings.classes))
        self.unsupported = self._decisions.unsupported
        for k, reason in self.unsupported.items():
            console.warn(f"listen: stage {k} runs in LiteRT, hop by hop: {reason}")
        self._detector = Detector(settings)
        self._buffer = SampleBuffer()
        self.hops, self.length, self.clipped = 0, 0, 0

    @property
    def settings(self) -> DetectorSettings:
        """The settings of the detector."""
        return self._detector.settings

    @property
    def frontend(self) -> BlockFrontend:
        """The front end that reads the windows of hops.

        Raises:
            UserError: the bundle is of an older version and reads each window by itself.
        """
        if isinstance(self._decisions, WindowDecisions):
            raise UserError(f"{self.bundle.folder}: the bundle has no {STREAM_GATES}; export again")
        return self._decisions.frontend

    @property
    def catch_ups(self) -> list[int]:
        """Number of catch-ups of each stage so far."""
        return self._decisions.catch_ups

    @property
    def reached(self) -> Array:
        """Number of hops that reached each stage so far, [stages]."""
        return self._decisions.usage.reached

    @property
    def cpu_s(self) -> Mapping[str, float]:
        """Seconds of CPU time so far by part."""
        return self._decisions.usage.cpu_s

    def push(self, samples: Array) -> Iterator[Detection]:
        """Read the next samples, int16 [n] of any length; yield the detections in them.

        Raises:
            UserError: the samples have another type or shape.
        """
        if samples.ndim != 1 or samples.dtype != np.int16:
            raise UserError(f"listen: samples are {samples.dtype} {list(samples.shape)}; wanted: int16 [n]")
        self.length += len(samples)
        self.clipped += count_clipped(samples)
        self._buffer.append(samples)
        window, hop = self.stream.window, self.stream.hop
        while len(self._buffer) >= window:
            count = min(1 + (len(self._buffer) - window) // hop, MAX_BLOCK_HOPS)
            outputs = self._decisions.decide(self._buffer.samples[: window + (count - 1) * hop], count)
            self._buffer.drop(count * hop)
            self.hops += count
            with self._decisions.usage.measure("detector"):
                detections = self._detector.push_hops(outputs.posteriors, outputs.stopped)
            yield from detections

    def describe(self) -> str:
        """Return a line about the stream so far: length, CPU time, and the share of hops that reached each stage."""
        heard_s = self.length / self.stream.rate
        busy_s = sum(self.cpu_s.values())
        if not self.hops:
            return "listen: the stream is shorter than one window"
        shares = ", ".join(f"stage {k} {share:.1%}" for k, share in enumerate(self.reached / self.hops))
        speed = heard_s / max(busy_s, 1e-9)
        hourly = [f"{name} {3600 * s / heard_s:.2f} s" for name, s in self.cpu_s.items()]
        return (
            f"listened to {heard_s:,.1f} s in {self.hops:,} hops; CPU {busy_s:.2f} s, {speed:,.0f} times real time; "
            f"CPU an hour: {', '.join(hourly)}; reached: {shares}"
        )


def decide_stream(
    bundle: Bundle,
    frontend: Callable[[Array], Array] | StreamFrontend | BlockFrontend,
    stream: StreamFormat,
    classes: int,
) -> WindowDecisions | ChainDecisions:
    """Return what decides the hops of a bundle's stream."""
    own: StreamFrontend | BlockFrontend = WholeWindows(frontend) if callable(frontend) else frontend
    if not has_chain(bundle):
        assert not isinstance(own, BlockFrontend)  # such a bundle reads windows of floats
        return WindowDecisions(bundle, own, classes, stream.hop)
    gate = read_chain(bundle.manifest, str(bundle.folder)).signal
    signal = None if gate is None else SignalDecisions(gate, stream.rate, stream.window, stream.hop)
    if not isinstance(own, BlockFrontend):
        entry = bundle.manifest["stages"][0].get("hops")
        axis = None if bundle.manifest.get("hops") is None or entry is None else entry["axis"]
        own = HopFrontend(own, bundle.programs[0].inputs[0], stream.hop, axis)
    return ChainDecisions(bundle, own, signal, classes, stream.hop)


def has_chain(bundle: Bundle) -> bool:
    """Say whether a bundle decides over a stream; those of older versions decide each window by itself."""
    return STREAM_GATES in bundle.manifest or bundle.manifest.get("hops") is not None


def count_clipped(samples: Array) -> int:
    """Return the number of samples at full scale, int16 [n]."""
    return int(np.count_nonzero(samples == 32767)) + int(np.count_nonzero(samples == -32768))
