"""A gated layer as a part of a stage: a kernel with what stands around it, packed into arrays and bound to buffers.

A part maps one float32 array to another: a map [h, w, c] or a sequence [T, F]. It is made of a trained module, taken
apart into arrays for a bundle, and put together again from them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from ctypes import byref
from typing import Any, ClassVar, Protocol, Self, cast

import numpy as np
import torch
from torch import Tensor, nn

from gatesearch.gates.factored import FactoredRNN
from gatesearch.gates.fbs import FBSConv2d
from gatesearch.gates.matrices import HybridMatrix
from gatesearch.gates.pg import PGConv2d
from gatesearch.hardware.kernels import native
from gatesearch.hardware.kernels.arrays import Array, address, aligned
from gatesearch.hardware.kernels.conv import _call
from gatesearch.hardware.kernels.fbs import Boost, FBSConv
from gatesearch.hardware.kernels.geometry import Geometry
from gatesearch.hardware.kernels.pg import PGConv
from gatesearch.hardware.kernels.recurrent import HMD, GRUStep, LSTMStep

Calls = list[Callable[[], object]]


class Part(Protocol):
    """One gated layer."""

    absorbs_norm: ClassVar[bool]  # whether a batch normalisation and a ReLU behind it can be part of it
    shape: Any  # of its output, a tuple of sizes
    live: Any  # blocks of 16 channels that it computed last, int32; None where it computes all

    @classmethod
    def of(cls, layer: nn.Module, example: Tensor, norm: nn.BatchNorm2d | None, relu: bool) -> Self:
        """Take over a trained layer that reads ``example`` [1, ...], and what stands behind it.

        Raises:
            ValueError: there is no kernel for it.
        """

    def arrays(self) -> dict[str, Array]:
        """Return all that it is made of."""

    @classmethod
    def load(cls, arrays: Mapping[str, Array], library: native.Library) -> Self:
        """Put it together again."""

    def bind(self, x: Array, y: Array, live: Array | None = None, whole: bool = True) -> Calls:
        """Return the native calls, in order, for arrays that stay where they are.

        Args:
            x: what it reads.
            y: what it writes.
            live: blocks of x that are there; None for all.
            whole: whether blocks of y that were not computed have to be cleared.
        """


class FBSPart:
    """Feature boosting and suppression: the batch normalisation is in its own arrays."""

    absorbs_norm: ClassVar[bool] = False

    def __init__(self, conv: FBSConv) -> None:
        self.conv = conv
        self.shape = (*conv.geometry.output, conv.geometry.c_out)
        self.live: Any = np.arange(conv.boost.winners, dtype=np.int32)

    @classmethod
    def of(cls, layer: nn.Module, example: Tensor, norm: nn.BatchNorm2d | None, relu: bool) -> Self:
        """See :class:`Part`."""
        return cls(FBSConv.of(cast(FBSConv2d, layer), _image(example), relu))

    def arrays(self) -> dict[str, Array]:
        """See :class:`Part`."""
        named = dict(zip(Boost._fields, (np.asarray(value) for value in self.conv.boost), strict=True))
        return {
            **_shape(self.conv.geometry),
            "weight": self.conv.conv.weight,
            "relu": np.array(self.conv.relu),
            **named,
        }

    @classmethod
    def load(cls, arrays: Mapping[str, Array], library: native.Library) -> Self:
        """See :class:`Part`."""
        boost = Boost(
            **{name: arrays[name] for name in Boost._fields if name != "winners"}, winners=int(arrays["winners"])
        )
        return cls(FBSConv(_geometry(arrays), arrays["weight"], boost, bool(arrays["relu"]), library))

    def bind(self, x: Array, y: Array, live: Array | None = None, whole: bool = True) -> Calls:
        """See :class:`Part`."""
        assert self.live is not None and self.conv.library is not None
        calls: Calls = [self.conv.bind(x, y, self.live, live)]
        if whole and self.conv.boost.winners < -(-self.shape[-1] // 16):
            pixels, channels = self.shape[0] * self.shape[1], self.shape[2]
            arguments = (address(y), pixels, channels, address(self.live), len(self.live))
            calls.append(_call(self.conv.library.function("clear_f32"), arguments, y, self))
        return calls


class PGPart:
    """Precision gating of inputs that are not negative: to levels, in two phases, and the batch normalisation behind.

    Args:
        conv: the kernel.
        step: worth of a level of the input.
        scale: of the normalisation, float32 [c_out].
        shift: the same.
        relu: whether what is negative becomes 0.
    """

    absorbs_norm: ClassVar[bool] = True
    live: Any = None

    def __init__(self, conv: PGConv, step: float, scale: Array, shift: Array, relu: bool, threshold: Array) -> None:
        self.conv, self.step, self.scale, self.shift, self.relu = conv, step, scale, shift, relu
        self.threshold = threshold
        self.shape = (*conv.geometry.output, conv.geometry.c_out)

    @classmethod
    def of(cls, layer: nn.Module, example: Tensor, norm: nn.BatchNorm2d | None, relu: bool) -> Self:
        """See :class:`Part`."""
        gate = cast(PGConv2d, layer)
        conv = PGConv.of(gate, _image(example))
        step = float(np.float32(max(conv.scale, 1e-7)) / np.float32(2**conv.bits - 1))  # as the module computes it
        channels = conv.geometry.c_out
        scale, shift = torch.ones(channels), torch.zeros(channels)
        if norm is not None:
            assert norm.running_mean is not None and norm.running_var is not None
            scale = (norm.running_var + norm.eps).rsqrt() * (1.0 if norm.weight is None else norm.weight.detach())
            shift = (0.0 if norm.bias is None else norm.bias.detach()) - norm.running_mean * scale
        arrays = [part.detach().float().contiguous().numpy() for part in (scale, shift, gate.threshold)]
        return cls(conv, step, arrays[0], arrays[1], relu, arrays[2])

    def arrays(self) -> dict[str, Array]:
        """See :class:`Part`."""
        c = self.conv
        numbers = {"bits": c.bits, "low_bits": c.low_bits, "group": c.group, "relu": self.relu}
        reals = {"level": np.float64(c.level), "step": np.float64(self.step)}
        own = {"weight": c.weight, "threshold": self.threshold, "bias": c.bias[: c.geometry.c_out]}
        scaled = {"scale": self.scale, "shift": self.shift}
        return {**_shape(c.geometry), **own, **scaled, **{k: np.asarray(v) for k, v in (numbers | reals).items()}}

    @classmethod
    def load(cls, arrays: Mapping[str, Array], library: native.Library) -> Self:
        """See :class:`Part`."""
        conv = PGConv(
            _geometry(arrays),
            arrays["weight"],
            int(arrays["bits"]),
            int(arrays["low_bits"]),
            int(arrays["group"]),
            arrays["threshold"],
            float(arrays["level"]),
            np.ascontiguousarray(arrays["bias"]),
            library=library,
        )
        rest = (arrays["scale"], arrays["shift"], bool(arrays["relu"]), arrays["threshold"])
        return cls(conv, float(arrays["step"]), *rest)

    def bind(self, x: Array, y: Array, live: Array | None = None, whole: bool = True) -> Calls:
        """See :class:`Part`."""
        conv, library = self.conv, self.conv.library
        assert library is not None
        g = conv.geometry
        image = aligned((*g.image, g.c_in), conv.dtype)
        levels, affine = library.function("levels_f32"), library.function("affine_f32")
        top, size = float(2**conv.bits - 1), image.dtype.itemsize
        before = (address(x), x.size, self.step, top, size, address(image))
        pixels = g.output[0] * g.output[1]
        behind = (address(y), pixels, g.c_out, address(self.scale), address(self.shift), int(self.relu))
        # Closures hold what the addresses point to.
        return [_call(levels, before, x, image), conv.bind(image, y), _call(affine, behind, y, self)]


class RecurrentPart:
    """An LSTM or GRU over hybrid matrices, of any depth, in one direction or both."""

    absorbs_norm: ClassVar[bool] = False
    live: Any = None

    def __init__(self, cells: Sequence[LSTMStep | GRUStep], directions: int, steps: int) -> None:
        self.cells, self.directions, self.steps = list(cells), directions, steps
        self.shape = (steps, directions * cells[0].size)

    @classmethod
    def of(cls, layer: nn.Module, example: Tensor, norm: nn.BatchNorm2d | None, relu: bool) -> Self:
        """See :class:`Part`."""
        rnn = cast(FactoredRNN, layer)
        kind = LSTMStep if rnn.is_lstm else GRUStep
        cells = []
        for number in range(len(rnn.cells)):
            of_input, of_state, biases = rnn.cell_of(number)
            if not isinstance(of_input, HybridMatrix) or not isinstance(of_state, HybridMatrix):
                raise ValueError(f"no kernel for matrices of form {of_input.form}")
            zero = torch.zeros(rnn.groups * rnn.hidden)
            given = [bias.detach().float().contiguous().numpy() for bias in biases] or [zero.numpy(), zero.numpy()]
            cells.append(kind(HMD.of(of_input), HMD.of(of_state), given[0], given[1]))
        return cls(cells, rnn.directions, example.shape[1])

    def arrays(self) -> dict[str, Array]:
        """See :class:`Part`."""
        made = {"directions": np.array(self.directions), "steps": np.array(self.steps)}
        for k, cell in enumerate(self.cells):
            for name, matrix in (("x", cell.of_x), ("h", cell.of_h)):
                hybrid = cast(HMD, matrix)
                parts = {"rich": hybrid.rich, "down": hybrid.down, "across": hybrid.across}
                made |= {f"{k}.{name}.{part}": array for part, array in parts.items()}
            made |= {f"{k}.bias_x": cell.bias_x, f"{k}.bias_h": cell.bias_h}
        return made

    @classmethod
    def load(cls, arrays: Mapping[str, Array], library: native.Library) -> Self:
        """See :class:`Part`."""
        cells = []
        for k in range(sum(name.endswith(".bias_x") for name in arrays)):
            of_x, of_h = (
                HMD(*(np.ascontiguousarray(arrays[f"{k}.{name}.{part}"]) for part in ("rich", "down", "across")))
                for name in ("x", "h")
            )
            kind = LSTMStep if of_x.gates == LSTMStep.gates else GRUStep
            cells.append(kind(of_x, of_h, arrays[f"{k}.bias_x"], arrays[f"{k}.bias_h"], library))
        return cls(cells, int(arrays["directions"]), int(arrays["steps"]))

    def bind(self, x: Array, y: Array, live: Array | None = None, whole: bool = True) -> Calls:
        """See :class:`Part`."""
        calls: Calls = []
        depth = len(self.cells) // self.directions
        for k in range(depth):
            into = y if k + 1 == depth else aligned(self.shape, np.float32)
            for d in range(self.directions):
                calls.append(self._run(self.cells[k * self.directions + d], x, into, d))
            x = into
        return calls

    def _run(self, cell: LSTMStep | GRUStep, x: Array, y: Array, direction: int) -> Callable[[], object]:
        assert cell.library is not None
        lstm = isinstance(cell, LSTMStep)
        h, c = aligned(cell.size, np.float32), aligned(cell.size, np.float32)
        stride = self.directions * cell.size
        arguments = (
            *(byref(cell._x), byref(cell._h), address(cell.bias if lstm else cell.bias_x), address(cell.bias_h)),
            *(address(x), self.steps, direction, address(h), address(c) if lstm else None),
            *(y.ctypes.data + 4 * direction * cell.size, stride, address(cell._scratch)),
        )
        return _call(cell.library.function("recurrence"), arguments, x, y, h, c, cell)


# By the kernels that gate kinds name; see gatesearch.gates.KernelCall.
PARTS: Mapping[str, type[Part]] = {"fbs": FBSPart, "pg": PGPart, "lstm": RecurrentPart, "gru": RecurrentPart}


def _image(example: Tensor) -> tuple[int, int]:
    return int(example.shape[-2]), int(example.shape[-1])


def _shape(geometry: Geometry) -> dict[str, Array]:
    g = geometry
    pairs = (*g.kernel, *g.stride, *g.padding, *g.dilation)
    return {"geometry": np.array([*g.image, g.c_in, g.c_out, *pairs], np.int32)}


def _geometry(arrays: Mapping[str, Array]) -> Geometry:
    return geometry_of([int(size) for size in arrays["geometry"]])


def geometry_of(shape: Sequence[int]) -> Geometry:
    """Return the geometry that ``LayerSite.geometry`` lists.

    >>> geometry_of((30, 20, 16, 32, 3, 3, 2, 1, 1, 1, 1, 1)).output
    (15, 20)
    """
    h, w, c_in, c_out, *pairs = shape
    kernel, stride, padding, dilation = zip(pairs[::2], pairs[1::2], strict=True)
    return Geometry((h, w), c_in, c_out, kernel, stride, padding, dilation)
