"""The front end of a codec: the waveform itself, at one level."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gatesearch.data.types import to_float
from gatesearch.errors import UserError

FLOOR = 1e-3  # root mean square; what is quieter (-60 dB of full scale) stays quiet
# Features leave a front end on the int8 grid on which a device hands them on, 16 steps to a standard deviation, so that
# what a network is trained on, exported with and run on is the same to the last bit.
STEP, LOWEST, HIGHEST = 1 / 16, -128, 127


RANGE = (LOWEST * STEP, HIGHEST * STEP)


def on_grid(values: Tensor) -> Tensor:
    """Return values rounded to the grid, and held within its ends."""
    return torch.round(values / STEP).clamp(LOWEST, HIGHEST) * STEP


def require_sound(name: str, inputs: Tensor) -> None:
    """Check that a front end is given clips [N, samples].

    Raises:
        UserError: the data is no sound.
    """
    if inputs.ndim != 2:
        found = list(inputs.shape[1:])
        raise UserError(f"frontend.name: {name} wants sound, [samples] each; the data has {found}")


class Wave(nn.Module):
    """Waveforms [N, samples] at root mean square 1, as [N, 1, samples, 1].

    A codec sends the level beside its codes, a number a window. So every window counts alike, and int8 steps serve a
    whisper as they serve a shout.

    >>> Wave()(torch.full((1, 4), 100, dtype=torch.int16)).flatten().tolist()
    [1.0, 1.0, 1.0, 1.0]
    """

    name = "wave"

    def __init__(self) -> None:
        super().__init__()
        self.samples = 0

    @property
    def output_range(self) -> tuple[float, float]:
        """Smallest and largest value that comes out."""
        return RANGE

    def forward(self, inputs: Tensor) -> Tensor:
        """Return inputs [N, samples] at one level, [N, 1, samples, 1]."""
        waves = to_float(inputs)
        level = waves.square().mean(1, keepdim=True).sqrt().clamp(min=FLOOR)
        return on_grid(waves / level)[:, None, :, None]

    def fit(self, inputs: Tensor) -> Wave:
        """Take note of how many samples there are.

        Raises:
            UserError: the data is no sound.
        """
        require_sound(self.name, inputs)
        self.samples = inputs.shape[1]
        return self

    def macs(self) -> int:
        """Return the multiplications of a window: a square and a quotient for each sample."""
        return 2 * self.samples

    def describe(self) -> dict[str, Any]:
        """Return what :func:`gatesearch.data.restore` needs, as JSON-ready values."""
        return {
            "name": self.name,
            "args": {},
            "input_shape": [self.samples],
            "output_shape": [1, self.samples, 1],
            "macs": self.macs(),
        }

    def refit(self, description: Mapping[str, Any]) -> None:
        """Take over what was fitted, as :meth:`describe` tells it."""
        self.samples = int(description["input_shape"][0])
