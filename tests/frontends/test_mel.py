"""Tests of the MFCC and log-mel front ends: their features, how they are fitted, and errors in their arguments."""

from __future__ import annotations

import json

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy import fft as scipy_fft
from scipy import signal

from gatesearch._lib.console import collect_warnings
from gatesearch.errors import UserError
from gatesearch.frontends import MFCC, Identity, LogMel, build, build_for, restore
from gatesearch.frontends.grid import FEATURE_SCALE, INT8_MAX, INT8_MIN


def mlperf_tiny(wave: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return MLPerf Tiny's MFCC of one clip [16000], computed with numpy and scipy as tf.signal defines it."""
    window = signal.get_window("hann", 480, fftbins=True)
    frames = np.stack([wave[i : i + 480] * window for i in range(0, 16000 - 480 + 1, 320)])
    magnitude = np.abs(np.fft.rfft(frames, 512))

    def mel(hertz: float) -> float:
        return 1127.0 * np.log(1.0 + hertz / 700.0)

    edges = np.linspace(mel(20.0), mel(4000.0), 42)
    weights = np.zeros((257, 40))
    for k in range(1, 257):
        at = mel(k * 16000 / 512)
        for m in range(40):
            low, middle, high = edges[m : m + 3]
            weights[k, m] = max(0.0, min((at - low) / (middle - low), (high - at) / (high - middle)))
    log_mel = np.log(magnitude @ weights + 1e-6)
    return scipy_fft.dct(log_mel, type=2, axis=1)[:, :10] / np.sqrt(2 * 40)


def test_mfcc_equals_that_of_mlperf_tiny() -> None:
    rng = np.random.default_rng(0)
    time = np.arange(16000) / 16000
    chirp = 0.5 * np.sin(2 * np.pi * (200 + 1500 * time) * time) + 0.01 * rng.standard_normal(16000)
    ours = MFCC().spectrum(torch.from_numpy(chirp).float()[None])
    assert ours.shape == (1, 49, 10)
    np.testing.assert_allclose(ours[0].numpy(), mlperf_tiny(chirp), atol=2e-3, rtol=1e-4)


def test_features_lie_on_an_int8_grid() -> None:
    waves = torch.randn(16, 16000, generator=torch.Generator().manual_seed(0))
    frontend = MFCC().fit(waves)
    features = frontend(torch.cat([waves, 0 * waves]))
    steps = features / FEATURE_SCALE
    assert (steps == steps.round()).all() and steps.min() == INT8_MIN and steps.max() <= INT8_MAX
    assert frontend.output_range == (-8.0, 7.9375)
    exact = (frontend.spectrum(waves) - frontend.mean) / frontend.std
    assert (features[:16, 0] - exact).abs().max() <= FEATURE_SCALE / 2 + 1e-6


def test_integers_are_scaled_to_one() -> None:
    wave = torch.randint(-3000, 3000, (2, 16000), dtype=torch.int16)
    torch.testing.assert_close(MFCC()(wave), MFCC()(wave.float() / 32768))


@pytest.mark.parametrize("name", ["mfcc", "log_mel"])
def test_fit_normalises_every_feature(name: str) -> None:
    waves = torch.randn(600, 4000, generator=torch.Generator().manual_seed(0))
    frontend = build(name, seconds=0.25).fit(waves)
    features = frontend(waves).double()
    assert features.shape[1:] == frontend.output_shape
    torch.testing.assert_close(features.mean((0, 1, 2)), torch.zeros(features.shape[3]).double(), atol=2e-3, rtol=0)
    std = features.std((0, 1, 2), correction=0)
    torch.testing.assert_close(std, torch.ones(features.shape[3]).double(), atol=1e-3, rtol=0)


def test_images_are_refused() -> None:
    with pytest.raises(
        UserError, match=r"frontend.name: mfcc needs sound, \[samples\] each; the data have the shape \[3, 8, 8\]"
    ):
        MFCC().fit(torch.zeros(2, 3, 8, 8))


def test_fit_on_silence_keeps_features_finite() -> None:
    frontend = MFCC().fit(torch.zeros(3, 16000, dtype=torch.int16))
    assert frontend(torch.zeros(1, 16000)).abs().max() < 1e-3
    assert frontend(torch.randn(1, 16000)).isfinite().all()


def test_description_is_json_and_restores_the_same_front_end() -> None:
    waves = torch.randn(8, 16000)
    for frontend in (
        MFCC(coefficients=12, mel_bins=32).fit(waves),
        LogMel(stride_ms=10).fit(waves),
        Identity(),
    ):
        again = restore(json.loads(json.dumps(frontend.describe())))
        torch.testing.assert_close(again(waves), frontend(waves))
        assert again.macs() == frontend.macs()


def test_macs_add_up() -> None:
    mfcc = MFCC()
    parts = mfcc.frame_macs()
    # A real FFT of 512 points has 128 * 8 butterflies with one complex product each, and 256 more complex products.
    # A complex product takes four real products.
    assert parts["fft"] == 4 * (128 * 8 + 256)
    assert parts["dct"] == 40 * 10
    assert mfcc.macs() == 49 * sum(parts.values())
    assert Identity().macs() == 0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"coefficients": 41}, "frontend.coefficients: 41 .*mel_bins=40"),
        ({"coefficient": 10}, "'coefficient'; nearest: 'coefficients'"),
        ({"mel_bin": 10}, "'mel_bin'; nearest: 'mel_bins'"),
        ({"fft": 500}, "frontend.fft: 500 .*power of two"),
        ({"window_ms": 40.0}, "frontend.window_ms: 40.0 .*fft=512"),
        ({"stride_ms": 0}, "frontend.stride_ms: 0"),
        ({"seconds": 0.01}, "frontend.seconds: 0.01"),
        ({"high_hz": 9000}, "frontend.high_hz: 9000 .*8000"),
        ({"low_hz": 5000}, "frontend.low_hz: 5000 .*high_hz"),
        ({"mel_bins": 0, "coefficients": 1}, "frontend.mel_bins: 0"),
    ],
)
def test_errors_name_wrong_arguments(args: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build("mfcc", **args)


def test_the_error_for_an_unknown_front_end_names_the_nearest() -> None:
    with pytest.raises(UserError, match="'mfc'; nearest: 'mfcc'"):
        build("mfc")
    with pytest.raises(UserError, match="unknown key of identity 'fft'"):
        build("identity", fft=3)


def test_a_front_end_takes_rate_and_length_from_the_clips() -> None:
    clips = torch.zeros(3, 4000, dtype=torch.int16)
    frontend = build_for("log_mel", {}, sample_rate=8000, samples=4000)
    assert (frontend.arguments["sample_rate"], frontend.arguments["seconds"]) == (8000, 0.5)
    assert frontend(clips).shape == (3, *frontend.output_shape)
    shorter = build_for("log_mel", {"seconds": 0.25}, sample_rate=8000, samples=4000)
    assert shorter.arguments["seconds"] == 0.25
    assert isinstance(build_for("identity", {}), Identity)


def test_another_rate_or_length_than_that_of_the_clips_is_refused() -> None:
    with pytest.raises(UserError, match=r"frontend.sample_rate: 16000, but the data are sampled at 8000 Hz"):
        build_for("mfcc", {"sample_rate": 16000}, sample_rate=8000, samples=8000)
    with pytest.raises(UserError, match=r"frontend.seconds: 1.0 at 16000 Hz is 16000 samples; .* clips of 8000"):
        MFCC().fit(torch.zeros(2, 8000))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64, torch.bfloat16])
def test_floats_of_any_type_give_float32_features(dtype: torch.dtype) -> None:
    clips = torch.rand(4, 16000, generator=torch.Generator().manual_seed(0)).to(dtype)
    for name in ("mfcc", "identity", "wave"):
        frontend = build(name).fit(clips)
        assert torch.equal(frontend(clips), frontend(clips.float())) and frontend(clips).dtype == torch.float32


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_front_end_cannot_be_fitted_to_values_that_are_not_finite(value: float) -> None:
    clips = torch.rand(4, 16000)
    clips[2, 7] = value
    with pytest.raises(UserError, match="mfcc: features of the training split are not finite"):
        MFCC().fit(clips)


def test_features_in_too_small_a_unit_give_a_warning() -> None:
    windows = torch.randn(20, 16, 3, generator=torch.Generator().manual_seed(0))
    with collect_warnings() as lines:
        build("sequence").fit(windows * 1e-7)
    assert len(lines) == 1 and "3 of 3 features vary by less than 1e-05 and are taken for constant" in lines[0]
    with collect_warnings() as lines:
        build("sequence").fit(windows)
        build("sequence").fit(torch.full((20, 16, 3), 9.81))
    assert not lines
