"""Gated layers between bytes: input and output are uint8, and a ReLU follows each layer.

A layer of :class:`~gatesearch.kernels.LayerKernel` maps float32 to float32. The layers of this module compute the same
from bytes to bytes, so that a whole stage can run in int8. The byte 0 represents 0; a step of the input has the real
value ``level_in``, a step of the output ``level_out``. Weights of feature boosting and suppression (FBS) are rounded
to int8, with one scale for each output channel. Precision gating (PG) has levels of its own in any case.
"""

from __future__ import annotations

import ctypes
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from ctypes import byref, c_float, c_int32, c_void_p
from typing import ClassVar, NamedTuple

import numpy as np

from gatesearch.gates import BLOCK, KernelCall
from gatesearch.kernels.arrays import Array, address, aligned_zeros, pad_to_blocks
from gatesearch.kernels.base import ActiveChannels, Kernel
from gatesearch.kernels.fbs import FBSConvU8
from gatesearch.kernels.fbs_pg import FBSPGLayer, Precision
from gatesearch.kernels.fbs_predictor import Boost
from gatesearch.kernels.geometry import Geometry
from gatesearch.kernels.library import ADDRESS, INT, SHAPE, SIZE, SOURCES, Library, Signatures
from gatesearch.kernels.operand_split import OperandSplit
from gatesearch.kernels.pg import PGLayer
from gatesearch.kernels.registry import layer_kernel

FBS, PG, FBS_PG = range(3)  # kinds of layers, as in kernels.h
LARGEST_WEIGHT = 127  # largest magnitude of an int8 weight
LARGEST_BYTE = 255
BITS = 8  # bits of a byte
IN_BYTES = ", in bytes"  # ending of the names of kernels between bytes


class CGated(ctypes.Structure):
    """The C struct ``gs_gated`` of kernels.h: a gated layer between bytes."""

    _fields_ = (
        *((name, c_int32) for name in ("kind", "n_in", "in_size", "whole", "wide")),
        *((name, c_float) for name in ("level_in", "level_out", "steps_out", "ratio", "top")),
        *(
            (name, c_void_p)
            for name in ("fbs", "split", "pg", "packed", "sums", "no_bias", "scale", "shift", "in", "out")
        ),
    )


class GatedKernel(Kernel):
    """The C functions that run gated and recurrent layers between bytes."""

    name = "gated_u8"
    source = SOURCES / "gated_u8.c"
    rank = 22
    signatures: ClassVar[Signatures] = {
        "gated_u8_scratch": (SIZE, (SHAPE, INT, INT)),
        "gated_u8": (None, (SHAPE, ADDRESS, ADDRESS, ADDRESS, ADDRESS)),
        "recurrence_u8_scratch": (SIZE, (ADDRESS,)),
        "recurrence_u8": (None, (ADDRESS, ADDRESS, ADDRESS, ADDRESS)),
    }


