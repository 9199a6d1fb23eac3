"""Draws new training windows from a stream in each epoch, at random offsets.

A network that trains on the same few thousand windows in every epoch overfits to them. The frames of a stream are
computed once, and all windows share these frames. So new windows in each epoch take no extra time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from gatesearch.data import StreamDataset
from gatesearch.data.scenes import Scene
from gatesearch.data.scenes.window_labels import PARTIAL, label_windows
from gatesearch.data.scenes.windows import name_classes
from gatesearch.errors import UserError
from gatesearch.frontends import Frontend
from gatesearch.training.stream_split import frame_stride, window_features

MAX_REPEATS = 8  # largest mean number of draws of one hard negative in an epoch


@dataclass
class StreamWindows:
    """All windows of a stream from which an epoch draws; one window starts at each frame.

    Args:
        features: features of the windows, [windows, *shape]; a view, because windows share frames.
        labels: class of each window, [windows]; ``PARTIAL`` if the window holds only a part of an event.
        events: index of the event that each window holds completely, [windows]; -1 for all other windows.
        count: number of windows in an epoch.
        positive_share: share of the windows of an epoch that hold an event.
        windows_a_hop: number of windows from one decision to the next.
        hard: indices of hard negatives, which a network took for positives, [hard]; a training sets them.
        baseline_hard: indices of the hard negatives of the baseline, with which later trainings begin, [hard].
        hard_share: share of hard negatives among the negatives of an epoch.
    """

    features: Tensor
    labels: Tensor
    events: Tensor
    count: int
    positive_share: float
    windows_a_hop: int = 1
    hard: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.long))
    baseline_hard: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.long))
    hard_share: float = 0.0

    def __post_init__(self) -> None:
        positives = (self.events >= 0).nonzero().flatten()
        order = self.events[positives].argsort(stable=True)
        self.positives = positives[order]  # sorted by event
        self.sizes = torch.bincount(self.events[positives])
        self.sizes = self.sizes[self.sizes > 0]  # for each event that a window holds, the number of such windows
        self.negatives = ((self.events < 0) & (self.labels != PARTIAL)).nonzero().flatten()

    def draw(self) -> Tensor:
        """Return the windows of an epoch in random order, as indices [count].

        More windows hold a short event than a long one. Events are drawn in turn, so that short events are not drawn
        more often than long ones.
        """
        positives = round(self.positive_share * self.count) if len(self.positives) else 0
        hard = min(round(self.hard_share * (self.count - positives)), MAX_REPEATS * len(self.hard))
        rounds = -(-positives // max(1, len(self.sizes)))
        turns = [torch.randperm(len(self.sizes)) for _ in range(rounds)]
        event = torch.cat([torch.zeros(0, dtype=torch.long), *turns])[:positives]
        first = self.sizes.cumsum(0) - self.sizes
        offset = (torch.rand(positives) * self.sizes[event]).long()
        parts = [
            self.positives[first[event] + offset],
            self.hard[torch.randint(max(1, len(self.hard)), (hard,))],
            self.negatives[torch.randint(len(self.negatives), (self.count - positives - hard,))],
        ]
        windows = torch.cat(parts)
        return windows[torch.randperm(len(windows))]

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of an epoch, features [size, *shape] and labels [size]; a smaller last batch is dropped."""
        for indices in self.draw().split(size)[: self.count // size]:
            yield self.features[indices], self.labels[indices]


@torch.no_grad()
def read_stream_windows(data: StreamDataset, frontend: Frontend) -> StreamWindows | None:
    """Return the windows of a data set's training stream.

    Returns:
        The windows; None if the data have no training stream, or if the front end's windows share no frames.

    Raises:
        UserError: the stream has no window without an event.
    """
    scene = data.streams.get("train")
    window, hop = round(data.window_s * (data.sample_rate or 0)), round(data.hop_s * (data.sample_rate or 0))
    stride = None if scene is None else frame_stride(frontend, hop)
    if scene is None or stride is None:
        return None
    features = window_features(torch.from_numpy(scene.samples), frontend, window, stride)
    starts = stride * np.arange(len(features))
    labels = label_windows(scene, starts, window, data.classes, data.inside, name_classes(scene, None, data.classes)[0])
    windows = StreamWindows(
        features=features,
        labels=torch.from_numpy(labels),
        events=torch.from_numpy(_events(scene, starts, labels, data.classes)),
        count=len(data.train),
        positive_share=data.positive_share,
        windows_a_hop=hop // stride,
    )
    if not len(windows.negatives):
        raise UserError(f"scene {scene.name!r}: no window of {data.window_s:g} s is without an event")
    return windows


def _events(scene: Scene, starts: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """Return, for each window labelled as an event, the index of the first event in it; -1 for others, [windows]."""
    ends = np.array([round(event.end_s * scene.rate) for event in scene.events])
    is_event = np.isin(labels, [classes.index(name) for name in scene.classes])
    return np.where(is_event, np.searchsorted(ends, starts, side="right"), -1)
