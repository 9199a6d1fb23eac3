"""The base class of trained layers with feature boosting and suppression (FBS).

FBS predicts from the input how much each output channel matters. The groups of channels with the largest predictions
win, and only these are computed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol, Self, cast

import numpy as np
from torch import Tensor, nn

from gatesearch.gates import BLOCK
from gatesearch.gates.fbs import FBSConv2d
from gatesearch.kernels.arrays import Array
from gatesearch.kernels.base import ActiveChannels, Calls
from gatesearch.kernels.fbs_predictor import Boost
from gatesearch.kernels.geometry import Geometry, Pair
from gatesearch.kernels.library import Library


class BoostedConv(Protocol):
    """A kernel and the weights of a convolution that computes only the channels that win."""

    geometry: Geometry
    boost: Boost
    weight: Array
    relu: bool

    def bind(self, x: Array, y: Array, winners: Array, active: Any = None) -> Callable[[], None]:
        """Return a function that runs the kernel on arrays at fixed addresses."""

    def reference(self, x: Array, active: Any = None) -> tuple[Array, Array]:
        """Return the output and the indices of the winning groups, computed in torch and numpy."""


class BoostedLayer(ABC):
    """A trained FBS layer; the predictor's arrays (``boost``) contain the batch normalisation behind the convolution.

    Args:
        conv: the kernel with its weights.
    """

    absorbs_norm: ClassVar[bool] = False
    reads: ClassVar[tuple[int, ...]] = (1, BLOCK)

    def __init__(self, conv: BoostedConv) -> None:
        self.conv = conv
        self.shape = (*conv.geometry.output, conv.geometry.c_out)
        self.active = ActiveChannels(np.arange(conv.boost.winners, dtype=np.int32), conv.boost.block)

    @classmethod
    def from_module(
        cls, layer: nn.Module, example: Tensor, norm: nn.BatchNorm2d | None, relu: bool, positive: bool = True
    ) -> Self:
        """Pack a trained layer for this kernel; see :meth:`.NativeLayer.from_module`."""
        image = int(example.shape[-2]), int(example.shape[-1])
        return cls(cls.conv_from_module(cast(FBSConv2d, layer), image, relu, positive))

    @classmethod
    @abstractmethod
    def conv_from_module(cls, layer: FBSConv2d, image: Pair, relu: bool, positive: bool) -> BoostedConv:
        """Return the kernel of a trained layer."""

    @classmethod
    @abstractmethod
    def conv_from_arrays(cls, geometry: Geometry, arrays: Mapping[str, Array], library: Library) -> BoostedConv:
        """Return the kernel of a layer from the arrays of a bundle."""

    def arrays(self) -> dict[str, Array]:
        """Return the arrays that make up the layer, to store in a bundle."""
        return {
            "geometry": np.array(self.conv.geometry.shape, np.int32),
            "weight": self.conv.weight,
            "relu": np.array(self.conv.relu),
            **self.conv.boost.arrays(),
        }

    @classmethod
    def load(cls, arrays: Mapping[str, Array], library: Library) -> Self:
        """Rebuild the layer from the arrays of a bundle."""
        return cls(cls.conv_from_arrays(Geometry.from_shape(arrays["geometry"]), arrays, library))

    @abstractmethod
    def bind(self, x: Array, y: Array, active: ActiveChannels | None = None, whole: bool = True) -> Calls:
        """Return the native calls of the layer, in order; see :meth:`.NativeLayer.bind`."""

    def reference(self, x: Array, active: ActiveChannels | None = None) -> Array:
        """Return the output of the layer, computed in torch or numpy."""
        return self.conv.reference(x, active)[0]
