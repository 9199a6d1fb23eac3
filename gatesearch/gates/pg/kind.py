"""The gate kind ``pg`` (Precision Gating): the sites where it fits and the work that remains with it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import nn

from gatesearch.gates.kind import Figure, GateKind
from gatesearch.gates.modules import LayerGate
from gatesearch.gates.pg.arithmetic import MASKS
from gatesearch.gates.pg.layers import PGConv2d, PGLinear
from gatesearch.gates.pg.lstm import PGLSTM
from gatesearch.gates.pg.params import BYTE, PGParams
from gatesearch.gates.work import BLOCK, Call, KernelCall, LayerWork
from gatesearch.graph.sites import LayerSite
from gatesearch.plan import Scalar

LAYERS: Mapping[str, Any] = {"conv2d": PGConv2d, "linear": PGLinear, "lstm": PGLSTM}


class PG(GateKind[LayerSite, PGParams]):
    """The gate kind ``pg``, for every linear layer, every LSTM and every convolution without groups."""

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
        return site.op in LAYERS

    def choices(self, site: LayerSite) -> dict[str, tuple[Scalar, ...]]:
        """Return the values that a search tries.

        They include a mask over groups of channels (M2) only if the layer has more channels than a group.
        """
        width = min(LAYERS[site.op].widths(site))
        masks = [name for name, mask in MASKS.items() if mask.group is None or mask.group < width]
        return {**super().choices(site), "mask": tuple(masks)}

    def build(
        self, site: LayerSite, params: PGParams, layer: nn.Module | None = None, norm: nn.BatchNorm2d | None = None
    ) -> LayerGate:
        """Build the module around a copy of the layer; a batch normalisation behind the layer stays where it is."""
        gate: LayerGate = LAYERS[site.op](layer, params)
        return gate

    def work(self, site: LayerSite, params: PGParams, observed: Mapping[str, float] | None = None) -> LayerWork:
        """Return the work: the high bits of every output and the low bits of the open outputs.

        Without a report, no output counts as open.
        """
        mask = MASKS[params.mask]
        calls = [Call((params.high_bits, params.weight_bits))]
        sparsity = (observed or {}).get("weighted_sparsity", 1.0)
        if params.low_bits:
            calls.append(Call((params.low_bits, params.weight_bits), ((mask.skips, 1 - sparsity),)))
        thresholds = sum(mask.groups(width) for width in LAYERS[site.op].widths(site))
        kernels = _kernels(site, params, 1 - sparsity if params.low_bits else 0.0)
        return LayerWork(calls=tuple(calls), macs=0.0, params=thresholds + 1, density=1.0, kernels=kernels)


def _kernels(site: LayerSite, params: PGParams, share: float) -> tuple[KernelCall, ...]:
    """Return the kernel call for a ``share`` of open outputs; empty where no kernel fits the layer or its bits."""
    shape = site.geometry
    if site.op == "linear":  # the same kernel computes it as a 1 x 1 convolution over its positions
        shape = (math.prod(site.shape_in[:-1]), 1, site.shape_in[-1], site.shape[-1], *[1] * 4, 0, 0, 1, 1)
    if not shape or not params.for_kernel:
        return ()
    operands, group = params.count_operands(site.positive), MASKS[params.mask].size(shape[3])
    bits = params.bits + 2 * (params.weight_bits == BYTE)
    # The kernel runs the same program for all groups that consist of whole blocks.
    variant = (("bytes", 1 if bits <= BYTE else 2), ("group", group if group % BLOCK else BLOCK))
    many = (("pieces", operands),) if operands > 1 else ()
    return (KernelCall("pg", (*shape[:2], shape[2] * operands, *shape[3:]), (*variant, *many), (("open", share),)),)