class ByteLayer(ABC):
    """A gated layer from uint8 [h, w, c_in] to uint8 [h', w', c_out].

    Attributes:
        operator: name of the C operator that runs the layer, and of its field with the layer's struct.
        takes_any_grid: whether any byte of the input may represent 0; otherwise the byte 0 does.
        zero_out: the byte of the output that represents 0.
        reads: sizes of the groups of input channels that the layer can skip.
        geometry: the geometry of the convolution.
        shape: the shape of the output.
        active: the channels that the last run computed; None where every run computes all.
        scratch: memory of the C function.
    """

    operator: ClassVar[str] = "gated"
    takes_any_grid: ClassVar[bool] = False
    zero_out: ClassVar[int] = 0
    kind: ClassVar[int]
    reads: ClassVar[tuple[int, ...]] = ()
    geometry: Geometry
    active: ActiveChannels | None = None
    operands = 1

    def __init__(self, arrays: Mapping[str, Array], library: Library) -> None:
        self.library = library
        self.level_in, self.level_out = np.float32(arrays["level_in"]), np.float32(arrays["level_out"])
        self._prepare(arrays)
        g = self.geometry
        self.shape = (*g.output, g.c_out)
        size = library.function("gated_u8_scratch")(byref(g.c), self.kind, self.operands)
        self.scratch = aligned_zeros(size, np.uint8)

    @classmethod
    @abstractmethod
    def pack(cls, layer: Mapping[str, Array], level_in: float, level_out: float) -> dict[str, Array]:
        """Return the arrays of a layer between bytes, from those of the float32 layer (:meth:`.NativeLayer.arrays`).

        Raises:
            ValueError: no kernel runs this layer between bytes.
        """

    @abstractmethod
    def _prepare(self, arrays: Mapping[str, Array]) -> None:
        """Set up the layer from the arrays that :meth:`pack` returned."""

    @abstractmethod
    def _describe(self) -> CGated:
        """Return the C struct of the layer without its active inputs."""

    @property
    @abstractmethod
    def constants(self) -> Sequence[Array]:
        """The arrays that C reads."""

    @abstractmethod
    def reference(self, x: Array, active: ActiveChannels | None = None) -> Array:
        """Return the output for x uint8 [h, w, c_in], computed in torch and numpy; losing channels are zero."""

    def describe(self, active: ActiveChannels | None = None, whole: bool = True) -> CGated:
        """Return the C struct of the layer.

        Args:
            active: channels of the input that hold values, in groups whose size is one of :attr:`reads`; None: all.
            whole: whether the channels that lose must become 0.
        """
        layer = self._describe()
        layer.whole = int(whole)
        if active is not None:
            layer.n_in, layer.in_size = len(active.groups), active.size
            setattr(layer, "in", address(active.groups))
        return layer

    def __call__(self, x: Array, active: ActiveChannels | None = None) -> Array:
        """Return the output for x, uint8 [h, w, c_in]."""
        y, layer = np.zeros(self.shape, np.uint8), self.describe(active)
        image = np.ascontiguousarray(x, np.uint8)
        function = self.library.function("gated_u8")
        function(byref(self.geometry.c), ctypes.addressof(layer), address(image), address(y), address(self.scratch))
        return y


class FBSBytes(ByteLayer):
    """FBS of blocks of 16 channels, from bytes to bytes."""

    kind = FBS
    reads = (BLOCK,)
    active: ActiveChannels

    @classmethod
    def pack(cls, layer: Mapping[str, Array], level_in: float, level_out: float) -> dict[str, Array]:
        """Return the arrays of the layer; see :meth:`ByteLayer.pack`."""
        return {**_round_weights(layer), **_levels(layer, level_in, level_out)}

    def _prepare(self, arrays: Mapping[str, Array]) -> None:
        self.geometry = Geometry.from_shape(arrays["geometry"])
        boost = Boost.load(arrays)
        self.conv = FBSConvU8(
            self.geometry,
            arrays["weight"],
            boost,
            level_in=float(self.level_in),
            level_weight=1.0,
            level_out=float(self.level_out),
            library=self.library,
        )
        self.active = ActiveChannels(np.arange(boost.winners, dtype=np.int32), BLOCK)

    def _describe(self) -> CGated:
        conv = self.conv.conv
        return CGated(
            kind=self.kind,
            level_in=self.level_in,
            level_out=self.level_out,
            fbs=ctypes.addressof(self.conv._decision.c),
            packed=address(conv._packed),
            sums=address(conv._sums),
            no_bias=address(conv.bias),
            out=address(self.active.groups),
        )

    @property
    def constants(self) -> Sequence[Array]:
        """The arrays that C reads."""
        conv = self.conv.conv
        return [*self.conv._decision.constants, conv._packed, conv._sums, conv.bias]

    def reference(self, x: Array, active: ActiveChannels | None = None) -> Array:
        """Return the output, computed in torch and numpy."""
        return self.conv.reference(x, None if active is None else active.groups)[0]


