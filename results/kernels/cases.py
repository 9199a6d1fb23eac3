"""The cases of the ``kernels`` benchmark: groups of calls (layers on fixed inputs) that are timed in turn.

The output of gatesearch's kernels is compared with their references when the calls are built.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from gatesearch.gates.matrices import count_dense_rows
from gatesearch.gates.pg.arithmetic import MASKS
from gatesearch.kernels import (
    HMD,
    Boost,
    Conv,
    ConvU8,
    Dense,
    FBSConv,
    FBSConvU8,
    Geometry,
    GRUStep,
    LSTMStep,
    PGConv,
    Pruned,
)
from gatesearch.kernels.recurrent_weights import Weights
from results.kernels import library_layers, networks
from results.kernels.library_networks import Array, Calls

# The different shapes of M-CifarNet's convolutions. A key names the layers that have the shape.
LAYERS: Mapping[str, Geometry] = {
    "conv0": Geometry((32, 32), 3, 64, (3, 3)),
    "conv1": Geometry((30, 30), 64, 64, (3, 3), padding=(1, 1)),
    "conv2": Geometry((30, 30), 64, 128, (3, 3), (2, 2), (1, 1)),
    "conv3, conv4": Geometry((15, 15), 128, 128, (3, 3), padding=(1, 1)),
    "conv5": Geometry((15, 15), 128, 192, (3, 3), (2, 2), (1, 1)),
    "conv6, conv7": Geometry((8, 8), 192, 192, (3, 3), padding=(1, 1)),
}
GATED = Geometry((16, 16), 128, 128, (3, 3), padding=(1, 1))
DENSITIES = (0.25, 0.5, 0.75, 1.0)
PRECISION: Mapping[str, Geometry] = {
    "32 x 32, 64 channels": Geometry((32, 32), 64, 64, (3, 3), padding=(1, 1)),
    "16 x 16, 128 channels": GATED,
}
SPARSITIES = (0.5, 0.62, 0.7, 0.8, 0.9)
HIDDEN = (128, 256, 512, 1024)
COMPRESSION = 4.0


@dataclass(frozen=True, slots=True)
class Case:
    """A set of calls that are timed in turn.

    Args:
        name: name of the case.
        group: group of the case, as in the argument ``groups=``.
        calls: function that builds the calls, on inputs from a fixed seed.
    """

    name: str
    group: str
    calls: Callable[[], Calls]


def dense(geometry: Geometry) -> Calls:
    """Return the calls of a dense layer: in float32, in int8, and as a matrix product in int8."""
    rng = np.random.default_rng(0)
    weight, bias = _real(rng, *geometry.weights), _real(rng, geometry.c_out)
    x = np.abs(_real(rng, *geometry.image, geometry.c_in))
    small = rng.integers(-127, 128, geometry.weights).astype(np.int8)
    bytes_ = rng.integers(0, 256, (*geometry.image, geometry.c_in)).astype(np.uint8)
    rows = geometry.output[0] * geometry.output[1]
    matrix = Geometry((1, rows), geometry.inner, geometry.c_out)
    patches = rng.integers(0, 256, (1, rows, geometry.inner)).astype(np.uint8)
    scale = np.full(geometry.c_out, 1e-3, np.float32)
    product = ConvU8(matrix, np.ascontiguousarray(small.reshape(matrix.weights)))
    return {
        **_named("fp32", {"own": _bound(Conv(geometry, weight, shift=bias), x, np.float32)}),
        **_named("fp32", library_layers.dense_fp32(geometry, weight, bias, x)),
        **_named("int8", {"own": _bound(ConvU8(geometry, small, "bytes", scale=scale), bytes_, np.uint8)}),
        **_named("int8", library_layers.dense_int8(geometry, small, bias, bytes_)),
        **_named("product", {"own": _bound(product, patches, np.int32)}),
        **_named("product", library_layers.products_int8(geometry, small)),
    }


def channel_gating() -> Calls:
    """Return the calls of FBS (feature boosting and suppression) in blocks of 16 channels, and of dense layers.

    A call of FBS includes the choice of channels. In calls named "both sides", a share of the input channels and of the
    output channels is active. In calls named "output", all input channels are active.
    """
    rng, g = np.random.default_rng(0), GATED
    weight, zero = _real(rng, *g.weights), np.zeros(g.c_out, np.float32)
    x = np.abs(_real(rng, *g.image, g.c_in))
    small = rng.integers(-127, 128, g.weights).astype(np.int8)
    bytes_ = rng.integers(0, 256, x.shape).astype(np.uint8)
    scale = np.full(g.c_out, 1e-3, np.float32)
    calls = {
        **_named("fp32", {"own": _bound(Conv(g, weight, relu=True), x, np.float32)}),
        **_named("fp32", library_layers.dense_fp32(g, weight, zero, x)),
        **_named("int8", {"own": _bound(ConvU8(g, small, "bytes", scale=scale), bytes_, np.uint8)}),
        **_named("int8", library_layers.dense_int8(g, small, zero, bytes_)),
    }
    blocks = g.c_out // 16
    for density in DENSITIES:
        winners = round(density * blocks)
        phi = _real(rng, g.c_out, g.c_in) / 8
        boost = Boost(phi, np.ones(g.c_out, np.float32), zero + 1, zero, zero, winners)
        active = np.sort(rng.permutation(g.c_in // 16)[: round(density * g.c_in // 16)]).astype(np.int32)
        real, whole = FBSConv(g, weight, boost), FBSConvU8(g, small, boost, 1 / 255, 1e-3, 0.1)
        for label, inputs in (("both sides", active), ("output", None)):
            y, won = np.zeros((*g.output, g.c_out), np.float32), np.zeros(winners, np.int32)
            call = real.bind(x, y, won, inputs)
            call()
            expected, best = real.reference(x, inputs)
            _agree(won, best)
            _close(np.where(np.isin(np.arange(g.c_out) // 16, won), y, 0), expected)
            calls[f"fbs, {label}, {density:g}"] = call
        y8 = np.zeros((*g.output, g.c_out), np.uint8)
        calls[f"fbs int8, both sides, {density:g}"] = whole.bind(bytes_, y8, np.zeros(winners, np.int32), active)
    return calls


def precision_gating(geometry: Geometry) -> Calls:
    """Return the calls of PG (precision gating) by mask and sparsity, of dense layers, and of an ordinary int8 layer.

    PG 16/8 has 16-bit activations. Its first phase computes every output from the 8 high bits, and its second phase
    adds the low bits to open outputs. PG 8/4 has 8-bit activations with 4 high bits. Sparsity is the share of closed
    outputs. At a sparsity of 1 no output is open, so the call is the first phase with its decision.
    """
    rng, g = np.random.default_rng(0), geometry
    weight = rng.integers(-127, 128, g.weights).astype(np.int8)
    calls: Calls = {}
    for bits, low_bits in ((16, 8), (8, 4)):
        x = rng.integers(0, 2**bits, (*g.image, g.c_in)).astype(np.uint16 if bits > 8 else np.uint8)
        label = f"{bits}/{bits - low_bits}"
        zeros = np.zeros(g.c_out, np.float32)
        high = PGConv(g, weight, bits, low_bits, 1, zeros).phases(x)[0].high.double()

        def gated(
            mask: str,
            share: float,
            singly: bool,
            b: int = bits,
            lb: int = low_bits,
            o: torch.Tensor = high,
            image: Array = x,
        ) -> Callable[[], None]:
            group = MASKS[mask].size(g.c_out)
            means = o.reshape(-1, g.c_out).unflatten(-1, (-1, group)).mean(-1)
            # The thresholds are set for the requested sparsity: in each group, the outputs above the limit are open,
            # and at least ``share`` of the outputs is closed.
            count = int(len(means) * (1 - share) + 1e-9)
            limit = means.sort(0, descending=True).values[count] if count < len(means) else means.min(0).values - 1
            gate = PGConv(g, weight, b, lb, group, limit.float().numpy(), singly=singly)
            y = np.empty((*g.output, g.c_out), np.float32)
            call = gate.bind(image, y)
            call()
            _close(y, gate.reference(image).output.numpy())
            return call

        kernel = PGConv(g, weight, bits, low_bits, g.c_out, np.zeros(1, np.float32))
        calls[f"{label} dense"] = kernel.bind(x, np.empty((*g.output, g.c_out), np.float32), dense=True)
        for mask in ("3d", "m2-8", "m2-16", "m2-32", "m1") if bits == 16 else ("m2-16",):
            for share in (*SPARSITIES, 1.0) if bits == 16 else (0.7,):
                calls[f"{label} {mask} {share:g}"] = gated(mask, share, singly=True)
                if mask == "3d" and share < 1:
                    calls[f"{label} 3d blocks {share:g}"] = gated(mask, share, singly=False)
    bytes_ = rng.integers(0, 256, (*g.image, g.c_in)).astype(np.uint8)
    floats = ConvU8(g, weight, "floats")
    calls["int8 dense"] = _bound(floats, bytes_, np.float32)
    # Activations of more than 8 bits need fp32 in a library, because none has a fast layer of 16 by 8 bits.
    real, zero = np.abs(_real(rng, *g.image, g.c_in)), np.zeros(g.c_out, np.float32)
    calls |= _named("fp32", library_layers.dense_fp32(g, weight.astype(np.float32), zero, real))
    calls |= _named("int8", library_layers.dense_int8(g, weight, zero, bytes_))
    return calls


def recurrent(size: int) -> Calls:
    """Return the calls of one step of an LSTM and of a GRU at batch size 1, with dense, HMD and pruned weights.

    HMD is hybrid matrix decomposition. The layers have as many inputs as hidden units.
    """
    rng = np.random.default_rng(0)
    calls: Calls = {}
    for cell, gates in ((LSTMStep, 4), (GRUStep, 3)):
        rich = count_dense_rows(size, size, 2, COMPRESSION)
        full = [Dense(_real(rng, gates, size, size) / size**0.5) for _ in range(2)]
        hybrid = [
            HMD(
                _real(rng, gates, rich, size) / size**0.5,
                _real(rng, gates, 2, size - rich) / size**0.25,
                _real(rng, gates, size) / size**0.25,
            )
            for _ in range(2)
        ]
        density = hybrid[0].parameters / (gates * size * size)
        pruned = [Pruned(_largest(matrix.full(), density)) for matrix in full]
        forms: Mapping[str, Sequence[Weights]] = {"dense": full, "HMD": hybrid, "pruned": pruned}
        bias = _real(rng, gates * size)
        for form, (of_x, of_h) in forms.items():
            step: LSTMStep | GRUStep = cell(of_x, of_h, bias, bias)
            x, states = _real(rng, size), [_real(rng, size) for _ in range(2 if gates == 4 else 1)]
            expected: Any = step.reference(x, *states)
            call = step.bind(x, *states)
            call()
            _close(states[0], expected[0] if gates == 4 else expected)
            calls[f"{'LSTM' if gates == 4 else 'GRU'} {form}"] = call
        if gates == 4:
            layer = nn.LSTMCell(size, size).eval().requires_grad_(False)
            calls["LSTM torch"] = library_layers.lstm(layer, x, *states)
            matrices = [m.full().reshape(-1, size) for m in pruned]
            calls["LSTM pruned, products alone, torch"] = library_layers.sparse_product(matrices, [x, states[0]])
    return calls


def all_cases() -> list[Case]:
    """Return every case, in the order of the page."""
    return [
        *(Case(name, "dense", lambda g=g: dense(g)) for name, g in LAYERS.items()),  # type: ignore[misc]
        Case("16 x 16, 128 channels", "fbs", channel_gating),
        *(Case(name, "pg", lambda g=g: precision_gating(g)) for name, g in PRECISION.items()),  # type: ignore[misc]
        *(Case(name, networks.GROUP, lambda n=name: networks.calls(n)) for name in networks.NETWORKS),  # type: ignore[misc]
        *(Case(f"{size} units", "rnn", lambda s=size: recurrent(s)) for size in HIDDEN),  # type: ignore[misc]
    ]


def _real(rng: np.random.Generator, *shape: int) -> Array:
    return rng.standard_normal(shape).astype(np.float32)


def _largest(weight: Array, share: float) -> Array:
    """Return the weights with all but the largest set to zero; ``share`` of the weights remain."""
    limit = np.quantile(np.abs(weight), 1 - share)
    return np.where(np.abs(weight) > limit, weight, 0).astype(np.float32)


def _named(group: str, calls: Calls) -> Calls:
    return {f"{group}: {name}": call for name, call in calls.items()}


def _bound(kernel: Conv | ConvU8, x: Array, dtype: type) -> Callable[[], None]:
    y: Array = np.zeros((*kernel.geometry.output, kernel.geometry.c_out), dtype)
    call = kernel.bind(x, y)
    call()
    _close(y, kernel.reference(x))
    return call


def _close(ours: Array, reference: Array) -> None:
    if not np.allclose(ours, reference, rtol=1e-5, atol=1e-5 * float(np.abs(reference).max())):
        raise RuntimeError("a kernel does not equal its reference")


def _agree(ours: Array, reference: Array) -> None:
    if list(ours) != list(reference):
        raise RuntimeError("other blocks won than in the reference")
