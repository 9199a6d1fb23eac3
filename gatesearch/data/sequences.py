"""Front end of sensor windows: axes normalised, and steps averaged where fewer of them will do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gatesearch.data.types import to_float
from gatesearch.errors import UserError


class Sequence(nn.Module):
    """Windows [N, steps, axes] -> [N, steps // average, axes], every axis with mean 0 and standard deviation 1.

    Args:
        average: steps that become one, their mean; what is left over at the end goes.

    Raises:
        UserError: a number below 1.

    >>> windows = torch.randn(40, 128, 6) * 5 + 2
    >>> out = Sequence(average=2).fit(windows)(windows)
    >>> out.shape, bool(out.mean((0, 1)).abs().max() < 1e-5)
    (torch.Size([40, 64, 6]), True)
    """

    name = "sequence"
    mean: Tensor
    std: Tensor

    def __init__(self, average: int = 1) -> None:
        super().__init__()
        if isinstance(average, bool) or not isinstance(average, int) or average < 1:
            raise UserError(f"frontend.average: {average!r} does not fit; wanted: 1 or more steps")
        self.average = average
        self.input_shape: tuple[int, ...] = ()  # of one window; known once fitted
        self.register_buffer("mean", torch.zeros(1))
        self.register_buffer("std", torch.ones(1))

    def forward(self, windows: Tensor) -> Tensor:
        """Return normalised windows."""
        return (self._averaged(windows) - self.mean) / self.std

    def _averaged(self, windows: Tensor) -> Tensor:
        steps = windows.shape[1] // self.average
        return to_float(windows)[:, : steps * self.average].unflatten(1, (steps, self.average)).mean(2)

    @torch.no_grad()
    def fit(self, inputs: Tensor) -> Sequence:
        """Set mean and standard deviation of every axis from training windows.

        Raises:
            UserError: the data are no windows, or shorter than an average.
        """
        if inputs.ndim != 3 or not len(inputs):
            raise UserError(
                f"frontend.name: sequence wants windows [steps, axes]; the data has {list(inputs.shape[1:])}"
            )
        if inputs.shape[1] < self.average:
            raise UserError(f"frontend.average: {self.average!r}; a window has {inputs.shape[1]} steps")
        averaged = self._averaged(inputs).double()
        std = averaged.std((0, 1), correction=0)
        self.input_shape = tuple(inputs.shape[1:])
        self.mean = averaged.mean((0, 1)).float()
        self.std = torch.where(std < 1e-5, 1.0, std).float()  # a constant axis stays zero
        return self

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of one window's features; empty before :meth:`fit`."""
        return (self.input_shape[0] // self.average, self.input_shape[1]) if self.input_shape else ()

    def macs(self) -> int:
        """Return one for every value that is read, and one for every value that is normalised; 0 before :meth:`fit`."""
        if not self.input_shape:
            return 0
        steps, axes = self.output_shape
        return steps * axes * (1 + (self.average if self.average > 1 else 0))

    def describe(self) -> dict[str, Any]:
        """Return what :func:`gatesearch.data.restore` needs, as JSON-ready values."""
        return {
            "name": self.name,
            "args": {"average": self.average},
            "mean": self.mean.tolist(),
            "std": self.std.tolist(),
            "input_shape": list(self.input_shape),
            "output_shape": list(self.output_shape),
            "macs": self.macs(),
        }

    def refit(self, description: Mapping[str, Any]) -> None:
        """Take over what was fitted, as :meth:`describe` tells it."""
        self.input_shape = tuple(description["input_shape"])
        self.mean, self.std = torch.tensor(description["mean"]), torch.tensor(description["std"])
