"""Batch normalisation over groups of a fixed size, so that the batch size does not change what is trained."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Norm = nn.BatchNorm1d | nn.BatchNorm2d


class _Ghost:
    """Normalises each group of ``ghost`` samples by itself (Hoffer et al. 2017, "Train longer, generalize better").

    No running statistics are kept while training; :func:`settle` measures them.
    """

    ghost: int
    settling = False

    def forward(self: Any, x: Tensor) -> Tensor:
        if not self.training or self.settling:
            return super().forward(x)  # type: ignore[misc]
        # One call a group is faster than one set of operations over all groups, up to a thousand samples.
        parts = [F.batch_norm(g, None, None, self.weight, self.bias, True, 0.0, self.eps) for g in x.split(self.ghost)]
        return torch.cat(parts)


class GhostBatchNorm1d(_Ghost, nn.BatchNorm1d):
    """One-dimensional; see :func:`convert`."""


class GhostBatchNorm2d(_Ghost, nn.BatchNorm2d):
    """Two-dimensional; see :func:`convert`."""


GHOSTS: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm1d: GhostBatchNorm1d,
    nn.BatchNorm2d: GhostBatchNorm2d,
}


def norms(model: nn.Module) -> list[nn.Module]:
    """Return the layers of a model that normalise over the batch."""
    return [m for m in model.modules() if type(m) in GHOSTS or isinstance(m, _Ghost)]


def convert(model: nn.Module, ghost: int) -> None:
    """Let every batch normalisation of a model normalise groups of ``ghost`` samples, in place.

    Args:
        model: keeps its parameters.
        ghost: samples a group; it divides the size of whatever is trained on.
    """
    for norm in norms(model):
        norm.__class__ = GHOSTS[type(norm)]
        norm.ghost = ghost  # type: ignore[assignment]


@torch.no_grad()
def settle(model: nn.Module, batches: list[Tensor]) -> None:
    """Measure the statistics that normalisations use in evaluation, and put the model in evaluation mode.

    Running averages would reach back a number of steps, which is not the same number of samples at every batch size.

    Args:
        model: its normalisations have been converted.
        batches: features [N, *shape] of the training split, the same at every call.
    """
    model.eval()
    found = norms(model)
    for norm in found:
        norm.reset_running_stats()  # type: ignore[operator]
        norm.momentum, norm.settling = None, True  # type: ignore[assignment]
        norm.train()
    if found:
        for features in batches:
            model(features)
    for norm in found:
        norm.settling = False  # type: ignore[assignment]
        norm.eval()
