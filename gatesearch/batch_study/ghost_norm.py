"""Ghost batch normalisation: normalises groups of a fixed number of samples, at any batch size."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class _GhostBatchNorm:
    """Normalises each group of ``group_size`` samples by itself.

    The method is that of Hoffer et al. 2017, "Train longer, generalize better" (arXiv 1705.08741). Plain batch
    normalisation takes mean and variance over the whole batch. In a larger batch, these have less noise, so the batch
    size would also change the normalisation. With groups of a fixed size, the batch size changes the gradient alone.
    Unlike in the paper, training updates no running statistics; :func:`measure_statistics` measures them afterwards.
    """

    group_size: int
    is_measuring = False

    def forward(self: Any, x: Tensor) -> Tensor:
        if not self.training or self.is_measuring:
            return super().forward(x)  # type: ignore[misc]
        # For up to a thousand samples, one call for each group is faster than one set of operations over all groups.
        groups = x.split(self.group_size)
        return torch.cat([F.batch_norm(g, None, None, self.weight, self.bias, True, 0.0, self.eps) for g in groups])


class GhostBatchNorm1d(_GhostBatchNorm, nn.BatchNorm1d):
    """Ghost batch normalisation of [N, C] or [N, C, L]; see :func:`use_ghost_norms`."""


class GhostBatchNorm2d(_GhostBatchNorm, nn.BatchNorm2d):
    """Ghost batch normalisation of [N, C, H, W]; see :func:`use_ghost_norms`."""


GHOST_CLASSES: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm1d: GhostBatchNorm1d,
    nn.BatchNorm2d: GhostBatchNorm2d,
}


def find_norms(model: nn.Module) -> list[nn.Module]:
    """Return the layers of a model that normalise over the batch."""
    return [m for m in model.modules() if type(m) in GHOST_CLASSES or isinstance(m, _GhostBatchNorm)]


def use_ghost_norms(model: nn.Module, group_size: int) -> None:
    """Make every batch normalisation of a model normalise groups of samples, in place.

    Args:
        model: the model to change; it keeps its parameters.
        group_size: number of samples in a group; it divides the size of every batch.
    """
    for norm in find_norms(model):
        norm.__class__ = GHOST_CLASSES[type(norm)]
        norm.group_size = group_size  # type: ignore[assignment]


@torch.no_grad()
def measure_statistics(model: nn.Module, batches: list[Tensor]) -> None:
    """Measure the statistics that normalisations use in evaluation, and put the model in evaluation mode.

    Running averages from the training are no substitute. They cover a fixed number of steps, so their number of samples
    would depend on the batch size.

    Args:
        model: a model with ghost normalisations.
        batches: features [N, *shape] of the training split, the same at every call.
    """
    model.eval()
    norms = find_norms(model)
    for norm in norms:
        norm.reset_running_stats()  # type: ignore[operator]
        norm.momentum = None  # type: ignore[assignment]  # a plain mean over the batches
        norm.is_measuring = True  # type: ignore[assignment]
        norm.train()
    if norms:
        for features in batches:
            model(features)
    for norm in norms:
        norm.is_measuring = False  # type: ignore[assignment]
        norm.eval()