class FBSPGBytes(ByteLayer):
    """FBS around a precision gate, from bytes to bytes; winners are single channels or blocks of 16."""

    kind = FBS_PG
    reads = (1, BLOCK)
    active: ActiveChannels

    @classmethod
    def pack(cls, layer: Mapping[str, Array], level_in: float, level_out: float) -> dict[str, Array]:
        """Return the arrays of the layer; see :meth:`ByteLayer.pack`."""
        _check_levels(layer)
        return {**layer, **_levels(layer, level_in, level_out)}

    def _prepare(self, arrays: Mapping[str, Array]) -> None:
        layer = FBSPGLayer.load(arrays, self.library)
        self.conv, self.geometry, self.active = layer.conv, layer.conv.geometry, layer.active
        self.operands = self.conv.precision.operands.number

    def _describe(self) -> CGated:
        return CGated(
            kind=self.kind,
            in_size=BLOCK,
            level_in=self.level_in,
            steps_out=1 / self.level_out,
            fbs=ctypes.addressof(self.conv._decision.c),
            split=ctypes.addressof(self.conv._split),
            out=address(self.active.groups),
        )

    @property
    def constants(self) -> Sequence[Array]:
        """The arrays that C reads."""
        return [*self.conv._decision.constants, self.conv._taps, self.conv._sums, self.conv.threshold]

    def reference(self, x: Array, active: ActiveChannels | None = None) -> Array:
        """Return the output, computed in torch and numpy."""
        real = self.conv.reference(x.astype(np.float32) * self.level_in, active)[0]
        return _to_bytes(real * np.float32(1 / self.level_out))


class FBSSingleBytes(FBSPGBytes):
    """FBS of single channels, from bytes to bytes: a precision gate whose only phase multiplies all bits."""

    @classmethod
    def pack(cls, layer: Mapping[str, Array], level_in: float, level_out: float) -> dict[str, Array]:
        """Return the arrays of the layer; see :meth:`ByteLayer.pack`."""
        rounded = _round_weights(layer)
        channels = len(rounded["weight"])
        precision = Precision(
            bits=BITS,
            low_bits=0,
            group=1,
            threshold=np.zeros(channels, np.float32),
            step=level_in,
            level=level_in,
            operands=OperandSplit(),
        )
        return {
            **rounded,
            **precision.arrays(),
            "weight": rounded["weight"].astype(np.int16),
            **_levels(layer, level_in, level_out),
        }


class PGBytes(ByteLayer):
    """PG from bytes to bytes."""

    kind = PG

    @classmethod
    def pack(cls, layer: Mapping[str, Array], level_in: float, level_out: float) -> dict[str, Array]:
        """Return the arrays of the layer; see :meth:`ByteLayer.pack`."""
        _check_levels(layer)
        if len(layer["shape"]) != 3:
            raise ValueError("a linear layer")
        return {**layer, **_levels(layer, level_in, level_out)}

    def _prepare(self, arrays: Mapping[str, Array]) -> None:
        self.layer = PGLayer.load(arrays, self.library)
        self.conv = self.layer.conv
        self.geometry = self.conv.geometry
        steps_out = np.float32(1 / self.level_out)
        scale, shift = self.layer.scale * steps_out, self.layer.shift * steps_out
        self._scale, self._shift = (
            pad_to_blocks(values, "normalisation", np.float32, self.geometry.c_out, 0) for values in (scale, shift)
        )
        self._ratio = np.float32(self.level_in / np.float32(self.conv.step))
        self._top = np.float32(2**self.conv.bits - 1)

    def _describe(self) -> CGated:
        return CGated(
            kind=self.kind,
            wide=int(self.conv.operands.wide),
            ratio=self._ratio,
            top=self._top,
            pg=ctypes.addressof(self.conv._pg),
            scale=address(self._scale),
            shift=address(self._shift),
        )

    @property
    def constants(self) -> Sequence[Array]:
        """The arrays that C reads."""
        conv = self.conv
        return [conv._packed, conv._sums, conv._rows, conv._limit, conv._single, conv.bias, self._scale, self._shift]

    def reference(self, x: Array, active: ActiveChannels | None = None) -> Array:
        """Return the output, computed in torch and numpy, with the roundings of the C code."""
        conv, channels = self.conv, self.geometry.c_out
        whole = np.rint(np.minimum(x.astype(np.float32) * self._ratio, self._top))
        levels = conv.operands.levels(whole, 1.0, conv.bits, conv.low_bits)
        phases = conv.reference(levels)
        high, total = (sums.numpy() for sums in (phases.high, phases.output))
        level = np.float32(conv.level)
        real = (high >> conv.low_bits).astype(np.float32) * (level * np.float32(2**conv.low_bits))
        real = real + conv.bias[:channels]
        real = np.where(phases.mask.numpy(), real + (total - high).astype(np.float32) * level, real)
        return _to_bytes(real * self._scale[:channels] + self._shift[:channels])


