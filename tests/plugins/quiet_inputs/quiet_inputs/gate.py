"""The gate kind ``quiet``: a linear layer that skips inputs with a magnitude below a limit."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gatesearch.gates import Call, Figure, GateError, GateKind, GateParams, KernelCall, LayerWork, param
from gatesearch.graph.sites import LayerSite


@dataclass(frozen=True)
class QuietParams(GateParams):
    """The parameters of one gate."""

    limit: float = param(0.5, choices=(1.0, 0.5, 0.25), above=0, high=100, doc="inputs nearer to zero are left out")


class Quiet(GateKind[LayerSite, QuietParams]):
    """The gate kind that a search space names as ``quiet``."""

    name = "quiet"
    site_type = LayerSite
    Params = QuietParams
    figures = (Figure("share_read", "share", "Inputs that are read"),)

    def fits(self, site: LayerSite) -> bool:
        """Return whether the layer is linear."""
        return site.op == "linear"

    def build(
        self, site: LayerSite, params: QuietParams, layer: nn.Module | None = None, norm: nn.BatchNorm2d | None = None
    ) -> QuietLinear:
        """Return the module for a trained layer; a normalisation behind the layer stays in the network."""
        if not isinstance(layer, nn.Linear):
            raise GateError(f"needs a linear layer, not {layer}")
        return QuietLinear(layer, params.limit)

    def work(self, site: LayerSite, params: QuietParams, observed: Mapping[str, float] | None = None) -> LayerWork:
        """Return the work: one kernel call with the share of inputs that were read, 0 before any observation."""
        share = (observed or {}).get("share_read", 0.0)
        rows = math.prod(site.shape_in[:-1])
        kernel = KernelCall("quiet", (rows, site.shape_in[-1], site.shape[-1]), (), (("read", share),))
        call = Call((8, 8), (("element", share),))
        return LayerWork(calls=(call,), macs=0.0, params=0, density=1.0, kernels=(kernel,))


class QuietLinear(nn.Module):
    """The module of the gate, from inputs [N, ..., F] to outputs [N, ..., H]."""

    traced_whole = True
    absorbs_norm = False

    def __init__(self, layer: nn.Linear, limit: float) -> None:
        super().__init__()
        self.limit = limit
        self.weight = nn.Parameter(layer.weight.detach().clone())
        self.bias = None if layer.bias is None else nn.Parameter(layer.bias.detach().clone())
        self.register_buffer("counts", torch.zeros(2, dtype=torch.int64), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs, to which inputs below the limit add nothing."""
        read = x.abs() >= self.limit
        if not self.training and not torch.compiler.is_compiling():
            self.counts += torch.stack([read.sum(), torch.tensor(x.numel())])
        return F.linear(x * read, self.weight, self.bias)

    def loss(self) -> Tensor:
        """Return the gate's part of the training loss: zero."""
        return self.weight.new_zeros(())

    def control_parameters(self) -> Iterator[nn.Parameter]:
        """Return the parameters that need a learning rate of their own: none."""
        return iter(())

    def anneal(self, progress: float) -> None:
        """Do nothing: the gate does not change in the course of a training."""

    def reset(self) -> None:
        """Set the counts of observed inputs to zero."""
        self.counts.zero_()

    def report(self) -> dict[str, float]:
        """Return the share of inputs that were read in evaluation since the last reset."""
        read, total = self.counts.tolist()
        return {"share_read": read / total} if total else {}
