"""A labelled stream as the network reads it: the features of the window that ends at each hop.

A hop is the time from one decision to the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from gatesearch._lib.tensors import to_float
from gatesearch.data.scenes import Scene
from gatesearch.data.scenes.window_labels import Indices, label_backgrounds
from gatesearch.errors import UserError
from gatesearch.frontends import Frontend
from gatesearch.gates.level import SignalFormat, signal_frame, signal_statistics
from gatesearch.graph.hops import Frames
from gatesearch.kernels.fixed_features import fast_features
from gatesearch.metrics.streams import Background, Event
from gatesearch.runtime.detector import Array
from gatesearch.runtime.listener import StreamFormat

CHUNK = 1024  # number of frames, or of windows, that the front end processes at once
POSITIVE = 0  # index of the positives among the kinds


@dataclass(frozen=True, slots=True)
class StreamSplit:
    """The windows of a scene (a labelled stream), one for each hop.

    Args:
        features: features of the windows, [hops, *shape]. If windows share frames, this is a view, which takes no more
            memory than the frames.
        kinds: kind of each window as an index into the kinds of the data, [hops]: positive if the window overlaps an
            event, otherwise the kind of background that covers most of the window.
        format: sample rate in Hz; window and hop in samples.
        events: events of the scene.
        backgrounds: stretches of background of the scene, with their kinds.
        hours: length of the scene in hours.
        signal: each statistic of the level gate for the window that ends at each hop, integers [hops]; empty if the
            stream is no sound, or if the front end is recursive, so that every hop needs it.
    """

    features: Tensor
    kinds: Tensor
    format: StreamFormat
    events: tuple[Event, ...]
    backgrounds: tuple[Background, ...]
    hours: float
    signal: Mapping[str, Array] = field(default_factory=dict)

    @property
    def hop_s(self) -> float:
        """Length of a hop in seconds."""
        return self.format.hop / self.format.rate

    @property
    def window_s(self) -> float:
        """Length of a window in seconds; the first window of the stream ends at this time."""
        return self.format.window / self.format.rate

    @property
    def ends_s(self) -> Array:
        """The time at which each hop's window ends, in seconds, [hops]."""
        return self.window_s + self.hop_s * np.arange(len(self.features))

    @property
    def signal_forms(self) -> dict[str, SignalFormat]:
        """The format in which the level gate reads the signal, for each statistic."""
        own = self.format
        return {name: SignalFormat.on_stream(name, own.rate, own.window, own.hop) for name in self.signal}

    def shares(self, kind_names: Sequence[str]) -> dict[str, float]:
        """Return the share of each kind among the windows, by name."""
        counts = torch.bincount(self.kinds, minlength=len(kind_names)).tolist()
        return {name: count / len(self.kinds) for name, count in zip(kind_names, counts, strict=True)}


@torch.no_grad()
def read_stream(scene: Scene, frontend: Frontend, window_s: float, hop_s: float, kinds: Sequence[str]) -> StreamSplit:
    """Run the front end over a scene and return its windows.

    Args:
        scene: samples [n, ...] with events and kinds of background.
        frontend: the fitted front end.
        window_s: length of a window in seconds.
        hop_s: length of a hop in seconds.
        kinds: names of the kinds of the data, the positives first.

    Raises:
        UserError: the scene is shorter than a window; a window or hop is no whole number of samples; or a background
            has a kind that the data do not have.
    """
    window, hop = _count(window_s, scene.rate, "a window"), _count(hop_s, scene.rate, "a hop")
    if scene.length < window:
        raise UserError(f"scene {scene.name!r}: {scene.seconds:g} s are shorter than one window of {window_s:g} s")
    features = window_features(torch.from_numpy(scene.samples), frontend, window, hop)
    starts = hop * np.arange(len(features))
    ends_s = window_s + hop_s * np.arange(len(features))
    return StreamSplit(
        features=features,
        kinds=torch.from_numpy(_kinds(scene, starts, window, ends_s, kinds)),
        format=StreamFormat(rate=round(scene.rate), window=window, hop=hop),
        events=scene.events,
        backgrounds=scene.segments,
        hours=scene.hours,
        # A gate before a recursive front end would stop the frames on which its later frames depend.
        signal={}
        if frontend.recursive
        else signal_statistics(scene.samples, window, hop, signal_frame(scene.rate, window, hop)),
    )


def window_features(samples: Tensor, frontend: Frontend, window: int, hop: int) -> Tensor:
    """Return the features of every window of a stream, [n, ...] -> [hops, *shape].

    Args:
        samples: samples of the stream; integers are scaled to floats, as for the data set.
        frontend: the fitted front end.
        window: length of a window in samples.
        hop: length of a hop in samples.
    """
    fresh, compute = _read_frames(frontend, hop), fast_features(frontend)
    if fresh is None:
        windows = samples.unfold(0, window, hop).movedim(-1, 1)  # [hops, window, ...]
        return torch.cat([compute(to_float(chunk)) for chunk in windows.split(CHUNK)])
    count, stride, axis = fresh.count, hop // fresh.hop, fresh.axis - 1
    # Number of samples that the front end reads for a single frame.
    tail = window - (count - 1) * stride
    total = 1 + (len(samples) - tail) // stride
    chunk = total if frontend.recursive else CHUNK
    starts = range(0, total, chunk)
    pieces = [samples[start * stride : (min(start + chunk, total) - 1) * stride + tail] for start in starts]
    frames = torch.cat([compute(to_float(piece)[None])[0].movedim(axis, 0) for piece in pieces])  # [frames, *rest]
    return frames.unfold(0, count, hop // stride).movedim(-1, 1 + axis)


def frame_stride(frontend: Frontend, hop: int) -> int | None:
    """Return the number of samples from one frame to the next; None if windows share no frames."""
    frames = _read_frames(frontend, hop)
    return None if frames is None else hop // frames.hop


def _read_frames(frontend: Frontend, hop: int) -> Frames | None:
    """Return the time axis of the features; None if windows share no frames.

    Raises:
        UserError: the front end is recursive, and the hop is no whole number of frames.
    """
    try:
        return frontend.hop_frames(hop)
    except UserError:  # the hop is no whole number of frames
        if frontend.recursive:
            raise
        return None


def _kinds(scene: Scene, starts: Indices, window: int, ends_s: Array, kinds: Sequence[str]) -> Array:
    """Return the kind of every window, [hops].

    A window that overlaps an event is a positive. The rule for all others is that of the training windows.
    """
    for segment in scene.segments:
        if segment.kind not in kinds[POSITIVE + 1 :]:
            raise UserError(
                f"scene {scene.name!r}: background {segment.kind!r} is no kind of the data; kinds: {', '.join(kinds)}"
            )
    result = label_backgrounds(scene, starts, window, {name: k for k, name in enumerate(kinds) if k != POSITIVE})
    window_s = window / scene.rate
    for event in scene.events:
        first = np.searchsorted(ends_s, event.start_s, side="right")
        last = np.searchsorted(ends_s, event.end_s + window_s, side="left")
        result[first:last] = POSITIVE
    return result


def _count(seconds: float, rate: float, what: str) -> int:
    samples = round(seconds * rate)
    if samples < 1 or abs(samples - seconds * rate) > 1e-6 * samples:
        raise UserError(
            f"stream: {what} of {seconds:g} s is {seconds * rate:g} samples at {rate:g} Hz; wanted: a whole number"
        )
    return samples
