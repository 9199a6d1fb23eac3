"""The convolution inside an FBS layer: a plain one here, a gated one in :mod:`gatesearch.gates.hybrid`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from torch import Tensor, nn


class Inner(Protocol):
    """The convolution inside an FBS layer. It may be gated itself, and it receives which channels win."""

    def __call__(self, x: Tensor, winners: Tensor | None = None) -> Tensor:
        """Map [N, C_in, H, W] to [N, C, H', W'] without bias; losers by ``winners`` [N, C] are not read."""

    def loss(self) -> Tensor:
        """Return what the last forward in training adds to the loss, a scalar."""

    def control_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the parameters that train at a rate of their own; see :meth:`LayerGate.control_parameters`."""

    def anneal(self, progress: float) -> None:
        """Adapt to the progress of a training, from 0 to 1."""

    def reset(self) -> None:
        """Forget what was observed."""

    def report(self) -> Mapping[str, float]:
        """Return what was observed in evaluation since :meth:`reset`."""

    def compute_winners(self, x: Tensor, inputs: Tensor | None, winners: Tensor) -> Tensor:
        """Map [1, k_in, H, W], the channels ``inputs`` [k_in], to [1, k, H', W'], the channels ``winners`` [k]."""


class PlainConv2d(nn.Conv2d):
    """A convolution without bias and without a gate of its own, as an :class:`Inner`."""

    def forward(self, input: Tensor, winners: Tensor | None = None) -> Tensor:
        """Compute every channel, also those that lose."""
        return super().forward(input)

    def loss(self) -> Tensor:
        """Return 0: there is nothing to add."""
        return self.weight.new_zeros(())

    def control_parameters(self) -> Iterator[nn.Parameter]:
        """Yield nothing."""
        return iter(())

    def anneal(self, progress: float) -> None:
        """Do nothing."""

    def reset(self) -> None:
        """Do nothing."""

    def report(self) -> Mapping[str, float]:
        """Return nothing: nothing is observed."""
        return {}

    def compute_winners(self, x: Tensor, inputs: Tensor | None, winners: Tensor) -> Tensor:
        """Convolve with the winners' filters over the channels that are present."""
        return self._conv_forward(x, gather_filters(self.weight, inputs, winners), None)


def gather_filters(weight: Tensor, inputs: Tensor | None, winners: Tensor) -> Tensor:
    """Return the filters [k, k_in, ...] of ``winners`` [k] over the input channels ``inputs`` [k_in], None for all."""
    return weight[winners] if inputs is None else weight[winners[:, None], inputs]
