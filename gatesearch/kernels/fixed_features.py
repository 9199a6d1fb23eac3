"""Computes the features of many waves in the arithmetic of their front end, by the C kernel where there is one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from gatesearch._lib.tensors import to_int16
from gatesearch.frontends import FIXED_POINT, LogMel
from gatesearch.frontends.grid import FEATURE_SCALE
from gatesearch.kernels import native
from gatesearch.kernels.fixed_mel import FixedMelStream


def fast_features(frontend: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return a function that computes the features of a fitted front end, bit for bit.

    It is the front end itself if this computes in float, or if this host has no compiler.
    """
    if not isinstance(frontend, LogMel) or frontend.arithmetic != FIXED_POINT or native.load() is None:
        return frontend
    tables = frontend.fixed()
    assert tables is not None  # use_fixed_point has looked
    kernel = FixedMelStream(tables)

    def compute(waves: Tensor) -> Tensor:
        samples = to_int16(waves).cpu().numpy()
        count = 1 + (samples.shape[1] - kernel.frame) // kernel.stride
        features = np.stack([kernel.frames(wave, count) for wave in samples])
        return torch.from_numpy(features).unsqueeze(1) * FEATURE_SCALE

    return compute
