"""The front end ``sequence`` for windows of sensor data: it averages time steps and normalises sensor axes."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from gatesearch._lib.tensors import to_float
from gatesearch.errors import UserError
from gatesearch.frontends.base import CHUNK_SAMPLES, NormalisingFrontend, mean_and_std
from gatesearch.frontends.feature_steps import SCALE, Step


class SensorSequence(NormalisingFrontend):
    """Averages and normalises windows, [N, steps, axes] to [N, steps // average, axes].

    A step is one time step. An axis is one signal of a sensor, such as the acceleration in x. Every axis gets mean 0
    and standard deviation 1 on the training split.

    Args:
        average: number of consecutive steps whose mean becomes one step; a remainder at the end of the window is cut
            off.

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

    def __init__(self, average: int = 1) -> None:
        super().__init__()
        if isinstance(average, bool) or not isinstance(average, int) or average < 1:
            raise UserError(f"frontend.average: {average!r} does not fit; wanted: 1 or more steps")
        self.arguments["average"] = self.average = average

    def forward(self, windows: Tensor) -> Tensor:
        """Return normalised windows, [N, steps, axes] -> [N, steps // average, axes]."""
        return self.normalise(self._average_steps(windows))

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
        """Shape of one window's features (steps, axes); empty before :meth:`fit`."""
        if not self.input_shape:
            return ()
        steps, axes = self.input_shape
        return (steps // self.average, axes)

    def macs(self) -> int:
        """Return the multiply-accumulates of a window; 0 before :meth:`fit`.

        Averaging takes one for each value that goes into a mean. Normalisation takes one for each value of the result.
        With ``average`` 1, only normalisation counts.
        """
        if not self.input_shape:
            return 0
        steps, axes = self.output_shape
        averaged = self.average if self.average > 1 else 0
        return steps * axes * (1 + averaged)

    def feature_steps(self) -> list[Step]:
        """Return the steps as data: scale, average, and normalise every axis."""
        average: Step = {"operation": "average", "count": self.average}
        return [SCALE, *([average] if self.average > 1 else []), {"operation": "normalise", "axis": -1}]
