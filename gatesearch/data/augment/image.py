"""Augments images: random crop, horizontal flip and cutout."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gatesearch.data.augment.arguments import check_not_negative
from gatesearch.errors import UserError


class ImageAugment(nn.Module):
    """Random crop, horizontal flip and cutout on normalised images [N, C, H, W], in training only.

    Pixels outside the image and in the cutout are zero, which is the mean of normalised images. The random numbers are
    those of torch's global generator on the images' device. Memory format and dtype stay as they are.

    Args:
        pad: width in pixels of a border of zeros around the image; the crop lies anywhere in the image with its border.
        flip: whether half of the images are mirrored left to right.
        cutout: side of the square that is cut out, in pixels; 0 cuts nothing. The centre of the square is anywhere in
            the image, so a part of the square may fall outside. The method, and a side of 16 pixels for CIFAR-10, are
            from DeVries and Taylor 2017 (arXiv 1708.04552).

    Raises:
        UserError: a number is negative, or ``pad`` is as large as the image (in ``forward``).

    >>> _ = torch.manual_seed(0)
    >>> out = ImageAugment(pad=1)(torch.ones(200, 3, 4, 4))
    >>> sorted(set(out.sum((1, 2, 3)).tolist()))  # 9, 12 or 16 of 16 pixels, three channels each
    [27.0, 36.0, 48.0]
    """

    def __init__(self, pad: int = 0, flip: bool = False, cutout: int = 0) -> None:
        super().__init__()
        check_not_negative(" pixels", pad=pad, cutout=cutout)
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
        rows, columns = self._draw_crop(count, height, device), self._draw_crop(count, width, device)
        if self.flip:
            columns = torch.where(torch.rand(count, 1, device=device) < 0.5, columns.flip(1), columns)
        visible = _inside(rows, height)[:, :, None] & _inside(columns, width)[:, None, :]
        if self.cutout:
            hole_rows, hole_columns = self._draw_hole(count, height, device), self._draw_hole(count, width, device)
            visible &= ~(hole_rows[:, :, None] & hole_columns[:, None, :])
        rows = rows.clamp(0, height - 1)[:, :, None]
        columns = columns.clamp(0, width - 1)[:, None, :]
        # Indexing selects whole pixels. So the channels become the last axis before indexing, and move back afterwards.
        pixels = images.permute(0, 2, 3, 1)[sample, rows, columns]
        augmented = pixels.masked_fill_(~visible.unsqueeze(-1), 0).permute(0, 3, 1, 2)
        order = torch.contiguous_format if images.is_contiguous() else torch.channels_last
        return augmented.contiguous(memory_format=order)

    def _draw_crop(self, count: int, size: int, device: torch.device) -> Tensor:
        """Draw crops; return the image's row (or column) for each row (or column) of the result, [count, size]."""
        positions = torch.arange(size, device=device).expand(count, -1)
        if not self.pad:
            return positions
        return positions + torch.randint(-self.pad, self.pad + 1, (count, 1), device=device)

    def _draw_hole(self, count: int, size: int, device: torch.device) -> Tensor:
        """Draw cutouts: return whether each row (or column) crosses the cutout of its image, bool [count, size]."""
        start = torch.randint(size, (count, 1), device=device) - self.cutout // 2
        positions = torch.arange(size, device=device)
        return (positions >= start) & (positions < start + self.cutout)


def _inside(positions: Tensor, size: int) -> Tensor:
    """Return whether rows (or columns) lie in an image of a size, bool."""
    return (positions >= 0) & (positions < size)
