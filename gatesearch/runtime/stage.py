"""Runs the first stage of a bundle, a small int8 .tflite program, with C kernels.

The first stage reads every window of a stream, so that its time counts most.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from ctypes import addressof, byref, c_char_p, c_int32, c_void_p
from functools import partial
from typing import Any, ClassVar, NamedTuple

import numpy as np

from gatesearch._lib.plugins import need
from gatesearch.compile import flatbuffer
from gatesearch.kernels.arrays import LINE, Array, address, aligned_zeros, pad_to_blocks
from gatesearch.kernels.base import Kernel
from gatesearch.kernels.conv import pack_u8
from gatesearch.kernels.geometry import Geometry
from gatesearch.kernels.library import ADDRESS, INT, SOURCES, Library, Shape, Signatures

CONV, DEPTHWISE, LARGEST, TABLE = range(4)  # the kinds of operators in kernels.h
PAGE = 4096  # bytes
SIGNED = 128  # kernels store an int8 value as an unsigned byte: the value plus 128
RELU, RELU6 = 1, 3  # ActivationFunctionType of the .tflite schema


class COperator(ctypes.Structure):
    """The C struct ``gs_op`` of kernels.h: one operator of a stage."""

    _fields_ = (
        *((name, c_int32) for name in ("kind", "zero", "zero_out", "outputs", "count")),
        ("shape", Shape),
        *((name, c_void_p) for name in ("x", "y", "weights", "sums", "bias", "index", "scale", "shift", "scratch")),
        ("table", c_void_p),
    )


class CStream(ctypes.Structure):
    """The C struct ``gs_stream`` of kernels.h: the operators of a stage and the windows that they run on."""

    _fields_ = (
        ("ops", c_void_p),
        *((name, c_int32) for name in ("n_ops", "size", "n", "threshold")),
        *((name, c_void_p) for name in ("windows", "input", "logit", "passed")),
    )


class StageKernel(Kernel):
    """The C functions that run a whole stage on one window (``hear``) or on several (``stream``)."""

    name = "stage"
    source = SOURCES / "stage.c"
    rank = 21
    signatures: ClassVar[Signatures] = {"hear": (INT, (ADDRESS, c_char_p)), "stream": (INT, (ADDRESS,))}


class Unsupported(ValueError):
    """A program with an operator that no kernel computes; the message is one line."""


class Tensor(NamedTuple):
    """The places of a tensor's values in the memory that all tensors share.

    Reshapes, transpositions and concatenations only change places; they move no values.

    Args:
        places: indices into the shared memory, int32 in the tensor's shape.
        scale: real value of one quantisation step.
        zero: the byte that represents the value 0.
    """

    places: Array
    scale: np.float32
    zero: int


class _Memory:
    """One block of memory for all arrays of a stage.

    The distances between arrays determine which of them compete for cache lines. In a test with sixty equal stages, one
    took a quarter longer than the others when the system placed its arrays. In one block, all took the same time.
    """

    def __init__(self, size: int = 2**16) -> None:
        raw = np.zeros(size + PAGE, np.uint8)
        first = -raw.ctypes.data % PAGE
        self._free = raw[first : first + size]

    def take(self, shape: int | Sequence[int], dtype: Any) -> Array:
        """Return an array of zeros that starts on a cache line; it lies outside the block if the block is full."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if size > len(self._free):
            return aligned_zeros(shape, dtype)
        block, self._free = self._free[:size], self._free[-(-size // LINE) * LINE :]
        return block.view(dtype).reshape(shape)

    def copy(self, array: Array) -> Array:
        """Return a copy of an array."""
        copy = self.take(array.shape, array.dtype)
        copy[...] = array
        return copy


class Stage:
    """A stage of convolutions, poolings and moves of data with a gate, which runs on windows of a stream.

    Its output equals LiteRT's bit for bit if LiteRT rounds as XNNPACK does on x86.

    Args:
        model: content of an int8 .tflite file with one input.
        logit: name of the tensor of one value that is compared with the threshold.
        passed: name of the tensor that goes on to the next stage.
        library: the C kernels that run the stage.

    Attributes:
        size: number of values in a window.
        whole: whether the tensor that goes on is the window itself.

    Raises:
        Unsupported: no kernel computes one of the operators.
    """

    def __init__(self, model: bytes, logit: str, passed: str, library: Library) -> None:
        need("a stage by kernels", "ai_edge_litert")
        from ai_edge_litert import schema_py_generated as schema

        self._read = read = flatbuffer.read(model)
        self._graph, self._buffers, self._schema = read.subgraphs[0], read.buffers, schema
        self._library, self._ops = library, list[COperator]()
        self._owners: list[Any] = []  # objects whose memory C reads; they live as long as the stage
        self._tensors: dict[int, Tensor] = {}
        self._memory = _Memory()
        activations = [t for t in self._graph.tensors if self._buffers[t.buffer].data is None]
        # Each tensor has room for its values twice, on cache lines of its own, because an operator may store a copy in
        # another order.
        self._buffer = self._memory.take(sum(2 * (int(np.prod(t.shape)) + LINE) for t in activations), np.uint8)
        self._used = 0
        source = int(self._graph.inputs[0])
        self._tensors[source] = self._new(source)
        self.size = self._tensors[source].places.size
        for operator in self._graph.operators:
            self._add(operator)
        if self._used > self._buffer.size:
            raise Unsupported("values that are moved about more often than there is room for")
        names = {tensor.name.decode(): i for i, tensor in enumerate(self._graph.tensors)}
        end = self._contiguous(self._tensor(names[logit]))
        if end.size != 1:
            raise Unsupported(f"logit of {end.size} values")
        self._logit = int(end.flat[0])
        self._passed = self._tensor(names[passed]).places
        self.whole = np.array_equal(self._passed.ravel(), np.arange(self.size))
        self._program = (COperator * len(self._ops))(*self._ops)

    def hear(self, threshold: int) -> Callable[[bytes], int]:
        """Return a function that runs a window and returns whether its logit is above the threshold.

        The function takes the window's bytes, int8 in the order of the input. It does not check that the window has
        :attr:`size` bytes. C reads a bytes object directly. The address of an array would have to be looked up, which
        takes half as long as a gate.

        Args:
            threshold: the threshold, as an int8 value of the program's logit.
        """
        stream = self._stream(0, threshold, None, None)
        self._owners.append(stream)
        return partial(self._library.function("hear"), addressof(stream))

    def bind(self, windows: Array, threshold: int, passed: Array) -> Callable[[], int]:
        """Return a function that runs windows one by one and returns the number of those above the threshold.

        Args:
            windows: the windows, int8 [n, ...], contiguous; the function reads them at each call.
            threshold: the threshold, as an int8 value of the program's logit.
            passed: int32 [n]; the function writes the indices of the windows above the threshold here.
        """
        function, n = self._library.function("stream"), len(windows)
        if windows.dtype != np.int8 or windows.size != n * self.size or not windows.flags.c_contiguous:
            raise ValueError(f"windows must be int8 of {self.size} values each, found {windows.dtype} {windows.shape}")
        if passed.dtype != np.int32 or passed.shape != (n,):
            raise ValueError(f"passed must be int32 [{n}], found {passed.dtype} {list(passed.shape)}")
        stream = self._stream(n, threshold, windows, passed)
        stream_address = addressof(stream)

        def call(_owners: tuple[Any, ...] = (stream, windows, passed, self)) -> int:
            return function(stream_address)

        return call

    def _stream(self, n: int, threshold: int, windows: Array | None, passed: Array | None) -> CStream:
        memory = self._buffer.ctypes.data
        return CStream(
            ops=addressof(self._program),
            n_ops=len(self._ops),
            size=self.size,
            n=n,
            threshold=threshold,
            windows=address(windows),
            input=memory,
            logit=memory + self._logit,
            passed=address(passed),
        )

    def logit(self) -> int:
        """Return the logit of the last window."""
        return int(self._buffer[self._logit]) - SIGNED

    def passed(self) -> Array:
        """Return the tensor that goes on from the last window, int8 in the tensor's shape."""
        return (self._buffer[self._passed] ^ SIGNED).view(np.int8)

    def _add(self, operator: Any) -> None:
        name = flatbuffer.operator_name(self._read, operator)
        add = _OPERATORS.get(name)
        if add is None:
            raise Unsupported(f"no kernel for {name}")
        options, inputs = operator.builtinOptions, [int(i) for i in operator.inputs]
        add(self, options, inputs, int(operator.outputs[0]))

    def _new(self, tensor: int) -> Tensor:
        """Return new places for a tensor's values."""
        tensor_info = self._graph.tensors[tensor]
        if tensor_info.type != self._schema.TensorType.INT8:
            raise Unsupported(f"{tensor_info.name.decode()} is not int8")
        shape = tuple(map(int, tensor_info.shape))
        count = int(np.prod(shape))
        places = np.arange(self._used, self._used + count, dtype=np.int32).reshape(shape)
        self._used += -(-count // LINE) * LINE
        scale, zero = self._grid(tensor)
        return Tensor(places, scale[0], zero)

    def _grid(self, tensor: int) -> tuple[Array, int]:
        """Return the scales of a tensor, a single one or one per channel, and the byte that represents 0."""
        quantisation = self._graph.tensors[tensor].quantization
        return quantisation.scale.astype(np.float32), int(quantisation.zeroPoint[0]) + SIGNED

    def _tensor(self, tensor: int) -> Tensor:
        return self._tensors[tensor]

    def _constant(self, tensor: int, dtype: type) -> Array:
        tensor_info = self._graph.tensors[tensor]
        data = self._buffers[tensor_info.buffer].data
        if data is None:
            raise Unsupported(f"{tensor_info.name.decode()} is no constant")
        return np.frombuffer(bytes(data), dtype).reshape([int(n) for n in tensor_info.shape])

    def _contiguous(self, tensor: Tensor) -> Array:
        """Return contiguous places of a tensor's values; if needed, add an operator that copies them in order."""
        flat = tensor.places.ravel()
        if np.array_equal(flat, np.arange(flat[0], flat[0] + len(flat))):
            return tensor.places
        return self._gather(flat[:, None]).reshape(tensor.places.shape)

    def _gather(self, index: Array, table: Array | None = None) -> Array:
        """Add an operator that reads rows of places; return the places of its outputs, [n].

        Without a table, an output is the largest value of its row. With a table, a row has one value, and the output is
        the table's entry for it.

        Args:
            index: places of the values to read, [n, count]; [n, 1] with a table.
            table: output for each possible byte, uint8 [256]; None for the largest value.
        """
        index, first = self._memory.copy(index.astype(np.int32)), self._used
        self._used += -(-len(index) // LINE) * LINE
        memory = self._buffer.ctypes.data
        table = None if table is None else self._memory.copy(table)
        operator = COperator(
            kind=LARGEST if table is None else TABLE,
            outputs=len(index),
            count=index.shape[1],
            x=memory,
            y=memory + first,
            index=address(index),
            table=address(table),
        )
        self._ops.append(operator)
        self._owners += [index, table]
        return np.arange(first, first + len(index), dtype=np.int32)

    def _geometry(self, options: Any, image: Sequence[int], weights: Sequence[int]) -> Geometry:
        """Return the geometry of a convolution of an image [1, h, w, c_in] with weights [c_out, kh, kw, c_in]."""
        _, h, w, c_in = (int(n) for n in image)
        c_out, kh, kw, _ = (int(n) for n in weights)
        strides, dilations = (options.strideH, options.strideW), (options.dilationHFactor, options.dilationWFactor)
        pads = [0, 0]
        if options.padding == self._schema.Padding.SAME:
            for axis, (n, k, s, d) in enumerate(zip((h, w), (kh, kw), strides, dilations, strict=True)):
                # The output has ceil(n / s) values. Padding supplies the values that its windows read beyond n.
                total = max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
                if total % 2:
                    raise Unsupported("a convolution that pads more on one side")
                pads[axis] = total // 2
        return Geometry((h, w), c_in, c_out, (kh, kw), strides, (pads[0], pads[1]), dilations)

    def _convolve(
        self, kind: int, geometry: Geometry, options: Any, inputs: Sequence[int], output: int, weight: Array
    ) -> None:
        """Add a convolution; weight is int8 [c_out, c_in, kh, kw], or [kh, kw, c] if it is depthwise.

        The output y is round(scale (conv(x - zero) + bias)) + zero_out, clipped to 0 .. 255. Here, scale is the scale
        of x times the scale of the weights, divided by the scale of y. zero and zero_out are the bytes that represent 0
        in x and in y. The clipping acts as a ReLU if the byte 0 represents 0. It acts as a ReLU6 if, in addition, the
        byte 255 represents at most 6.
        """
        source, target = self._tensor(inputs[0]), self._new(output)
        function, top = options.fusedActivationFunction, 255 - target.zero
        clipped = function == RELU and target.zero == 0
        clipped |= function == RELU6 and target.zero == 0 and round(6 / float(target.scale)) >= top
        if function and not clipped:
            raise Unsupported(f"an activation function {function} that is not in the clipping")
        scales, _ = self._grid(inputs[1])
        scales = np.broadcast_to(source.scale * scales / target.scale, (geometry.c_out,)).astype(np.float32)
        bias = self._constant(inputs[2], np.int32).copy() if len(inputs) > 2 and inputs[2] >= 0 else None
        starts = pad_to_blocks(bias, "bias", np.int32, geometry.c_out, 0)
        factors = pad_to_blocks(scales.copy(), "scale", np.float32, geometry.c_out, 1)
        shifts = pad_to_blocks(None, "shift", np.float32, geometry.c_out, 0)
        weight, sums, scratch = np.ascontiguousarray(weight), None, None
        if kind == CONV:
            weight, packed_sums = pack_u8(self._library, geometry, weight)
            sums = self._memory.copy(packed_sums)
            scratch = self._memory.take(self._library.function("conv_u8_scratch")(byref(geometry.c)), np.uint8)
        weight = self._memory.copy(weight)
        starts, factors, shifts = (self._memory.copy(array) for array in (starts, factors, shifts))
        memory = self._buffer.ctypes.data
        x, y = (memory + int(places.flat[0]) for places in (self._contiguous(source), target.places))
        operator = COperator(
            kind=kind,
            zero=source.zero,
            zero_out=target.zero,
            shape=geometry.c,
            x=x,
            y=y,
            weights=address(weight),
            sums=address(sums),
            bias=address(starts),
            scale=address(factors),
            shift=address(shifts),
            scratch=address(scratch),
        )
        self._ops.append(operator)
        self._owners += [weight, sums, scratch, starts, factors, shifts]
        self._tensors[output] = target

    def _conv(self, options: Any, inputs: Sequence[int], output: int) -> None:
        weight = self._constant(inputs[1], np.int8)
        geometry = self._geometry(options, self._tensor(inputs[0]).places.shape, weight.shape)
        self._convolve(CONV, geometry, options, inputs, output, weight.transpose(0, 3, 1, 2))

    def _depthwise(self, options: Any, inputs: Sequence[int], output: int) -> None:
        weight, image = self._constant(inputs[1], np.int8), self._tensor(inputs[0]).places.shape
        _, kh, kw, channels = weight.shape
        geometry = self._geometry(options, image, (channels, kh, kw, image[3]))
        if image[3] == 1:  # with one input channel, this is an ordinary convolution
            self._convolve(CONV, geometry, options, inputs, output, weight.transpose(3, 0, 1, 2))
        elif options.depthMultiplier == 1:
            self._convolve(DEPTHWISE, geometry, options, inputs, output, weight[0])
        else:
            raise Unsupported("a depthwise convolution with several filters a channel")

    def _maximum(self, options: Any, inputs: Sequence[int], output: int) -> None:
        source, kernel = self._tensor(inputs[0]), (options.filterHeight, options.filterWidth)
        shape = tuple(map(int, self._graph.tensors[output].shape))
        strides = (options.strideH, options.strideW)
        extents = [(n - 1) * s + k for n, s, k in zip(shape[1:3], strides, kernel, strict=True)]
        crosses_border = any(size > limit for size, limit in zip(extents, source.places.shape[1:3], strict=True))
        if options.fusedActivationFunction or crosses_border:
            raise Unsupported("a maximum over the border, or with an activation function")
        views = np.lib.stride_tricks.sliding_window_view(source.places, kernel, (1, 2))
        views = views[:, :: strides[0], :: strides[1]]
        views = views[:, : shape[1], : shape[2]]
        places = self._gather(views.reshape(-1, kernel[0] * kernel[1])).reshape(shape)
        self._tensors[output] = source._replace(places=places)

    def _transpose(self, options: Any, inputs: Sequence[int], output: int) -> None:
        source = self._tensor(inputs[0])
        order = self._constant(inputs[1], np.int32)
        self._tensors[output] = source._replace(places=source.places.transpose(order))

    def _reshape(self, options: Any, inputs: Sequence[int], output: int) -> None:
        source = self._tensor(inputs[0])
        self._tensors[output] = source._replace(places=source.places.reshape(self._graph.tensors[output].shape))

    def _requantise(self, options: Any, inputs: Sequence[int], output: int) -> None:
        """Add a table that converts values to another scale, as XNNPACK does.

        XNNPACK rounds the ratio of the two scales to 8 fractional bits. The product of a value and the ratio is then an
        integer number of 256ths. XNNPACK rounds this number half up.
        """
        source, tensor_info = self._tensor(inputs[0]), self._graph.tensors[output]
        scale, zero = self._grid(output)
        ratio = source.scale / scale[0]
        if tensor_info.type != self._schema.TensorType.INT8 or not 2**-8 <= ratio <= 2**7:
            raise Unsupported(f"{tensor_info.name.decode()} on a scale too far from what it is made of")
        steps = (np.arange(256) - source.zero) * int(np.rint(np.float32(256) * ratio))
        table = np.clip(((steps + 128) >> 8) + zero, 0, 255).astype(np.uint8)
        places = self._gather(source.places.reshape(-1, 1), table).reshape(source.places.shape)
        self._tensors[output] = Tensor(places, scale[0], zero)

    def _concatenate(self, options: Any, inputs: Sequence[int], output: int) -> None:
        sources = [self._tensor(i) for i in inputs]
        scale, zero = self._grid(output)
        if options.fusedActivationFunction or any((s.scale, s.zero) != (scale[0], zero) for s in sources):
            raise Unsupported("a concatenation of values on different scales")
        self._tensors[output] = sources[0]._replace(places=np.concatenate([s.places for s in sources], options.axis))


_OPERATORS: dict[str, Callable[[Stage, Any, Sequence[int], int], None]] = {
    "CONV_2D": Stage._conv,
    "DEPTHWISE_CONV_2D": Stage._depthwise,
    "MAX_POOL_2D": Stage._maximum,
    "TRANSPOSE": Stage._transpose,
    "RESHAPE": Stage._reshape,
    "CONCATENATION": Stage._concatenate,
    "QUANTIZE": Stage._requantise,
}
