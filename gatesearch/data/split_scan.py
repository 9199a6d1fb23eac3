"""One pass over the inputs of a split: which samples are not finite, constant, clipped or the same as another."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from gatesearch.data.types import Split

CHUNK_SAMPLES = 512
CLIPPED_SHARE = 0.01  # of the values of a clip at full scale


@dataclass(frozen=True, slots=True)
class SplitScan:
    """What the inputs [N, ...] of a split are like.

    Args:
        finite: whether all values of a sample are finite [N].
        peak: largest magnitude of a sample, in the numbers of its own type, float64 [N].
        constant: whether all values of a sample are equal [N]; silence is.
        clipped: whether more than 1 % of a sample's values stand at full scale, that of the type or 1 for floats [N].
        digests: one a sample; equal inputs have equal digests.
        std: standard deviation over all finite values, of full scale.
    """

    finite: Tensor
    peak: Tensor
    constant: Tensor
    clipped: Tensor
    digests: tuple[bytes, ...]
    std: float

    def first_places(self) -> dict[bytes, int]:
        """Return the index of the first sample with each digest; constant samples are left out.

        Silence may well be in two splits, and twice in one.
        """
        places: dict[bytes, int] = {}
        for index, (digest, constant) in enumerate(zip(self.digests, self.constant.tolist(), strict=True)):
            if not constant:
                places.setdefault(digest, index)
        return places


def scan_split(split: Split) -> SplitScan:
    """Scan the inputs of a split, some samples at a time.

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
        parts["clipped"].append(at_scale.double().mean(1) > CLIPPED_SHARE)
        digests += [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in chunk.contiguous().numpy()]
        values = chunk[parts["finite"][-1]].double() / full_scale
        count += values.numel()
        total += float(values.sum())
        square += float(values.square().sum())
    mean = total / max(count, 1)
    return SplitScan(
        **{name: torch.cat(rows) if rows else torch.empty(0) for name, rows in parts.items()},
        digests=tuple(digests),
        std=max(square / max(count, 1) - mean**2, 0.0) ** 0.5,
    )