BYTE_LAYERS: Mapping[str, type[ByteLayer]] = {
    "fbs": FBSBytes,
    "fbs_single": FBSSingleBytes,
    "pg": PGBytes,
    "fbs_pg": FBSPGBytes,
}
"""By name of a kernel: the class of its layers between bytes."""


def name_in_bytes(kernel: str) -> str:
    """Return the name under which times of a kernel between bytes are stored."""
    return f"{kernel}{IN_BYTES}"


def runs_in_bytes(call: KernelCall) -> bool:
    """Return whether a layer between bytes can do the work of a call, if ReLUs stand before and behind the layer."""
    variant = dict(call.variant)
    # Levels of up to 8 bits take two bytes only if they are doubled for one of several operands.
    return call.kernel in BYTE_LAYERS and (variant.get("bytes", 1) == 1 or int(variant.get("pieces", 1)) > 1)


class ByteSample(NamedTuple):
    """A random layer between bytes, and an input for it, for timing."""

    layer: ByteLayer
    x: Array
    active: ActiveChannels | None


def sample_in_bytes(call: KernelCall, library: Library, seed: int = 0) -> ByteSample:
    """Return a random layer of a call's shape between bytes, and an input for which it computes the call's shares."""
    layer, x, active = layer_kernel(call.kernel).sample(call, library, np.random.default_rng(seed))
    x = np.abs(x)
    level_in = float(x.max()) / LARGEST_BYTE
    level_out = max(float(layer.reference(x, active).max()) / LARGEST_BYTE, level_in / LARGEST_BYTE)
    kind = BYTE_LAYERS[call.kernel]
    packed = kind(kind.pack(layer.arrays(), level_in, level_out), library)
    return ByteSample(packed, np.rint(x / np.float32(level_in)).astype(np.uint8), active)


def _levels(layer: Mapping[str, Array], level_in: float, level_out: float) -> dict[str, Array]:
    if not bool(layer["relu"]):
        raise ValueError("no ReLU behind the layer")
    return {"level_in": np.asarray(np.float32(level_in)), "level_out": np.asarray(np.float32(level_out))}


def _check_levels(layer: Mapping[str, Array]) -> None:
    if bool(layer["sign"]):
        raise ValueError("an input that may be negative")
    if int(layer["bits"]) > BITS:
        raise ValueError(f"levels of {int(layer['bits'])} bits")


def _round_weights(layer: Mapping[str, Array]) -> dict[str, Array]:
    """Return the arrays of an FBS layer with int8 weights; ``slope`` absorbs the scales of the channels."""
    weight: Array = layer["weight"]
    largest = np.abs(weight).reshape(len(weight), -1).max(1)
    steps = np.where(largest > 0, largest / np.float32(LARGEST_WEIGHT), np.float32(1)).astype(np.float32)
    whole = np.rint(weight / steps[:, None, None, None]).astype(np.int8)
    return {**layer, "weight": whole, "slope": (layer["slope"] * steps).astype(np.float32)}


def _to_bytes(steps: Array) -> Array:
    return np.rint(np.clip(steps, 0, LARGEST_BYTE)).astype(np.uint8)
