"""Tests of augmentation of waveforms and features: each change stays within its settings."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from gatesearch.data import SpecAugment, WaveAugment
from gatesearch.errors import UserError


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def impulses(count: int, samples: int = 1000) -> Tensor:
    waves = torch.zeros(count, samples)
    waves[:, samples // 2] = 0.5
    return waves


def test_default_settings_change_nothing() -> None:
    waves = torch.rand(4, 1000) - 0.5
    torch.testing.assert_close(WaveAugment()(waves), waves)
    features = torch.randn(4, 1, 49, 10)
    torch.testing.assert_close(SpecAugment()(features), features)


def test_nothing_changes_in_evaluation_mode() -> None:
    waves, features = torch.rand(4, 1000), torch.randn(4, 1, 49, 10)
    noisy = WaveAugment(torch.randn(2, 1000), 100, 1.0, speed=(0.5, 2.0), gain_db=(-6, 6)).eval()
    torch.testing.assert_close(noisy(waves), waves)
    torch.testing.assert_close(SpecAugment(2, 6, 1, 2).eval()(features), features)


def test_each_clip_has_a_shift_of_its_own_up_to_the_limit_and_is_padded_with_zeros() -> None:
    shifted = WaveAugment(shift_ms=10)(impulses(200))
    centre = (shifted * torch.arange(1000)).sum(1) / shifted.sum(1) - 500
    assert centre.abs().max() <= 160
    assert centre.min() < -100 and centre.max() > 100
    torch.testing.assert_close(shifted.sum(1), torch.full((200,), 0.5))  # linear interpolation keeps the area
    far = WaveAugment(shift_ms=50)(torch.ones(200, 1000))
    assert ((far[:, 0] == 0) | (far[:, -1] == 0)).any()


def test_speed_multiplies_pitch_by_its_factor() -> None:
    time = torch.arange(16000) / 16000
    tone = 0.5 * torch.sin(2 * torch.pi * 400 * time).repeat(50, 1)
    for factor in (0.8, 1.25):
        spectrum = torch.fft.rfft(WaveAugment(speed=(factor, factor))(tone)).abs()
        assert (spectrum.argmax(1) - 400 * factor).abs().max() <= 2
    peaks = torch.fft.rfft(WaveAugment(speed=(0.8, 1.25))(tone)).abs().argmax(1)
    assert peaks.unique().numel() > 10
    assert peaks.min() >= 318 and peaks.max() <= 502


def test_noise_reaches_the_share_of_clips_at_the_signal_to_noise_ratio_of_the_settings() -> None:
    waves = (torch.rand(400, 1000) - 0.5) * 0.1
    noise = torch.randn(7, 1500) * torch.logspace(-2, 0, 7)[:, None]
    added = WaveAugment(noise, noise_probability=0.5, snr_db=(10, 10))(waves) - waves
    power = added.square().mean(1)
    noisy = power > 0
    assert 150 < noisy.sum() < 250
    ratio = 10 * torch.log10(waves.square().mean(1)[noisy] / power[noisy])
    torch.testing.assert_close(ratio, torch.full_like(ratio, 10.0), atol=0.05, rtol=0)


def test_noise_is_a_stretch_of_one_noise_clip_that_wraps_around() -> None:
    noise = torch.stack([torch.arange(1, 1001), torch.arange(2001, 3001)]).to(torch.int16)
    augment = WaveAugment(noise, noise_probability=1.0, snr_db=(0, 0))
    added = augment._draw_noise(torch.full((64, 1000), 0.1), augment.noise)  # type: ignore[arg-type]
    step = added.diff(dim=1)
    # Each noise clip is a ramp. A stretch of it rises evenly, with at most one jump, at the end of the clip.
    assert ((step - step.median(1, keepdim=True).values).abs() > 1e-4).sum(1).max() <= 1
    assert (added[:, 0].sign() > 0).any() and (added[:, 0].sign() < 0).any()


def test_noise_of_one_quantisation_step_is_not_amplified_to_the_ratio() -> None:
    noise = torch.randint(-1, 2, (3, 1000), dtype=torch.int16)
    waves = torch.full((20, 1000), 0.3)
    added = WaveAugment(noise, noise_probability=1.0, snr_db=(0, 0))(waves) - waves
    assert added.abs().max() < 0.02


def test_digital_silence_stays_silent() -> None:
    augment = WaveAugment(torch.zeros(3, 1000, dtype=torch.int16), 50, 1.0, (0, 20), (0.9, 1.1), (-6, 6))
    assert (augment(torch.zeros(5, 1000, dtype=torch.int16)) == 0).all()


def test_gain_stays_within_full_scale() -> None:
    out = WaveAugment(gain_db=(-20, 20))(torch.full((200, 10), 0.5))
    assert out.max() == 1 and out.min() >= 0.05 - 1e-6
    assert out[:, 0].unique().numel() > 50


def test_the_same_global_seed_gives_the_same_augmentation() -> None:
    augment = WaveAugment(torch.randn(3, 1000), 50, 0.8, (0, 20), (0.9, 1.1), (-6, 6))
    waves = torch.rand(9, 1000) - 0.5
    torch.manual_seed(5)
    first = augment(waves)
    torch.manual_seed(5)
    torch.testing.assert_close(augment(waves), first)


@given(st.integers(0, 3), st.integers(0, 60), st.integers(0, 3), st.integers(0, 12))
def test_masks_cover_no_more_than_their_settings_allow(times: int, width: int, bands: int, band_width: int) -> None:
    out = SpecAugment(times, width, bands, band_width)(torch.ones(6, 1, 49, 10))
    assert out.shape == (6, 1, 49, 10) and set(out.unique().tolist()) <= {0.0, 1.0}
    whole_frames = (out.amax((1, 3)) == 0).sum(1)
    whole_bands = (out.amax((1, 2)) == 0).sum(1)
    if whole_bands.max() < 10 and whole_frames.max() < 49:
        assert whole_frames.max() <= times * width and whole_bands.max() <= bands * band_width


@given(st.floats(0.01, 0.5), st.integers(0, 2**32 - 1))
def test_a_stretch_moves_a_slope_in_proportion_to_frequency(largest: float, seed: int) -> None:
    torch.manual_seed(seed)
    slope = torch.arange(40.0).expand(30, 1, 7, 40)
    out = SpecAugment(freq_stretch=largest)(slope)
    factors = out[:, 0, 0, 10] / 10  # bin 10 holds the value at 10 (1 + a), which is below the last bin
    assert factors.min() >= 1 - largest - 1e-5 and factors.max() <= 1 + largest + 1e-5
    expected = (torch.arange(40.0) * factors[:, None]).clamp(max=39)
    torch.testing.assert_close(out, expected[:, None, None, :].expand_as(out), atol=1e-3, rtol=0)
    assert len(set(factors.tolist())) > 20


def test_masks_differ_between_clips() -> None:
    out = SpecAugment(time_masks=1, time_width=6)(torch.ones(50, 1, 49, 10))
    assert len({tuple(row) for row in out[:, 0, :, 0].tolist()}) > 10


@pytest.mark.parametrize(
    ("make", "args", "message"),
    [
        (WaveAugment, {"snr_db": [20, 0]}, r"augment.snr_db: \[20, 0\]"),
        (WaveAugment, {"speed": [0.0, 1.0]}, r"augment.speed: \[0.0, 1.0\]"),
        (WaveAugment, {"gain_db": [1]}, r"augment.gain_db: \[1\]"),
        (WaveAugment, {"noise_probability": 80}, "augment.noise_probability: 80"),
        (WaveAugment, {"shift_ms": -1}, "augment.shift_ms: -1"),
        (SpecAugment, {"time_masks": -1}, "augment.time_masks: -1"),
        (SpecAugment, {"freq_stretch": 1.0}, "augment.freq_stretch: 1.0; wanted: 0 or more, and less than 1"),
    ],
)
def test_errors_quote_settings_that_are_out_of_range(make: Any, args: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make(**args)


def test_noise_shorter_than_a_clip_is_refused() -> None:
    with pytest.raises(ValueError, match="noise of 10 samples for clips of 20"):
        WaveAugment(torch.ones(1, 10), noise_probability=1.0)(torch.ones(1, 20))
