"""Precision Gating: every output from a few high bits, the low bits only where it matters. After Zhang et al. 2020.

The paper is arXiv 2002.07136, its equations are taken from the released code; the masks M1 and M2, which ordinary
vector units can follow, are from Huang et al. 2020, "Pushing the Envelope of Dynamic Spatial Gating technologies":

    O_hb = I_hb * W          I_hb: the B_hb most significant of B bits of the input, I_lb = Q_B(x) - I_hb
    m    = 1[mean of O_hb over the channel's group > Delta]        groups of 1 (3d), of k (M2), of all channels (M1)
    O    = O_hb + m (I_lb * W) + bias                              Delta one per group; straight-through gradient
    loss = sigma sum (Delta - delta)^2

Of the released versions of the loss this is the squared one: the plain norm has no gradient at Delta = delta, which is
where training starts when the target is 0. Thresholds act on the sum without the bias, before any normalisation.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gatesearch.gates.base import BLOCK, Call, KernelCall, LayerGate, LayerWork
from gatesearch.gates.kind import Figure, GateKind
from gatesearch.gates.params import GateError, GateParams, param
from gatesearch.gates.phases import MASKS, finished, gathered_margins, margins, opened
from gatesearch.gates.quantise import BITS, UNQUANTISED, CalibratedRange, FixedRange, split, weight_levels
from gatesearch.graph.sites import LayerSite, reads_all_channels
from gatesearch.plan import Scalar

SIGMA = 1e-3  # weight of the threshold loss
BYTE = 8
MOST_WEIGHT_BITS = 64
WEIGHT_BITS = f"a whole number from 1 to {BITS} nor {UNQUANTISED} or None, which leave the weights as they are"


@dataclass(frozen=True)
class PGParams(GateParams):
    """What is chosen for one gate.

    >>> PGParams.read({"bits": 4, "high_bits": 2}).weight_bits, PGParams.read({"weight_bits": None}).weight_bits
    (4, 32)
    """

    bits: int = param(8, choices=(4, 8), low=1, high=BITS, doc="B, magnitude bits of the input")
    high_bits: int = param(
        4, choices=(2, 4), low=1, doc="B_hb, those that every output gets; B itself is plain quantisation"
    )
    mask: str = param(
        "3d", choices=tuple(MASKS), among=tuple(MASKS), new_program=True, doc="which outputs share a decision"
    )
    target: float = param(
        0.0, choices=(2.0, 1.0, 0.5, 0.0), doc="delta, to which the thresholds are drawn, in units of the output"
    )
    weight_bits: int = param(
        8, doc="of the weights, those of the input unless written; None, or 32 and more, leaves them as they are"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.high_bits > self.bits:
            raise GateError(f"high_bits: {self.high_bits!r} is not a whole number from 1 to bits, {self.bits}")
        if not (1 <= self.weight_bits <= BITS or UNQUANTISED <= self.weight_bits <= MOST_WEIGHT_BITS):
            raise GateError(f"weight_bits: {self.weight_bits!r} is neither {WEIGHT_BITS}")

    @classmethod
    def read(cls, written: Mapping[str, Scalar]) -> Self:
        """Build from what a plan says; ``weight_bits`` are those of the input where it is left out, None is 32."""
        filled = {"weight_bits": written.get("bits", cls.bits), **written}
        if filled["weight_bits"] is None:
            filled["weight_bits"] = UNQUANTISED
        return super().read(filled)

    @property
    def low_bits(self) -> int:
        """B_lb, the bits of the second phase."""
        return self.bits - self.high_bits

    @property
    def for_kernel(self) -> bool:
        """Whether the kernels have this arithmetic: weights of up to eight bits and a sign, either phase in a byte.

        Weights of eight bits are taken in two parts, one of which meets doubled inputs: so these have a bit less.
        """
        most = BYTE - (self.weight_bits == BYTE)
        return self.weight_bits <= BYTE and self.low_bits <= most and self.high_bits <= most

    def pieces(self, positive: bool) -> int:
        """Return in how many pieces kernels read a channel: by parts of the weights, and by sign."""
        return (1 + (self.weight_bits == BYTE)) * (1 + (not positive))


class PG(GateKind[LayerSite, PGParams]):
    """The kind: any linear layer or LSTM, and any convolution that reads all of its input channels (no groups)."""

    name = "pg"
    site_type = LayerSite
    Params = PGParams
    figures = (
        Figure("sparsity", "share", "Closed outputs", headline=True),
        Figure("weighted_sparsity", "share"),
        Figure("outputs", "outputs"),
    )

    def fits(self, site: LayerSite) -> bool:
        """Say whether the layer has a form that can be gated."""
        if site.op not in LAYERS:
            return False
        return site.op != "conv2d" or reads_all_channels(site)

    def choices(self, site: LayerSite) -> dict[str, tuple[Scalar, ...]]:
        """Return the searched values; M2 only where a group is smaller than the layer."""
        width = min(LAYERS[site.op].widths(site))
        masks = [name for name, mask in MASKS.items() if mask.group is None or mask.group < width]
        return {**super().choices(site), "mask": tuple(masks)}

    def build(
        self, site: LayerSite, params: PGParams, layer: nn.Module | None = None, norm: nn.BatchNorm2d | None = None
    ) -> LayerGate:
        """Build the module around a copy of the layer; a batch norm behind it stays where it is."""
        gate: LayerGate = LAYERS[site.op](layer, params)
        return gate

    def work(self, site: LayerSite, params: PGParams, observed: Mapping[str, float] | None = None) -> LayerWork:
        """Return the high bits of every output and the low bits of the open ones; of none, before there is a report."""
        mask = MASKS[params.mask]
        calls = [Call((params.high_bits, params.weight_bits))]
        sparsity = (observed or {}).get("weighted_sparsity", 1.0)
        if params.low_bits:
            calls.append(Call((params.low_bits, params.weight_bits), ((mask.skips, 1 - sparsity),)))
        thresholds = sum(mask.groups(width) for width in LAYERS[site.op].widths(site))
        kernels = _kernels(site, params, 1 - sparsity if params.low_bits else 0.0)
        return LayerWork(calls=tuple(calls), macs=0.0, params=thresholds + 1, density=1.0, kernels=kernels)


class PGLayer(nn.Module):
    """A layer whose product with its weights is computed in two phases.

    Args:
        layer: what to start from; copied.
        settings: bits, mask and target.
        input_range: clips the input and knows its range; by default learned and calibrated.
        sparse: lets the surrogate's gradient through only where the mask is open ("sparse back-propagation").

    Raises:
        GateError: the layer is not of a form that can be gated.
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
        # Outputs and closed ones, of all and of winning channels: whole numbers, which no change of precision touches.
        counts = torch.zeros(4, dtype=torch.int64, device=layer.weight.device)
        self.register_buffer("observed", counts, persistent=False)

    @staticmethod
    def widths(site: LayerSite) -> tuple[int, ...]:
        """Return the output channels of each gated product of the layer at a site."""
        raise NotImplementedError

    def product(self, levels: Tensor, weight: Tensor) -> Tensor:
        """Multiply by weights, without the bias: [N, *shape_in] to [N, C, ...]."""
        raise NotImplementedError

    def weights(self) -> tuple[Tensor, Tensor]:
        """Return the levels of the weights, of their shape, and the size of one, []."""
        return weight_levels(self.layer.weight, self.settings.weight_bits)

    def forward(self, x: Tensor, winners: Tensor | None = None) -> Tensor:
        """Map [N, *shape_in] to [N, *shape].

        Args:
            x: of any sign.
            winners: boolean [N, C], where only some channels count: groups decide by their winners' mean, and losers
                are closed. Losers' outputs are for the caller to suppress.
        """
        return self.gated(x, self.weights(), winners)

    def gated(self, x: Tensor, weights: tuple[Tensor, Tensor], winners: Tensor | None = None) -> Tensor:
        """Do as :meth:`forward`, with :meth:`weights` at hand; the channels come second, [N, C, ...]."""
        weight, weight_level = weights
        alpha, scale = self.range(x)
        parts = split(x.to(weight.dtype), alpha, scale, self.settings.bits, self.settings.low_bits)
        size = parts.level * weight_level
        high = self._exact_product(parts.coarse, weight)
        margin = margins(high, self.group, self.threshold, size, winners)
        if not self.training and not torch.compiler.is_compiling():
            self._observe(margin, winners)
        if self.settings.low_bits:
            high = opened(high, self._exact_product(parts.fine, weight), margin, self.sparse)
        return finished(high, size, self.layer.bias)

    def loss(self) -> Tensor:
        """sigma sum (Delta - delta)^2."""
        return SIGMA * (self.threshold - self.settings.target).square().sum()

    def steering(self) -> Iterator[nn.Parameter]:
        """Yield thresholds and the clip."""
        return chain([self.threshold], self.range.parameters())

    def anneal(self, progress: float) -> None:
        """Nothing to anneal."""

    def reset(self) -> None:
        """Forget what was observed."""
        self.observed.zero_()

    def report(self) -> dict[str, float]:
        """Return the share of closed outputs as ``sparsity``, and of how many ``outputs``; nothing where none was seen.

        ``weighted_sparsity`` weighs outputs by their multiply-accumulates, which are equal here. Where winners were
        given, losers count as closed, and ``sparsity_winners`` is the share among winning channels only.
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
        # Levels survive half precision, their sums do not: the mask would hang on the rounding.
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
    """A convolution [N, C_in, H, W] to [N, C, H', W']."""

    layer: nn.Conv2d

    def __init__(self, layer: nn.Conv2d, settings: PGParams, sparse: bool = False) -> None:
        if not isinstance(layer, nn.Conv2d) or layer.groups != 1:
            raise GateError(f"needs a convolution without groups, not {layer}")
        super().__init__(layer, settings, sparse=sparse)

    @staticmethod
    def widths(site: LayerSite) -> tuple[int, ...]:
        """One product, of all output channels."""
        return (site.channels,)

    def product(self, levels: Tensor, weight: Tensor) -> Tensor:
        """Convolve with the layer's stride, padding and dilation."""
        return self.layer._conv_forward(levels, weight, None)

    @torch.no_grad()
    def kept(self, x: Tensor, inputs: Tensor | None, winners: Tensor) -> Tensor:
        """Compute only what wins from only what is there, as in evaluation; equal to :meth:`forward` with winners.

        Args:
            x: [1, k_in, H, W], the input channels that are present; all others are zero.
            inputs: their indices [k_in]; None where all are present.
            winners: indices of the winning channels [k].

        Returns:
            [1, k, H', W'].
        """
        weight, weight_level = self.weights()
        weight = weight[winners] if inputs is None else weight[winners[:, None], inputs]
        alpha, scale = self.range(x)
        parts = split(x.to(weight.dtype), alpha, scale, self.settings.bits, self.settings.low_bits)
        size = parts.level * weight_level
        high = self._exact_product(parts.coarse, weight)
        margin = gathered_margins(high, winners, self.group, self.threshold, size)
        bias = None if self.layer.bias is None else self.layer.bias[winners]
        return finished(opened(high, self._exact_product(parts.fine, weight), margin), size, bias)


