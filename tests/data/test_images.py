"""Tests of images: the front end normalises channels, and augmentation stays within its settings."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from gatesearch.data import ImageAugment
from gatesearch.errors import UserError
from gatesearch.frontends import Normalise, build, restore


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def photographs(count: int = 700) -> Tensor:
    """Return images [N, 3, 6, 5] whose channels differ in brightness and contrast."""
    noise = torch.randn(count, 3, 6, 5) * torch.tensor([10.0, 30.0, 50.0])[:, None, None]
    return (noise + torch.tensor([60.0, 120.0, 128.0])[:, None, None]).clamp(0, 255).to(torch.uint8)


def numbered(count: int, height: int, width: int, channels: int = 2) -> Tensor:
    """Return images in which all values differ and none is zero."""
    return torch.arange(1.0, count * channels * height * width + 1).view(count, channels, height, width)


def test_every_channel_gets_mean_0_and_deviation_1() -> None:
    images = photographs()
    frontend = build("image").fit(images)
    out = frontend(images).double()
    torch.testing.assert_close(out.mean((0, 2, 3)), torch.zeros(3).double(), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.std((0, 2, 3), correction=0), torch.ones(3).double(), atol=1e-5, rtol=0)
    torch.testing.assert_close(frontend.mean.flatten() * 256, images.float().mean((0, 2, 3)))
    assert frontend.output_shape == (3, 6, 5)
    assert frontend.macs() == 90


def test_floats_and_integers_are_the_same_images() -> None:
    images = photographs()
    frontend = Normalise().fit(images)
    torch.testing.assert_close(frontend(images / 256), frontend(images))
    torch.testing.assert_close(Normalise().fit(images / 256)(images), frontend(images))


def test_a_constant_channel_stays_zero() -> None:
    images = photographs()
    images[:, 1] = 77
    out = Normalise().fit(images)(images)
    assert (out[:, 1] == 0).all() and out.isfinite().all()


def test_memory_format_stays() -> None:
    out = Normalise().fit(photographs())(photographs().contiguous(memory_format=torch.channels_last))
    assert out.is_contiguous(memory_format=torch.channels_last)


def test_description_is_json_and_restores_the_same_front_end() -> None:
    images = photographs()
    fitted = Normalise().fit(images)
    again = restore(json.loads(json.dumps(fitted.describe())))
    assert isinstance(again, Normalise)
    assert torch.equal(again(images), fitted(images))
    assert again.describe() == fitted.describe()


def test_only_images_are_accepted() -> None:
    with pytest.raises(UserError, match=r"frontend.name: image needs .* the data have the shape \[16000\]"):
        Normalise().fit(torch.zeros(2, 16000, dtype=torch.int16))
    with pytest.raises(UserError, match="unknown key of image 'mean'"):
        build("image", mean=0.5)


def test_nothing_changes_by_default_or_in_evaluation() -> None:
    images = torch.randn(4, 3, 8, 8)
    assert torch.equal(ImageAugment()(images), images)
    assert torch.equal(ImageAugment(pad=2, flip=True, cutout=4).eval()(images), images)


@given(st.integers(1, 4), st.integers(5, 9), st.integers(5, 9))
def test_a_crop_is_a_window_of_the_padded_image(pad: int, height: int, width: int) -> None:
    images = numbered(20, height, width)
    out = ImageAugment(pad=pad)(images)
    windows = F.pad(images, (pad,) * 4).unfold(2, height, 1).unfold(3, width, 1)  # [N, C, 2 pad + 1, 2 pad + 1, H, W]
    matches = (windows == out[:, :, None, None]).all(-1).all(-1).all(1)
    assert (matches.sum((1, 2)) == 1).all()


def test_crops_are_uniform_over_all_windows() -> None:
    out = ImageAugment(pad=2)(numbered(1, 6, 6, 1).expand(5000, -1, -1, -1))
    kinds, counts = out.flatten(1).unique(dim=0, return_counts=True)
    assert len(kinds) == 25
    assert counts.min() > 120 and counts.max() < 290  # expected: 200 each, with a standard deviation of 14


def test_half_of_the_images_are_flipped() -> None:
    images = numbered(2000, 4, 5)
    out = ImageAugment(flip=True)(images)
    mirrored = (out == images.flip(3)).all(-1).all(-1).all(1)
    assert ((out == images).all(-1).all(-1).all(1) ^ mirrored).all()
    assert 900 < mirrored.sum() < 1100


@given(st.integers(1, 8))
def test_cutout_is_one_square_with_its_centre_in_the_image(side: int) -> None:
    images = numbered(300, 8, 9)
    out = ImageAugment(cutout=side)(images)
    assert torch.equal(out[:, 0] == 0, out[:, 1] == 0)
    assert torch.equal(out[out != 0], images[out != 0])
    cut = out[:, 0] == 0
    rows, columns = cut.any(2), cut.any(1)
    assert torch.equal(cut, rows[:, :, None] & columns[:, None, :])  # a rectangle
    for lines, size in ((rows, 8), (columns, 9)):
        assert (lines.int().diff(dim=1).abs().sum(1) <= 2).all()  # without gaps
        sides = lines.sum(1)
        assert sides.max() == min(side, size) and sides.min() >= (side + 1) // 2 - (side % 2 == 0 and side > 1)
    if side > 1:
        assert cut.flatten(1).unique(dim=0).shape[0] > 20


def test_all_three_at_once_only_move_or_blank_pixels() -> None:
    images = numbered(400, 8, 8)
    out = ImageAugment(pad=2, flip=True, cutout=4)(images)
    nonzero = out != 0
    assert torch.equal(nonzero[:, 0], nonzero[:, 1])
    assert torch.equal((out[:, 1] - out[:, 0])[nonzero[:, 0]], torch.full((int(nonzero[:, 0].sum()),), 64.0))
    for image, original in zip(out[:20], images[:20], strict=True):
        values = image[image != 0]
        assert values.unique().numel() == values.numel()
        assert torch.isin(values, original).all()
    assert 0.4 < nonzero.float().mean() < 0.8


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_memory_format_and_dtype_stay_and_do_not_matter(memory_format: torch.memory_format, dtype: torch.dtype) -> None:
    images = torch.randn(6, 3, 8, 8).to(dtype)
    augment = ImageAugment(pad=2, flip=True, cutout=3)
    torch.manual_seed(5)
    expected = augment(images)
    torch.manual_seed(5)
    out = augment(images.contiguous(memory_format=memory_format))
    assert out.is_contiguous(memory_format=memory_format) and out.dtype == dtype
    assert torch.equal(out, expected)


def test_the_input_images_are_not_changed() -> None:
    images = torch.randn(6, 3, 8, 8)
    before = images.clone()
    ImageAugment(pad=2, flip=True, cutout=3)(images)
    assert torch.equal(images, before)


@pytest.mark.parametrize(
    ("args", "message"), [({"pad": -1}, "augment.pad: -1"), ({"cutout": -4}, "augment.cutout: -4")]
)
def test_errors_name_wrong_values(args: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ImageAugment(**args)  # type: ignore[arg-type]


def test_a_crop_of_nothing_but_padding_is_refused() -> None:
    with pytest.raises(UserError, match=r"augment.pad: 8; wanted: less than the image, which is 8 x 12"):
        ImageAugment(pad=8)(torch.zeros(1, 1, 8, 12))
