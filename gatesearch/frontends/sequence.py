"""The front end ``sequence`` for windows of sensor data: it averages time steps and normalises sensor axes."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from gatesearch._lib.tensors import to_float
from gatesearch.errors import UserError
from gatesearch.frontends.base import CHUNK_SAMPLES, NormalisingFrontend, count_hop_frames, mean_and_std
from gatesearch.frontends.feature_steps import SCALE, Step
from gatesearch.graph.hops.frames import Frames


class SensorSequence(NormalisingFrontend):
    """Averages and normalises windows, [N, steps, axes] to [N, frames, axes] with steps // average frames.

    A step is one time step. An axis is one signal of a sensor, such as the acceleration in x. Every axis gets mean 0
    and standard deviation 1 on the training split.

    Args:
        average: number of consecutive steps whose mean becomes one step; a remainder at the end of the window is cut
            off.
        channel: whether the features get a channel axis, [N, 1, frames, axes], as networks of 2-D convolutions read
            them.

    Raises:
        UserError: ``average`` is below 1 or no integer.

    >>> windows = torch.randn(40, 128, 6) * 5 + 2
    >>> out = SensorSequence(average=2).fit(windows)(windows)
    >>> out.shape, bool(out.mean((0, 1)).abs().max() < 1e-5)
    (torch.Size([40, 64, 6]), True)
    """

    name = "sequence"
    expects = "windows [steps, axes]"
    dimensions = 2

    def __init__(self, average: int = 1, channel: bool = False) -> None:
        super().__init__()
        if isinstance(average, bool) or not isinstance(average, int) or average < 1:
            raise UserError(f"frontend.average: {average!r} does not fit; wanted: 1 or more steps")
        self.arguments["average"] = self.average = average
        self.channel = channel
        if channel:
            self.arguments["channel"] = True

    def forward(self, windows: Tensor) -> Tensor:
        """Return normalised windows, [N, steps, axes] -> [N, frames, axes] or [N, 1, frames, axes]."""
        features = self.normalise(self._average_steps(windows))
        return features.unsqueeze(1) if self.channel else features

    def hop_frames(self, hop: int) -> Frames:
        """Return the time axis of the features for a hop of ``hop`` time steps.

        Raises:
            UserError: the hop is no multiple of ``average``.
        """
        return Frames(axis=1 + self.channel, count=self._frames, hop=count_hop_frames(hop, self.average))

    def hop_state(self, window: Tensor) -> Tensor:
        """Return the end of a window [N, steps, axes] that no frame reads, [N, fewer than ``average``, axes]."""
        return window[:, self._frames * self.average :]

    def step(self, samples: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features of the frames that end in a hop, and the next state."""
        frames = self.hop_frames(samples.shape[1])
        both = torch.cat([state, samples], 1)
        first = (frames.hop - frames.fresh) * self.average
        return self(both[:, first : first + frames.fresh * self.average]), both[:, samples.shape[1] :]

    def hop_macs(self, hop: int) -> int:
        """Return the multiply-accumulates of the fresh frames of a hop."""
        return self.macs() * self.hop_frames(hop).fresh // max(1, self._frames)

    @property
    def _frames(self) -> int:
        return self.input_shape[0] // self.average

    def _average_steps(self, windows: Tensor) -> Tensor:
        steps = windows.shape[1] // self.average
        return to_float(windows)[:, : steps * self.average].unflatten(1, (steps, self.average)).mean(2)

    @torch.no_grad()
    def fit(self, inputs: Tensor) -> Self:
        """Set mean and standard deviation of every axis from training windows [N, steps, axes].

        Raises:
            UserError: the data are no windows, or a window has fewer steps than ``average``.
        """
        super().fit(inputs)
        if inputs.shape[1] < self.average:
            raise UserError(f"frontend.average: {self.average!r}; a window has {inputs.shape[1]} steps")
        averages = (self._average_steps(chunk.to(self.mean.device)) for chunk in inputs.split(CHUNK_SAMPLES))
        self.set_statistics(*mean_and_std(averages, (0, 1)))
        return self

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of one window's features (frames, axes) or (1, frames, axes); empty before :meth:`fit`."""
        if not self.input_shape:
            return ()
        shape = (self._frames, self.input_shape[1])
        return (1, *shape) if self.channel else shape

    def macs(self) -> int:
        """Return the multiply-accumulates of a window; 0 before :meth:`fit`.

        Averaging takes one for each value that goes into a mean. Normalisation takes one for each value of the result.
        With ``average`` 1, only normalisation counts.
        """
        if not self.input_shape:
            return 0
        averaged = self.average if self.average > 1 else 0
        return self._frames * self.input_shape[1] * (1 + averaged)

    def feature_steps(self) -> list[Step]:
        """Return the steps as data: scale, average, and normalise every axis."""
        average: Step = {"operation": "average", "count": self.average}
        return [SCALE, *([average] if self.average > 1 else []), {"operation": "normalise", "axis": -1}]
