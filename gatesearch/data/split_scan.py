"""Scans the inputs of a split in one pass for samples that are broken, constant, clipped or repeated."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from gatesearch.data.types import Split

CHUNK_SAMPLES = 512
CLIPPED_SHARE = 0.01  # a sample with a larger share of its values at full scale counts as clipped


@dataclass(frozen=True, slots=True)
class SplitScan:
    """Properties of the inputs [N, ...] of a split. Full scale is 1 for floats, and the type's maximum for integers.

    Args:
        finite: whether all values of a sample are finite [N].
        peak: largest magnitude of a sample, not divided by full scale, float64 [N].
        constant: whether all values of a sample are equal, as in digital silence [N].
        clipped: whether more than 1 % of a sample's values are at full scale or beyond [N].
        digests: a hash of each sample; equal inputs have equal digests.
        std: standard deviation of the values of all finite samples, as a share of full scale.
    """

    finite: Tensor
    peak: Tensor
    constant: Tensor
    clipped: Tensor
    digests: tuple[bytes, ...]
    std: float

    def first_indices(self) -> dict[bytes, int]:
        """Return the index of the first sample with each digest, to find samples that are repeated.

        Constant samples are left out, because silence may be in two splits, or twice in one, without a fault.
        """
        indices: dict[bytes, int] = {}
        for index, (digest, constant) in enumerate(zip(self.digests, self.constant.tolist(), strict=True)):
            if not constant:
                indices.setdefault(digest, index)
        return indices


def scan_split(split: Split) -> SplitScan:
    """Scan the inputs of a split, in chunks of samples.

    >>> scan = scan_split(Split(torch.tensor([[0.5, 0.5], [0.1, 0.9]]), torch.tensor([0, 1]), ("a", "b")))
    >>> scan.constant.tolist(), scan.peak.tolist()
    ([True, False], [0.5, 0.8999999761581421])
    """
    is_float = split.inputs.is_floating_point()
    full_scale = 1.0 if is_float else float(torch.iinfo(split.inputs.dtype).max)
    parts: dict[str, list[Tensor]] = {name: [] for name in ("finite", "peak", "constant", "clipped")}
    digests: list[bytes] = []
    total, square, count = 0.0, 0.0, 0
    for chunk in split.inputs.flatten(1).split(CHUNK_SAMPLES):
        low, high = (bound.double() for bound in chunk.aminmax(dim=1))
        peak = torch.maximum(high, -low)
        parts["finite"].append(low.isfinite() & high.isfinite())
        parts["peak"].append(peak)
        parts["constant"].append(low == high)
        at_scale = (chunk >= full_scale) | (chunk <= -full_scale)
        parts["clipped"].append(at_scale.count_nonzero(1) > CLIPPED_SHARE * chunk.shape[1])
        digests += [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in chunk.contiguous().numpy()]
        # Sums over all samples give the standard deviation: std^2 = mean(x^2) - mean(x)^2, and for the values x of one
        # sample, mean(x^2) = std^2 + mean^2. Each sample has equally many values.
        spread, level = torch.std_mean(chunk.float(), dim=1, correction=0)
        spread, level = (row[parts["finite"][-1]].double() / full_scale for row in (spread, level))
        count += len(level)
        total += float(level.sum())
        square += float((spread.square() + level.square()).sum())
    mean = total / max(count, 1)
    return SplitScan(
        **{name: torch.cat(rows) if rows else torch.empty(0) for name, rows in parts.items()},
        digests=tuple(digests),
        std=max(square / max(count, 1) - mean**2, 0.0) ** 0.5,
    )
