"""Runs a bundle as a listener on a stream: it reads samples as they arrive and yields detections."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from gatesearch.errors import UserError
from gatesearch.metrics.streams import Detection
from gatesearch.runtime.bundle import Bundle
from gatesearch.runtime.chain import STREAM_GATES, read_chain
from gatesearch.runtime.decisions import ChainDecisions, StreamFrontend, WholeWindows, WindowDecisions, signal_scores
from gatesearch.runtime.detector import Array, Detector, DetectorSettings

DETECTOR = "detector"
"""Key of the manifest's entry that describes the detector and its stream."""


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
    """Runs a bundle on a stream, hop by hop.

    A bundle with programs by hops computes only the new frames at each hop, and a whole window when a gate opens. Any
    other bundle computes whole windows. When a gate stops a hop, no later stage runs at this hop.

    Args:
        bundle: a bundle of a run with goal detection.
        frontend: function that maps samples, int16 [1, window], to features [1, *shape]; or a front end by hops.

    Attributes:
        hops: number of decisions so far.
        clipped: number of samples at full scale so far.

    Raises:
        UserError: the bundle has no detector.
    """

    def __init__(self, bundle: Bundle, frontend: Callable[[Array], Array] | StreamFrontend) -> None:
        where = str(bundle.folder)
        settings, self.stream = read_detector(bundle.manifest, where)
        own = WholeWindows(frontend) if callable(frontend) else frontend
        self._decisions: WindowDecisions | ChainDecisions
        if STREAM_GATES not in bundle.manifest and bundle.manifest.get("hops") is None:
            self._decisions = WindowDecisions(bundle, own)
        else:
            signal = read_chain(bundle.manifest, where).signal
            scores = signal_scores(signal, self.stream.rate, self.stream.window, self.stream.hop)
            self._decisions = ChainDecisions(bundle, own, self.stream.hop, scores)
        self._detector = Detector(settings)
        self._samples = np.zeros(0, np.int16)
        self.hops, self.clipped = 0, 0

    @property
    def reached(self) -> Array:
        """Number of hops that reached each stage so far, [stages]."""
        return self._decisions.usage.reached

    def push(self, samples: Array) -> Iterator[Detection]:
        """Read the next samples, int16 [n] of any length; yield the detections in them.

        Raises:
            UserError: the samples have another type or shape.
        """
        if samples.ndim != 1 or samples.dtype != np.int16:
            raise UserError(f"listen: samples are {samples.dtype} {list(samples.shape)}; wanted: int16 [n]")
        self.clipped += int(np.count_nonzero((samples == 32767) | (samples == -32768)))
        self._samples = np.concatenate([self._samples, samples])
        window, hop = self.stream.window, self.stream.hop
        while len(self._samples) >= window:
            posteriors = self._decisions.decide(self._samples[:window])
            self._samples = self._samples[hop:]
            self.hops += 1
            detection = self._detector.push(posteriors)
            if detection is not None:
                yield detection

    def describe(self) -> str:
        """Return a line about the stream so far: length, CPU time, and the share of hops that reached each stage."""
        usage = self._decisions.usage
        heard_s = self.hops * self.stream.hop / self.stream.rate
        busy_s = sum(usage.cpu_s.values())
        if not self.hops:
            return "listen: the stream is shorter than one window"
        shares = ", ".join(f"stage {k} {share:.1%}" for k, share in enumerate(self.reached / self.hops))
        speed = heard_s / max(busy_s, 1e-9)
        hourly = [f"{name} {3600 * s / heard_s:.1f} s" for name, s in usage.cpu_s.items()]
        return (
            f"listened to {heard_s:,.1f} s in {self.hops:,} hops; CPU {busy_s:.2f} s, {speed:.0f} times real time; "
            f"CPU an hour: {', '.join(hourly)}; reached: {shares}"
        )
