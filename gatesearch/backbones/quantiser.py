"""Residual vector quantisation: a vector as a sum of codewords, one from each of a few codebooks.

After SoundStream (Zeghidour et al. 2021, arXiv 2107.03312, section III-C). Two things are simpler here. Codebooks are
learned by gradient, as in the first VQ-VAE (van den Oord et al. 2017, arXiv 1711.00937, equation 3), not by moving
averages, so that they are parameters like all others. And a codeword that nobody uses starts anew at a vector of the
batch without waiting for several batches.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

COMMITMENT = 0.25  # pull of the vectors towards their codewords, over that of the codewords towards the vectors
MEMORY = 0.97  # of the share of vectors that a codeword is used for
DEAD = 0.02  # codewords used this much less than all would be on average start anew


class ResidualQuantiser(nn.Module):
    """Maps [N, D, T, 1] to the same shape, each of the N T vectors rounded to a sum of codewords.

    The gradient passes straight through. In training every forward leaves in :meth:`extra_loss` what pulls codewords
    and vectors together.

    Args:
        dimension: D.
        levels: codebooks, each of which rounds what the ones before it left.
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
        left, total, extra = vectors, torch.zeros_like(vectors), torch.zeros_like(self.usage[0, 0])
        for level in range(len(self.codebooks)):
            if self.training:
                self._restart(level, left.detach())
            book = self.codebooks[level]
            fixed = book.detach()
            # Nearest: |c - v|^2 = |v|^2 - (2 v.c - |c|^2), as one linear layer.
            chosen = F.linear(left, 2 * fixed, -fixed.square().sum(1)).argmax(2)
            code = F.embedding(chosen, book)
            if self.training:
                self._note(level, chosen)
                extra = extra + F.mse_loss(code, left.detach()) + COMMITMENT * F.mse_loss(left, code.detach())
            total, left = total + code, left - code.detach()
        self._extra = extra if self.training else None
        if vectors.requires_grad and not torch.compiler.is_exporting():
            total = vectors + (total - vectors).detach()
        return total.transpose(1, 2).unsqueeze(3)

    def extra_loss(self) -> Tensor:
        """Return what the last forward in training adds to the loss, a scalar; it is told once."""
        extra, self._extra = self._extra, None  # a graph that was kept could not be copied
        return self.codebooks.new_zeros(()) if extra is None else extra

    @torch.no_grad()
    def _note(self, level: int, chosen: Tensor) -> None:
        codes = self.usage.shape[1]
        share = torch.bincount(chosen.flatten(), minlength=codes) * (codes / chosen.numel())
        self.usage[level].lerp_(share, 1 - MEMORY)

    @torch.no_grad()
    def _restart(self, level: int, left: Tensor) -> None:
        """Put codewords that are not used, at first all of them, where vectors are."""
        dead = self.usage[level] < DEAD
        if bool(dead.any()):
            vectors = left.flatten(0, 1)
            drawn = torch.randint(len(vectors), (int(dead.sum()),), device=left.device)
            self.codebooks.data[level, dead] = vectors[drawn]  # no step of a gradient
            self.usage[level, dead] = 1.0
