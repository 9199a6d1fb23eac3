"""Images: normalised channel by channel, and augmented in batches."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gatesearch.data.types import to_float
from gatesearch.errors import UserError

FIT_CHUNK = 512  # images at a time, so that fitting needs no copy of them all in double


class Normalise(nn.Module):
    """Front end of images: every channel to mean 0 and standard deviation 1, as seen over the training split.

    Zero is then the mean of a channel, and what :class:`ImageAugment` and padded convolutions put at the borders.
    Before :meth:`fit` it only scales integers to floats below 1.

    >>> images = torch.randint(256, (50, 3, 8, 8), dtype=torch.uint8)
    >>> out = Normalise().fit(images)(images)
    >>> out.shape, out.mean((0, 2, 3)).abs().max() < 1e-5
    (torch.Size([50, 3, 8, 8]), tensor(True))
    """

    name = "image"
    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.output_shape: tuple[int, ...] = ()  # of one image (C, H, W); known once fitted
        self.register_buffer("mean", torch.zeros(1, 1, 1))
        self.register_buffer("std", torch.ones(1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Return normalised images, [N, C, H, W] -> [N, C, H, W]."""
        return (to_float(images) - self.mean) / self.std

    @torch.no_grad()
    def fit(self, inputs: Tensor) -> Normalise:
        """Set mean and standard deviation of every channel from training images [N, C, H, W].

        Raises:
            UserError: the data are no images.
        """
        if inputs.ndim != 4 or not len(inputs):
            found = list(inputs.shape[1:])
            raise UserError(f"frontend.name: image wants samples of [channels, height, width]; the data has {found}")
        sums = torch.zeros(2, inputs.shape[1], dtype=torch.float64, device=self.mean.device)
        for chunk in inputs.split(FIT_CHUNK):
            pixels = to_float(chunk.to(self.mean.device)).double()
            sums += torch.stack([pixels.sum((0, 2, 3)), pixels.square().sum((0, 2, 3))])
        mean, square = sums / (inputs.numel() // inputs.shape[1])
        std = (square - mean.square()).clamp(min=0).sqrt()
        self.output_shape = tuple(inputs.shape[1:])
        self.mean = mean.float().view(-1, 1, 1)
        self.std = torch.where(std < 1e-5, 1.0, std).float().view(-1, 1, 1)  # a constant channel stays zero
        return self

    def macs(self) -> int:
        """Return multiply-accumulates of one image, one a value; 0 before :meth:`fit`."""
        return math.prod(self.output_shape) if self.output_shape else 0

    def describe(self) -> dict[str, Any]:
        """Return what :func:`gatesearch.data.restore` needs, as JSON-ready values."""
        return {
            "name": self.name,
            "args": {},
            "mean": self.mean.flatten().tolist(),
            "std": self.std.flatten().tolist(),
            "input_shape": list(self.output_shape),
            "output_shape": list(self.output_shape),
            "macs": self.macs(),
        }

    def refit(self, description: Mapping[str, Any]) -> None:
        """Take over what was fitted, as :meth:`describe` tells it."""
        self.output_shape = tuple(description["output_shape"])
        self.mean = torch.tensor(description["mean"]).view(-1, 1, 1)
        self.std = torch.tensor(description["std"]).view(-1, 1, 1)


class ImageAugment(nn.Module):
    """Random crop, horizontal flip and cutout on normalised images [N, C, H, W], in training only.

    Every image draws its own values; nothing loops over images. All that lies outside an image or is cut out is zero,
    which is the mean of normalised images. The random numbers are those of torch's global generator on the images'
    device. Memory format and dtype stay as they are.

    Args:
        pad: pixels by which the crop may leave the image on any side, as if it were padded by that much.
        flip: whether half of the images are mirrored left to right.
        cutout: side of the square that is cut out, in pixels; its centre is anywhere in the image, so that part of it
            may fall outside (DeVries and Taylor 2017, arXiv 1708.04552; 16 there for CIFAR-10). 0 cuts nothing.

    Raises:
        UserError: a negative number, or (in ``forward``) a pad as large as the image.

    >>> _ = torch.manual_seed(0)
    >>> out = ImageAugment(pad=1)(torch.ones(200, 3, 4, 4))
    >>> sorted(set(out.sum((1, 2, 3)).tolist()))  # 9, 12 or 16 of 16 pixels, three channels each
    [27.0, 36.0, 48.0]
    """

    def __init__(self, pad: int = 0, flip: bool = False, cutout: int = 0) -> None:
        super().__init__()
        for key, value in {"pad": pad, "cutout": cutout}.items():
            if value < 0:
                raise UserError(f"augment.{key}: {value!r}; wanted: 0 or more pixels")
        self.pad, self.flip, self.cutout = pad, flip, cutout

    def forward(self, images: Tensor) -> Tensor:
        """Return augmented images, [N, C, H, W] -> [N, C, H, W]."""
        if not self.training or not (self.pad or self.flip or self.cutout):
            return images
        count, _, height, width = images.shape
        if self.pad >= min(height, width):
            raise UserError(f"augment.pad: {self.pad!r}; wanted: less than the image, which is {height} x {width}")
        device = images.device
        sample = torch.arange(count, device=device).view(-1, 1, 1)
        y, x = (self._crop(count, size, device) for size in (height, width))
        if self.flip:
            x = torch.where(torch.rand(count, 1, device=device) < 0.5, x.flip(1), x)
        keep = self._inside(y, height)[:, :, None] & self._inside(x, width)[:, None, :]
        if self.cutout:
            hole = self._hole(count, height, device)[:, :, None] & self._hole(count, width, device)[:, None, :]
            keep &= ~hole
        y, x = y.clamp(0, height - 1)[:, :, None], x.clamp(0, width - 1)[:, None, :]
        # Whole pixels are picked, so the channels come last and go back to where they were.
        picked = images.permute(0, 2, 3, 1)[sample, y, x].masked_fill_(~keep.unsqueeze(-1), 0).permute(0, 3, 1, 2)
        plain = images.is_contiguous()
        return picked.contiguous(memory_format=torch.contiguous_format if plain else torch.channels_last)

    def _crop(self, count: int, size: int, device: torch.device) -> Tensor:
        """Return the row (or column) that each one of the result is taken from [count, size]."""
        at = torch.arange(size, device=device).expand(count, -1)
        if not self.pad:
            return at
        return at + torch.randint(-self.pad, self.pad + 1, (count, 1), device=device)

    @staticmethod
    def _inside(at: Tensor, size: int) -> Tensor:
        return (at >= 0) & (at < size)

    def _hole(self, count: int, size: int, device: torch.device) -> Tensor:
        """Return whether each row (or column) goes through the hole [count, size]."""
        start = torch.randint(size, (count, 1), device=device) - self.cutout // 2
        at = torch.arange(size, device=device)
        return (at >= start) & (at < start + self.cutout)
