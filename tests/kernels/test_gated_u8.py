"""Tests of gated layers between bytes: C against the reference, and both against the float32 layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatesearch.gates import KernelCall
from gatesearch.kernels import ActiveChannels, Library, layer_kernel
from gatesearch.kernels.arrays import Array
from gatesearch.kernels.channel_skipping import zero_inactive
from gatesearch.kernels.gated_u8 import BYTE_LAYERS

VARIANTS: Mapping[str, tuple[dict[str, int], ...]] = {
    "fbs": ({},),
    "fbs_single": ({},),
    "pg": tuple({"bytes": size, "group": group, "pieces": size} for group in (1, 8, 16, 64) for size in (1, 2)),
    "fbs_pg": tuple({"block": b, "group": g, "pieces": p} for b in (1, 16) for g in (1, 16) for p in (1, 2)),
}

names = st.sampled_from([(name, variant) for name, variants in VARIANTS.items() for variant in variants])
shares = st.sampled_from([0.25, 0.5, 0.75, 1.0])


def random_shape(rng: np.random.Generator) -> tuple[int, ...]:
    kernel, stride = int(rng.choice([1, 3])), int(rng.choice([1, 2]))
    sizes = (int(size) for size in rng.integers(3, 9, 2))
    channels = (int(count) for count in rng.choice([4, 16, 20, 32, 48], 2))
    return (*sizes, *channels, kernel, kernel, stride, stride, kernel // 2, kernel // 2, 1, 1)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names, shares, shares, st.integers(0, 10**6))
def test_the_kernel_equals_the_reference_and_the_layer_within_rounding(
    library: Library, named: tuple[str, dict[str, int]], inputs: float, outputs: float, seed: int
) -> None:
    name, variant = named
    rng = np.random.default_rng(seed)
    shares_of_work = (("inputs", inputs), ("outputs", outputs), ("open", outputs))
    kernel = layer_kernel(name)
    remaining = tuple((key, share) for key, share in shares_of_work if key in kernel.shares)
    call = KernelCall(name, random_shape(rng), tuple(variant.items()), remaining)
    layer, x, active = kernel.sample(call, library, rng)
    x = np.abs(x)
    level_in = float(x.max()) / 255
    image = np.rint(x / level_in).astype(np.uint8)
    real = image.astype(np.float32) * np.float32(level_in)
    expected = layer.reference(real, active)
    level_out = max(float(expected.max()), 1e-3) / 255
    kind = BYTE_LAYERS[name]
    whole = kind(kind.pack(layer.arrays(), level_in, level_out), library)
    if active is not None and active.size not in whole.reads:
        active = None
        expected = layer.reference(real, None)
    y, reference = whole(image, active), whole.reference(image, active)
    assert y.shape == tuple(layer.shape) and y.dtype == np.uint8
    _check_bytes(name, y, reference)
    noise = np.float32(0) if name in ("pg", "fbs_pg") else weight_noise(layer, real, active)
    within = np.abs(y * level_out - expected) <= 1.01 * level_out + 6 * noise
    assert within.mean() >= 0.97  # where two groups are equally strong, rounding decides which one wins


def weight_noise(layer: Any, x: Array, active: ActiveChannels | None) -> Array:
    """Return the standard deviation of each output that rounding the weights to int8 causes, [h', w', c_out].

    A rounded weight is off by up to half a step s of its channel, with a standard deviation of s / sqrt(12). Errors of
    the taps are independent, so the product with a patch is off by s / sqrt(12) times the Euclidean norm
    of the patch.
    """
    conv, boost = layer.conv, layer.conv.boost
    image = zero_inactive(x, active)
    factor, _ = conv._decision.reference(image.mean((0, 1), dtype=np.float32))
    ones = torch.ones(conv.geometry.weights)
    length = conv.geometry.convolve(torch.from_numpy(np.square(image)), ones).clamp(min=0).sqrt().numpy()
    steps = np.abs(conv.weight).reshape(len(conv.weight), -1).max(1) / 127
    noise: Array = np.abs(factor * boost.slope) * steps / np.sqrt(12) * length
    return noise


def _check_bytes(name: str, y: Array, reference: Array) -> None:
    """Compare the bytes of C with those of the reference."""
    difference = np.abs(y.astype(int) - reference.astype(int))
    if name == "pg":  # its sums are whole numbers, so nothing depends on the order of additions
        np.testing.assert_array_equal(y, reference)
    else:  # the predictor adds floats in another order than the reference, which may change a last bit
        assert difference.max() <= 1 and (difference > 0).mean() < 0.02


def test_a_layer_without_a_relu_or_with_negative_inputs_is_refused(library: Library) -> None:
    call = KernelCall("pg", (4, 4, 16, 16, 1, 1, 1, 1, 0, 0, 1, 1), (("bytes", 1), ("group", 1)), (("open", 0.5),))
    layer, _, _ = layer_kernel("pg").sample(call, library, np.random.default_rng(0))
    arrays = layer.arrays()
    for change, reason in (({"relu": False}, "no ReLU"), ({"sign": True}, "negative"), ({"shape": [4, 4]}, "linear")):
        changed = {**arrays, **{key: np.asarray(value) for key, value in change.items()}}
        with pytest.raises(ValueError, match=reason):
            BYTE_LAYERS["pg"].pack(changed, 0.1, 0.1)
