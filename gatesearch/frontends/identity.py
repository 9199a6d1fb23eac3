"""The front end ``identity``, for data that a backbone reads as they are."""

from __future__ import annotations

from torch import Tensor

from gatesearch._lib.tensors import to_float
from gatesearch.frontends.base import Frontend
from gatesearch.frontends.feature_steps import SCALE, Step


class Identity(Frontend):
    """Passes samples [N, ...] on as floats; integers are scaled.

    >>> import torch
    >>> Identity()(torch.tensor([[0, 128]], dtype=torch.uint8)).tolist()
    [[0.0, 0.5]]
    """

    name = "identity"

    def forward(self, inputs: Tensor) -> Tensor:
        """Return inputs [N, ...] as float [N, ...]."""
        return to_float(inputs)

    def feature_steps(self) -> list[Step]:
        """Return the one step as data."""
        return [SCALE]
