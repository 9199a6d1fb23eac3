"""Computes the importance of each channel for the trained backbone; the masks of gates start from it."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gatesearch.graph.sites import CutSite
from gatesearch.model import split

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def cross_entropy(output: Tensor, features: Tensor, labels: Tensor) -> Tensor:
    """Return the cross entropy of each sample, [N]."""
    return F.cross_entropy(output, labels, reduction="none")


def saliency(
    backbone: nn.Module,
    sites: tuple[CutSite, ...],
    features: Tensor,
    labels: Tensor,
    batch_size: int = 256,
    errors: Loss = cross_entropy,
) -> dict[str, Tensor]:
    """Return the first-order Taylor importance |h dL/dh| of each channel, averaged over samples.

    h is a channel's activation and L the loss. To first order, setting h to zero changes L by -h dL/dh (Molchanov et
    al. 2017, equation 8). As in the paper, the product is averaged over a channel's positions before the absolute value
    is taken.

    Args:
        backbone: the trained backbone, which maps features to logits.
        sites: cut sites of the backbone, in order.
        features: features of the training split, [N, *shape].
        labels: labels of the samples, [N].
        batch_size: number of samples in a batch.
        errors: function of output, features and labels that returns the error of each sample [N]; L is their sum.

    Returns:
        The importance [C] of each site's channels, by site name.
    """
    stages = split(copy.deepcopy(backbone).eval(), [site.node for site in sites])
    total = {site.name: torch.zeros(site.channels) for site in sites}
    for x, y in zip(features.split(batch_size), labels.split(batch_size), strict=True):
        hidden, crossings = x, []
        for k, stage in enumerate(stages):
            hidden = stage(hidden)
            if k < len(sites):
                if not hidden.requires_grad:
                    hidden = hidden.detach().requires_grad_()
                hidden.retain_grad()
                crossings.append(hidden)
        errors(hidden, x, y).sum().backward()
        for site, crossing in zip(sites, crossings, strict=True):
            assert crossing.grad is not None
            value = (crossing * crossing.grad).detach().movedim(site.channel_axis + 1, 1)
            total[site.name] += (value.flatten(2).mean(2) if value.ndim > 2 else value).abs().sum(0)
    return {name: value / len(features) for name, value in total.items()}
