"""The convolution inside an FBS layer: the interface that FBS needs, and a plain convolution with this interface.

FBS is Feature Boosting and Suppression. :mod:`gatesearch.gates.hybrid` uses a gated convolution instead of a plain one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from torch import Tensor, nn


class Inner(Protocol):
    """The convolution inside an FBS layer; it may be a gate itself."""

    def __call__(self, x: Tensor, winners: Tensor | None = None) -> Tensor:
        """Map [N, C_in, H, W] to [N, C, H', W'] without bias.

        ``winners`` [N, C] says which channels win; the caller ignores the outputs of all other channels.
        """

    def loss(self) -> Tensor:
        """Return the convolution's term of the training loss for the last forward in training, a scalar."""

    def control_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the parameters that train at a rate of their own; see :meth:`LayerGate.control_parameters`."""

    def anneal(self, progress: float) -> None:
        """Adapt the convolution to the progress of a training, from 0 to 1."""

    def reset(self) -> None:
        """Clear all observations."""

    def report(self) -> Mapping[str, float]:
        """Return figures observed in evaluation since :meth:`reset`."""

    def compute_winners(self, x: Tensor, inputs: Tensor | None, winners: Tensor) -> Tensor:
        """Compute the winning channels of one sample, [1, k_in, H, W] to [1, k, H', W'].

        ``inputs`` [k_in] holds the indices of the input channels that are present. ``winners`` [k] holds the indices of
        the channels that win.
        """


class PlainConv2d(nn.Conv2d):
    """A convolution without bias and without a gate of its own, as an :class:`Inner`."""

    def forward(self, input: Tensor, winners: Tensor | None = None) -> Tensor:
        """Compute every channel, also those that lose."""
        return super().forward(input)

    def loss(self) -> Tensor:
        """Return 0: a plain convolution has no loss of its own."""
        return self.weight.new_zeros(())

    def control_parameters(self) -> Iterator[nn.Parameter]:
        """Yield nothing: a plain convolution has only weights."""
        return iter(())

    def anneal(self, progress: float) -> None:
        """Do nothing: a plain convolution does not depend on the progress."""

    def reset(self) -> None:
        """Do nothing: a plain convolution observes nothing."""

    def report(self) -> Mapping[str, float]:
        """Return nothing: a plain convolution observes nothing."""
        return {}

    def compute_winners(self, x: Tensor, inputs: Tensor | None, winners: Tensor) -> Tensor:
        """Convolve with the winners' filters over the channels that are present."""
        return self._conv_forward(x, gather_filters(self.weight, inputs, winners), None)


def gather_filters(weight: Tensor, inputs: Tensor | None, winners: Tensor) -> Tensor:
    """Return the filters [k, k_in, ...] of ``winners`` [k] over the input channels ``inputs`` [k_in], None for all."""
    return weight[winners] if inputs is None else weight[winners[:, None], inputs]
