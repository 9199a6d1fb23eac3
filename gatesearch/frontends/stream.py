"""A front end on one stream of samples, its state kept here."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gatesearch.errors import UserError
from gatesearch.frontends.base import Frontend

Array = NDArray[Any]


class FrontendStream:
    """Computes features hop by hop where the front end can, else those of each whole window.

    Args:
        frontend: fitted.
    """

    def __init__(self, frontend: Frontend) -> None:
        self._frontend = frontend
        self._state: Tensor | None = None
        self._window: Array | None = None  # where a hop begins between two frames

    @torch.no_grad()
    def begin(self, window: Array) -> Array:
        """Return the features [1, *shape] of a whole window [1, n, ...], and keep what the next hop needs."""
        samples = torch.from_numpy(np.ascontiguousarray(window))
        self._state, self._window = self._frontend.hop_state(samples), window
        features: Array = self._frontend(samples).numpy()
        return features

    @torch.no_grad()
    def step(self, samples: Array) -> Array:
        """Return the features of a hop [1, n, ...]: its fresh frames, or those of the whole window."""
        assert self._state is not None and self._window is not None  # a stream begins with a window
        try:
            features, self._state = self._frontend.step(torch.from_numpy(np.ascontiguousarray(samples)), self._state)
        except UserError:  # the hop begins between two frames
            return self.begin(np.concatenate([self._window, samples], 1)[:, -self._window.shape[1] :])
        result: Array = features.numpy()
        return result
