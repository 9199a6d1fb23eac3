"""Residual vector quantisation: a vector becomes a sum of codewords, one from each codebook.

The quantiser follows SoundStream (Zeghidour et al. 2021, arXiv 2107.03312, section III-C) with two simplifications.
First, codebooks are learned by gradient, as in the first VQ-VAE (van den Oord et al. 2017, arXiv 1711.00937, equation
3). So the optimiser updates them like all parameters, without moving averages. Second, an unused codeword moves to a
vector of the batch at once, not after several batches.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

COMMITMENT_WEIGHT = 0.25  # weight of the loss that moves vectors to codewords; the opposite loss has weight 1
USAGE_DECAY = 0.97  # decay per batch of the moving average of a codeword's usage
DEAD_USAGE = 0.02  # a codeword below this usage is replaced; the mean usage is 1


class ResidualQuantiser(nn.Module):
    """Rounds each vector of D values in a tensor [N, D, T, 1] to a sum of codewords; the shape stays.

    For a vector v, r_0 = v. Level k selects the codeword c_k nearest to the residual r_k, and r_(k+1) = r_k - c_k. The
    output is the sum of all c_k. Rounding has no gradient, so the gradient of the output passes unchanged to the input.
    In training, every forward pass sets the loss that :meth:`extra_loss` returns. It pulls codewords c and residuals r
    together: |c - sg(r)|^2 + 0.25 |sg(c) - r|^2. Here sg(x) is x without its gradient.

    Args:
        dimension: D, the dimension of the vectors.
        levels: number of codebooks; each rounds the residual of the one before it.
        codes: number of codewords in each codebook.

    >>> quantiser = ResidualQuantiser(4, levels=2, codes=8).eval()
    >>> quantiser(torch.randn(3, 4, 5, 1)).shape, quantiser.bits
    (torch.Size([3, 4, 5, 1]), 6)
    """

    traced_whole = True  # torch.fx must not trace inside, because control flow in training depends on data
    delicate_in_int8 = True  # a rounding error can change which codeword is nearest

    usage: Tensor

    def __init__(self, dimension: int, levels: int, codes: int) -> None:
        super().__init__()
        self.codebooks = nn.Parameter(torch.randn(levels, codes, dimension) / dimension**0.5)
        self.register_buffer("usage", torch.zeros(levels, codes))
        self._extra: Tensor | None = None

    @property
    def bits(self) -> int:
        """Number of bits that encode one vector."""
        levels, codes, _ = self.codebooks.shape
        return levels * (codes - 1).bit_length()

    def forward(self, hidden: Tensor) -> Tensor:
        """Round vectors to sums of codewords, [N, D, T, 1] -> [N, D, T, 1]."""
        vectors = hidden.squeeze(3).transpose(1, 2)
        residual, total = vectors, torch.zeros_like(vectors)
        extra = torch.zeros_like(self.usage[0, 0])
        for level in range(len(self.codebooks)):
            if self.training:
                self._restart_dead(level, residual.detach())
            book = self.codebooks[level]
            fixed = book.detach()
            # A linear layer finds the nearest codeword: |c - r|^2 = |r|^2 - (2 r.c - |c|^2), with the same |r|^2 for
            # all c.
            indices = F.linear(residual, 2 * fixed, -fixed.square().sum(1)).argmax(2)
            code = F.embedding(indices, book)
            if self.training:
                self._update_usage(level, indices)
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
        """Return the loss that the last forward in training sets, a scalar; a second call returns zero."""
        # The module does not keep the loss, because a module that holds an autograd graph cannot be copied.
        extra, self._extra = self._extra, None
        return self.codebooks.new_zeros(()) if extra is None else extra

    @torch.no_grad()
    def _update_usage(self, level: int, indices: Tensor) -> None:
        codes = self.usage.shape[1]
        share = torch.bincount(indices.flatten(), minlength=codes) * (codes / indices.numel())
        self.usage[level].lerp_(share, 1 - USAGE_DECAY)

    @torch.no_grad()
    def _restart_dead(self, level: int, residual: Tensor) -> None:
        """Move unused codewords to random vectors of the batch; at the first batch, all codewords are unused."""
        dead = self.usage[level] < DEAD_USAGE
        if bool(dead.any()):
            vectors = residual.flatten(0, 1)
            rows = torch.randint(len(vectors), (int(dead.sum()),), device=residual.device)
            self.codebooks.data[level, dead] = vectors[rows]  # set directly, without autograd and optimiser
            self.usage[level, dead] = 1.0
