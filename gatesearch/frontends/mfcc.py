"""The front end ``mfcc``: mel-frequency cepstral coefficients (MFCC) of sound."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from gatesearch.frontends.feature_steps import Step
from gatesearch.frontends.log_mel import LogMel


class MFCC(LogMel):
    """Computes mel-frequency cepstral coefficients, [N, samples] to [N, 1, frames, coefficients].

    The coefficients are the discrete cosine transform (DCT-II) of the log mel spectrum. Every coefficient, including
    the first, is scaled by ``sqrt(2 / mel_bins)``, as in ``tf.signal.mfccs_from_log_mel_spectrograms``. The defaults
    are those of MLPerf Tiny.

    Args:
        coefficients: number of coefficients, from the first.
        **mel: arguments of :class:`LogMel`.

    Raises:
        UserError: an argument is not valid, or does not fit the others.

    >>> mfcc = MFCC()
    >>> mfcc(torch.zeros(2, 16000)).shape, mfcc.macs()
    (torch.Size([2, 1, 49, 10]), 319137)
    """

    has_fixed_point = True
    name = "mfcc"
    gives_spectrum = False
    dct: Tensor

    def __init__(self, coefficients: int = 10, **mel: Any) -> None:
        super().__init__(**mel)
        self.arguments["coefficients"] = coefficients
        bins = int(self.arguments["mel_bins"])
        self.check_argument(0 < coefficients <= bins, "coefficients", f"1 to mel_bins={bins}")
        # In the DCT-II, the weight of bin b in coefficient k is cos(pi / bins * (b + 1/2) * k).
        angle = math.pi / bins * (torch.arange(bins, dtype=torch.float64) + 0.5)
        dct = torch.cos(angle[:, None] * torch.arange(coefficients)) * math.sqrt(2 / bins)
        self.register_buffer("dct", dct.float(), persistent=False)
        self.set_statistics(torch.zeros(coefficients), torch.ones(coefficients))

    @property
    def features(self) -> int:
        """Number of features per frame."""
        return int(self.arguments["coefficients"])

    def compress(self, magnitudes: Tensor) -> Tensor:
        """Return coefficients before normalisation, [N, frames, bins] -> [N, frames, coefficients]."""
        return super().compress(magnitudes) @ self.dct

    def feature_steps(self) -> list[Step]:
        """Return the steps as data: those of log-mel features, with a cosine transform before the normalisation."""
        *steps, normalise, grid = super().feature_steps()
        return [*steps, {"operation": "cosine", "count": self.features}, normalise, grid]

    def frame_macs(self) -> dict[str, int]:
        """Return the multiply-accumulates of one frame, by step; the DCT counts as a matrix product."""
        return {**super().frame_macs(), "dct": self.dct.numel()}
