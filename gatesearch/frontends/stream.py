"""Runs a front end on one stream of samples, hop by hop, and stores its state between hops."""

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
    """Computes the features of a stream: only the new frames of a hop if the front end supports it, else all frames.

    Args:
        frontend: a fitted front end.
    """

    def __init__(self, frontend: Frontend) -> None:
        self._frontend = frontend
        self._state: Tensor | None = None
        self._window: Array | None = None  # the last window, used if a hop starts between two frames

    @torch.no_grad()
    def begin(self, window: Array) -> Array:
        """Return the features [1, *shape] of a whole window [1, n, ...], and store the state for the next hop."""
        samples = torch.from_numpy(np.ascontiguousarray(window))
        self._state, self._window = self._frontend.hop_state(samples), window
        features: Array = self._frontend(samples).numpy()
        return features

    @torch.no_grad()
    def step(self, samples: Array) -> Array:
        """Return features after a hop of samples [1, n, ...]: the fresh frames, or all frames of the whole window."""
        assert self._state is not None and self._window is not None  # `begin` has to be called first
        try:
            features, self._state = self._frontend.step(torch.from_numpy(np.ascontiguousarray(samples)), self._state)
        except UserError:  # the hop starts between two frames, so the whole window is computed
            return self.begin(np.concatenate([self._window, samples], 1)[:, -self._window.shape[1] :])
        result: Array = features.numpy()
        return result
