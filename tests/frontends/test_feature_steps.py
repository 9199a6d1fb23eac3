"""The steps in a front end's description compute its features with NumPy alone, for any arguments."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gatesearch.errors import UserError
from gatesearch.frontends import Frontend, build
from gatesearch.frontends.feature_steps import compute_features, count_grid_steps
from gatesearch.frontends.log_mel import LogMel

INT16 = st.sampled_from([1, 30, 900, 20000])


@st.composite
def sound_frontends(draw: st.DrawFn) -> tuple[Frontend, torch.Tensor]:
    """Return a fitted log-mel or MFCC front end, and the sound on which it was fitted."""
    rate = draw(st.sampled_from([8000, 16000, 44100]))
    frame_ms, stride_ms = draw(st.sampled_from([(10.0, 10.0), (25.0, 10.0), (30.0, 20.0)]))
    frame = round(rate * frame_ms / 1000)
    low = draw(st.sampled_from([0.0, 20.0, 125.0]))
    arguments: dict[str, Any] = {
        "sample_rate": rate,
        "seconds": draw(st.sampled_from([0.1, 0.25, 0.33])),
        "window_ms": frame_ms,
        "stride_ms": stride_ms,
        "fft": 2 ** (frame - 1).bit_length() * draw(st.sampled_from([1, 2])),
        "mel_bins": draw(st.integers(1, 40)),
        "low_hz": low,
        "high_hz": draw(st.floats(low + 500, rate / 2)),
    }
    name = draw(st.sampled_from(["log_mel", "mfcc"]))
    if name == "mfcc":
        arguments["coefficients"] = draw(st.integers(1, arguments["mel_bins"]))
    frontend = build(name, **arguments)
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    noise = torch.randn(6, frontend.samples, generator=generator) * draw(INT16)  # type: ignore[attr-defined]
    sound = noise.clamp(-32768, 32767).to(torch.int16)
    return frontend.fit(sound), sound


@settings(max_examples=40, deadline=None)
@given(sound_frontends())
def test_steps_of_sound_compute_the_features_but_for_ties(drawn: tuple[Frontend, torch.Tensor]) -> None:
    frontend, sound = drawn
    description = json.loads(json.dumps(frontend.describe(), allow_nan=False))
    for sample in sound[:2]:
        features = compute_features(description, sample.numpy())
        expected = frontend(sample[None])[0].numpy()
        steps = count_grid_steps(description, sample.numpy())
        assert steps is not None and features.shape == expected.shape
        difference = np.abs(features - expected) / (1 / 16)
        assert difference.max() <= 1
        # A feature differs only where the value lies at the border between two steps.
        border = np.abs(steps - np.floor(steps) - 0.5).reshape(difference.shape)
        assert border[difference > 0].max(initial=0.0) < 0.02


@settings(max_examples=20, deadline=None)
@given(
    name=st.sampled_from(["identity", "image", "sequence", "wave"]),
    average=st.integers(1, 5),
    kind=st.sampled_from([torch.float32, torch.int16, torch.uint8]),
    seed=st.integers(0, 99),
)
def test_steps_of_other_samples_compute_the_features(name: str, average: int, kind: torch.dtype, seed: int) -> None:
    shape = {"identity": (5, 7), "image": (3, 6, 5), "sequence": (23, 4), "wave": (300,)}[name]
    noise = torch.randn(8, *shape, generator=torch.Generator().manual_seed(seed)) * 50
    samples = noise if kind.is_floating_point else noise.abs().to(kind)
    frontend = build(name, **({"average": average} if name == "sequence" else {})).fit(samples)
    description = json.loads(json.dumps(frontend.describe(), allow_nan=False))
    for sample in samples[:3]:
        features = compute_features(description, sample.numpy())
        np.testing.assert_allclose(features, frontend(sample[None])[0].numpy(), rtol=1e-4, atol=1e-4)


class Louder(LogMel):
    """Changes the features of its base class, and describes no steps."""

    def forward(self, waves: torch.Tensor) -> torch.Tensor:
        return super().forward(waves) + 1


def test_a_derived_front_end_does_not_inherit_steps() -> None:
    assert Louder().describe()["steps"] is None and LogMel().describe()["steps"] is not None


def test_an_unknown_operation_is_named() -> None:
    description = {"steps": [{"operation": "logg"}], "output_shape": [1]}
    with pytest.raises(UserError, match="unknown operation 'logg'; nearest: 'log'"):
        compute_features(description, np.zeros(1))