class PGLinear(PGLayer):
    """A linear layer [N, ..., C_in] to [N, ..., C]; M1 and M2 decide for all or k features of a position."""

    layer: nn.Linear

    def __init__(
        self, layer: nn.Linear, settings: PGParams, input_range: nn.Module | None = None, sparse: bool = False
    ) -> None:
        if not isinstance(layer, nn.Linear):
            raise GateError(f"needs a linear layer, not {layer}")
        super().__init__(layer, settings, input_range, sparse)

    @staticmethod
    def widths(site: LayerSite) -> tuple[int, ...]:
        """One product, of all output features."""
        return (site.shape[-1],)

    def product(self, levels: Tensor, weight: Tensor) -> Tensor:
        """Multiply; the features come second."""
        return F.linear(levels, weight).movedim(-1, 1)

    def forward(self, x: Tensor, winners: Tensor | None = None) -> Tensor:
        """Map [N, ..., C_in] to [N, ..., C]; see :meth:`PGLayer.forward`."""
        return super().forward(x, winners).movedim(1, -1)


class PGLSTM(nn.Module):
    """An LSTM of one layer and one direction; both products behind its gates, of the input and of the state, are gated.

    The state lies between -1 and 1 by nature, so its range is that, and needs no calibration.

    Args:
        layer: what to start from; copied.
        settings: bits, mask and target; a mask's channels are the 4 H gate pre-activations.

    Raises:
        GateError: the LSTM has several layers or directions, or projects its state.
    """

    traced_whole = True
    absorbs_norm = False

    def __init__(self, layer: nn.LSTM, settings: PGParams) -> None:
        super().__init__()
        if not isinstance(layer, nn.LSTM) or layer.num_layers > 1 or layer.bidirectional or layer.proj_size:
            raise GateError(f"needs an LSTM of one layer and one direction without a projection, not {layer}")
        self.batch_first, self.hidden_size = layer.batch_first, layer.hidden_size
        weights = dict(layer.named_parameters())
        self.input = PGLinear(_linear(weights["weight_ih_l0"], weights.get("bias_ih_l0")), settings)
        recurrent = _linear(weights["weight_hh_l0"], weights.get("bias_hh_l0"))
        self.state = PGLinear(recurrent, settings, FixedRange(1.0))

    @staticmethod
    def widths(site: LayerSite) -> tuple[int, ...]:
        """Two products of 4 H each."""
        return (4 * site.shape[-1],) * 2

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Map as ``nn.LSTM`` does: [T, N, F] or, batch first, [N, T, F] to ([.., .., H], (h, c) [1, N, H])."""
        ahead = self.input(x if self.batch_first else x.movedim(0, 1))
        zero = ahead.new_zeros(len(ahead), self.hidden_size)
        h, c = (zero, zero) if state is None else (state[0][0], state[1][0])
        weights, outputs = self.state.weights(), []
        for step in ahead.unbind(1):
            i, f, g, o = (step + self.state.gated(h, weights)).chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            outputs.append(h)
        return torch.stack(outputs, 1 if self.batch_first else 0), (h[None], c[None])

    def loss(self) -> Tensor:
        """The sum over both products."""
        return self.input.loss() + self.state.loss()

    def steering(self) -> Iterator[nn.Parameter]:
        """Yield thresholds and the clip of the input."""
        return chain(self.input.steering(), self.state.steering())

    def anneal(self, progress: float) -> None:
        """Nothing to anneal."""

    def reset(self) -> None:
        """Forget what was observed."""
        self.input.reset()
        self.state.reset()

    def report(self) -> dict[str, float]:
        """Return what :meth:`PGLayer.report` does; an output of a product weighs as much as the product is long."""
        parts = [self.input, self.state]
        if not self.input.report():
            return {}
        counts = torch.stack([part.observed for part in parts]).double()
        lengths = torch.tensor([part.layer.in_features for part in parts]).to(counts)
        outputs, closed = counts.sum(0)[:2].tolist()
        weighted_outputs, weighted_closed = (lengths @ counts)[:2].tolist()
        return {
            "sparsity": closed / outputs,
            "weighted_sparsity": weighted_closed / weighted_outputs,
            "outputs": outputs,
        }


LAYERS: Mapping[str, Any] = {"conv2d": PGConv2d, "linear": PGLinear, "lstm": PGLSTM}


def _kernels(site: LayerSite, settings: PGParams, share: float) -> tuple[KernelCall, ...]:
    """Return the run of a kernel with a share of the outputs open; none where no kernel has the layer or its bits."""
    shape = site.geometry
    if site.op == "linear":  # a convolution of 1 x 1 over its positions
        shape = (math.prod(site.shape_in[:-1]), 1, site.shape_in[-1], site.shape[-1], *[1] * 4, 0, 0, 1, 1)
    if not shape or not settings.for_kernel:
        return ()
    pieces, group = settings.pieces(site.positive), MASKS[settings.mask].size(shape[3])
    bits = settings.bits + 2 * (settings.weight_bits == BYTE)
    # Groups of whole blocks are all one to the kernel.
    variant = (("bytes", 1 if bits <= BYTE else 2), ("group", group if group % BLOCK else BLOCK))
    many = (("pieces", pieces),) if pieces > 1 else ()
    return (KernelCall("pg", (*shape[:2], shape[2] * pieces, *shape[3:]), (*variant, *many), (("open", share),)),)


def average_bits(bits: int, high_bits: int, sparsity: float) -> float:
    """Return B_avg = B_hb + (1 - Sp) (B - B_hb): every output gets the high bits, the open ones the low bits as well.

    Eq. 1 of Huang et al. 2020 has B_lb and B_hb exchanged. Its own Table 2 shows that this is a misprint: at 8/2 bits
    and a sparsity of 62.83 % it gives 4.23, where Eq. 1 as printed would be 6.74.

    >>> round(average_bits(8, 2, 0.6283), 2)
    4.23
    """
    return high_bits + (1 - sparsity) * (bits - high_bits)


def saving(bits: int, average: float) -> float:
    """Return B / B_avg, how many times less there is to compute (Huang et al. 2020, Eq. 2).

    >>> saving(8, average_bits(8, 4, 1.0))
    2.0
    """
    return bits / average


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device=weight.device, dtype=weight.dtype)
    with torch.no_grad():
        linear.weight.copy_(weight)
        if bias is not None:
            linear.bias.copy_(bias)
    return linear
