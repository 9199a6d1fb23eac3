"""Residual vector quantisation: a vector as a sum of codewords, one from each of a few codebooks.

After SoundStream (Zeghidour et al. 2021, arXiv 2107.03312, section III-C). Two things are simpler here. Codebooks are
learned by gradient, as in the first VQ-VAE (van den Oord et al. 2017, arXiv 1711.00937, equation 3), not by moving
averages, so that they are parameters like all others. And an unused codeword starts anew at a vector of the batch
at once, not after several batches.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

COMMITMENT_WEIGHT = 0.25  # pull of the vectors towards their codewords, over that of the codewords towards the vectors
USAGE_DECAY = 0.97  # of the moving average of how often a codeword is used, from one batch to the next
DEAD_USAGE = 0.02  # below this a codeword starts anew; the average usage is 1


class ResidualQuantiser(nn.Module):
    """Maps [N, D, T, 1] to the same shape, each of the N T vectors rounded to a sum of codewords.

    With r_0 = v the level k picks the codeword c_k nearest to the residual r_k, and r_(k+1) = r_k - c_k; the output is
    the sum of all c_k. Rounding has no gradient, so that of the output passes straight through to the input. In
    training every forward sets :meth:`extra_loss`, which pulls codewords and residuals together: |c - sg(r)|^2 +
    0.25 |sg(c) - r|^2 with sg for "no gradient".

    Args:
        dimension: D.
        levels: codebooks; each rounds the residual of the ones before it.
        codes: codewords in each.

    >>> quantiser = ResidualQuantiser(4, levels=2, codes=8).eval()
    >>> quantiser(torch.randn(3, 4, 5, 1)).shape, quantiser.bits
    (torch.Size([3, 4, 5, 1]), 6)
    """

    traced_whole = True  # what it does in training depends on data
    delicate_in_int8 = True  # between two near codewords a rounding decides

    usage: Tensor

    def __init__(self, dimension: int, levels: int, codes: int) -> None:
        super().__init__()
        self.codebooks = nn.Parameter(torch.randn(levels, codes, dimension) / dimension**0.5)
        self.register_buffer("usage", torch.zeros(levels, codes))
        self._extra: Tensor | None = None

    @property
    def bits(self) -> int:
        """Bits that a vector takes."""
        levels, codes, _ = self.codebooks.shape
        return levels * (codes - 1).bit_length()

    def forward(self, hidden: Tensor) -> Tensor:
        """Round [N, D, T, 1]."""
        vectors = hidden.squeeze(3).transpose(1, 2)
        residual, total = vectors, torch.zeros_like(vectors)
        extra = torch.zeros_like(self.usage[0, 0])
        for level in range(len(self.codebooks)):
            if self.training:
                self._restart_dead(level, residual.detach())
            book = self.codebooks[level]
            fixed = book.detach()
            # The nearest codeword, as one linear layer: |c - r|^2 = |r|^2 - (2 r.c - |c|^2), with one |r|^2 for all.
            chosen = F.linear(residual, 2 * fixed, -fixed.square().sum(1)).argmax(2)
            code = F.embedding(chosen, book)
            if self.training:
                self._update_usage(level, chosen)
                extra = (
                    extra
                    + F.mse_loss(code, residual.detach())
                    + COMMITMENT_WEIGHT * F.mse_loss(residual, code.detach())
                )
            total = total + code
            residual = residual - code.detach()
        self._extra = extra if self.training else None
        if vectors.requires_grad and not torch.compiler.is_exporting():
            total = vectors + (total - vectors).detach()
        return total.transpose(1, 2).unsqueeze(3)

    def extra_loss(self) -> Tensor:
        """Return what the last forward in training adds to the loss, a scalar; a second call returns zero."""
        # Dropped here, because a module that holds a graph cannot be copied.
        extra, self._extra = self._extra, None
        return self.codebooks.new_zeros(()) if extra is None else extra

    @torch.no_grad()
    def _update_usage(self, level: int, chosen: Tensor) -> None:
        codes = self.usage.shape[1]
        share = torch.bincount(chosen.flatten(), minlength=codes) * (codes / chosen.numel())
        self.usage[level].lerp_(share, 1 - USAGE_DECAY)

    @torch.no_grad()
    def _restart_dead(self, level: int, residual: Tensor) -> None:
        """Move unused codewords, at first all of them, to random vectors of the batch."""
        dead = self.usage[level] < DEAD_USAGE
        if bool(dead.any()):
            vectors = residual.flatten(0, 1)
            drawn = torch.randint(len(vectors), (int(dead.sum()),), device=residual.device)
            self.codebooks.data[level, dead] = vectors[drawn]  # no step of a gradient
            self.usage[level, dead] = 1.0
