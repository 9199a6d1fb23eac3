"""The front end ``image``, which normalises every channel of an image."""

from __future__ import annotations

import math
from typing import Self

import torch
from torch import Tensor

from gatesearch._lib.tensors import to_float
from gatesearch.frontends.base import CHUNK_SAMPLES, NormalisingFrontend, mean_and_std
from gatesearch.frontends.feature_steps import SCALE, Step


class Normalise(NormalisingFrontend):
    """Normalises every channel of images [N, C, H, W] to mean 0 and standard deviation 1.

    :class:`gatesearch.data.ImageAugment` and padded convolutions put zeros at the borders of an image. Normalised
    channels have the mean zero, so such a border has the mean brightness. Before :meth:`fit`, the front end only
    scales integers to floats below 1.

    >>> images = torch.randint(256, (50, 3, 8, 8), dtype=torch.uint8)
    >>> out = Normalise().fit(images)(images)
    >>> out.shape, out.mean((0, 2, 3)).abs().max() < 1e-5
    (torch.Size([50, 3, 8, 8]), tensor(True))
    """

    name = "image"
    expects = "samples of [channels, height, width]"
    dimensions = 3

    def __init__(self) -> None:
        super().__init__(statistics_shape=(-1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Return normalised images, [N, C, H, W] -> [N, C, H, W]."""
        return self.normalise(to_float(images))

    @torch.no_grad()
    def fit(self, inputs: Tensor) -> Self:
        """Set mean and standard deviation of every channel from training images [N, C, H, W].

        Raises:
            UserError: the data are no images.
        """
        super().fit(inputs)
        pixels = (to_float(chunk.to(self.mean.device)) for chunk in inputs.split(CHUNK_SAMPLES))
        self.set_statistics(*mean_and_std(pixels, (0, 2, 3)))
        return self

    def macs(self) -> int:
        """Return the multiply-accumulates of one image: one for each value; 0 before :meth:`fit`."""
        return math.prod(self.input_shape) if self.input_shape else 0

    def feature_steps(self) -> list[Step]:
        """Return the steps as data: scale, and normalise every channel."""
        return [SCALE, {"operation": "normalise", "axis": 0}]
