"""Convolutions and linear layers with Precision Gating; :mod:`gatesearch.gates.pg` has the equations."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gatesearch.gates.params import GateError
from gatesearch.gates.pg.arithmetic import MASKS, add_low_bits, margins, margins_of_winners, rescale
from gatesearch.gates.pg.params import PGParams
from gatesearch.gates.quantise import CalibratedRange, split, weight_levels
from gatesearch.graph.sites import LayerSite

SIGMA = 1e-3  # weight of the threshold loss


class PGLayer(nn.Module):
    """A layer that computes the product with its weights in two phases: from high bits, then from low bits.

    Args:
        layer: the trained layer; copied.
        settings: the gate's parameters: bits, mask and target.
        input_range: a module that returns the clipping value alpha and the range of the clipped input. By default,
            alpha is learned, and the range is a running mean.
        sparse: whether the gradient of the mask is zero where the mask is closed ("sparse back-propagation").

    Raises:
        GateError: the layer has a form that cannot be gated.
    """

    traced_whole = True
    absorbs_norm = False
    observed: Tensor

    def __init__(
        self,
        layer: nn.Conv2d | nn.Linear,
        settings: PGParams,
        input_range: nn.Module | None = None,
        sparse: bool = False,
    ) -> None:
        super().__init__()
        self.settings, self.sparse = settings, sparse
        self.layer = copy.deepcopy(layer)
        self.channels = len(layer.weight)
        self.group = MASKS[settings.mask].size(self.channels)
        self.range = CalibratedRange() if input_range is None else input_range
        self.threshold = nn.Parameter(torch.zeros(MASKS[settings.mask].groups(self.channels)))
        self.to(layer.weight)
        # Counts of outputs and of closed outputs, for all channels and then for winning channels (FBS). They are int64,
        # so that converting the module to another float precision leaves them exact.
        counts = torch.zeros(4, dtype=torch.int64, device=layer.weight.device)
        self.register_buffer("observed", counts, persistent=False)

    @staticmethod
    def widths(site: LayerSite) -> tuple[int, ...]:
        """Return the number of output channels of each gated product of the layer at a site."""
        raise NotImplementedError

    def product(self, levels: Tensor, weight: Tensor) -> Tensor:
        """Multiply by weights, without the bias: [N, *shape_in] to [N, C, ...]."""
        raise NotImplementedError

    def weights(self) -> tuple[Tensor, Tensor]:
        """Return the levels of the weights, in the weights' shape, and the size of one level, []."""
        return weight_levels(self.layer.weight, self.settings.weight_bits)

    def forward(self, x: Tensor, winners: Tensor | None = None) -> Tensor:
        """Map [N, *shape_in] to [N, *shape].

        Args:
            x: inputs of any sign.
            winners: the channels that FBS (Feature Boosting and Suppression) computes, boolean [N, C]; None without
                FBS. A group then decides by the mean over its winners, and losing channels are closed. The caller sets
                the outputs of losing channels to zero.
        """
        return self.gated(x, self.weights(), winners)

    def gated(self, x: Tensor, weights: tuple[Tensor, Tensor], winners: Tensor | None = None) -> Tensor:
        """Compute :meth:`forward`, given the result of :meth:`weights`; in the result the channels are axis 1."""
        weight, weight_level = weights
        alpha, scale = self.range(x)
        parts = split(x.to(weight.dtype), alpha, scale, self.settings.bits, self.settings.low_bits)
        size = parts.level * weight_level
        high = self._exact_product(parts.coarse, weight)
        margin = margins(high, self.group, self.threshold, size, winners)
        if not self.training and not torch.compiler.is_compiling():
            self._observe(margin, winners)
        if self.settings.low_bits:
            high = add_low_bits(high, self._exact_product(parts.fine, weight), margin, self.sparse)
        return rescale(high, size, self.layer.bias)

    def loss(self) -> Tensor:
        """Return sigma sum (Delta - delta)^2, which pulls the thresholds Delta to the target delta."""
        return SIGMA * (self.threshold - self.settings.target).square().sum()

    def control_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the thresholds and the clipping value alpha."""
        return chain([self.threshold], self.range.parameters())

    def anneal(self, progress: float) -> None:
        """Do nothing: the layer does not depend on the progress of a training."""

    def reset(self) -> None:
        """Clear all observations."""
        self.observed.zero_()

    def report(self) -> dict[str, float]:
        """Return ``sparsity``, the share of closed outputs, and ``outputs``, their number; empty before any output.

        ``weighted_sparsity`` weights outputs by their multiply-accumulates. All outputs of this layer take equally
        many, so it equals ``sparsity``. Inside an FBS layer, losing channels count as closed, and ``sparsity_winners``
        is the share of closed outputs in winning channels.
        """
        outputs, closed, of_winners, closed_winners = self.observed.tolist()
        if not outputs:
            return {}
        sparsity = closed / outputs
        report = {"sparsity": sparsity, "weighted_sparsity": sparsity, "outputs": float(outputs)}
        return report | ({"sparsity_winners": closed_winners / of_winners} if of_winners else {})

    def _exact_product(self, levels: Tensor, weight: Tensor) -> Tensor:
        if not torch.is_autocast_enabled(levels.device.type):
            return self.product(levels, weight)
        # Half precision holds the levels exactly but not their sums, so the mask would depend on rounding.
        with torch.autocast(levels.device.type, enabled=False):
            return self.product(levels, weight)

    @torch.no_grad()
    def _observe(self, margin: Tensor, winners: Tensor | None) -> None:
        outputs, is_open = margin.numel(), (margin > 0).sum()
        self.observed[0] += outputs
        self.observed[1] += outputs - is_open
        if winners is not None:
            of_winners = winners.sum() * (outputs // winners.numel())
            self.observed[2] += of_winners
            self.observed[3] += of_winners - is_open


class PGConv2d(PGLayer):
    """A convolution with Precision Gating, [N, C_in, H, W] to [N, C, H', W']."""

    layer: nn.Conv2d

    def __init__(self, layer: nn.Conv2d, settings: PGParams, sparse: bool = False) -> None:
        if not isinstance(layer, nn.Conv2d) or layer.groups != 1:
            raise GateError(f"needs a convolution without groups, not {layer}")
        super().__init__(layer, settings, sparse=sparse)

    @staticmethod
    def widths(site: LayerSite) -> tuple[int, ...]:
        """Return the number of output channels of the one product."""
        return (site.channels,)

    def product(self, levels: Tensor, weight: Tensor) -> Tensor:
        """Convolve with the layer's stride, padding and dilation."""
        return self.layer._conv_forward(levels, weight, None)

    @torch.no_grad()
    def compute_winners(self, x: Tensor, inputs: Tensor | None, winners: Tensor) -> Tensor:
        """Compute the winning channels of one sample from the input channels that are present.

        The result equals that of :meth:`forward` with ``winners``.

        Args:
            x: the input channels that are present, [1, k_in, H, W]; all others are zero.
            inputs: indices of the input channels that are present, [k_in]; None where all are present.
            winners: indices of the winning channels, [k].

        Returns:
            The winning channels, [1, k, H', W'].
        """
        weight, weight_level = self.weights()
        weight = weight[winners] if inputs is None else weight[winners[:, None], inputs]
        alpha, scale = self.range(x)
        parts = split(x.to(weight.dtype), alpha, scale, self.settings.bits, self.settings.low_bits)
        size = parts.level * weight_level
        high = self._exact_product(parts.coarse, weight)
        margin = margins_of_winners(high, winners, self.group, self.threshold, size)
        bias = None if self.layer.bias is None else self.layer.bias[winners]
        return rescale(add_low_bits(high, self._exact_product(parts.fine, weight), margin), size, bias)


class PGLinear(PGLayer):
    """A linear layer with Precision Gating, [N, ..., C_in] to [N, ..., C]; its features count as channels."""

    layer: nn.Linear

    def __init__(
        self, layer: nn.Linear, settings: PGParams, input_range: nn.Module | None = None, sparse: bool = False
    ) -> None:
        if not isinstance(layer, nn.Linear):
            raise GateError(f"needs a linear layer, not {layer}")
        super().__init__(layer, settings, input_range, sparse)

    @staticmethod
    def widths(site: LayerSite) -> tuple[int, ...]:
        """Return the number of output features of the one product."""
        return (site.shape[-1],)

    def product(self, levels: Tensor, weight: Tensor) -> Tensor:
        """Multiply by the weights; in the result the features are axis 1."""
        return F.linear(levels, weight).movedim(-1, 1)

    def forward(self, x: Tensor, winners: Tensor | None = None) -> Tensor:
        """Map [N, ..., C_in] to [N, ..., C]; see :meth:`PGLayer.forward`."""
        return super().forward(x, winners).movedim(1, -1)
