"""A gated layer as a part of a stage: a kernel with what stands around it, packed into arrays and bound to buffers.

A part maps one float32 array to another: a map [h, w, c] or a sequence [T, F]. It is made of a trained module, taken
apart into arrays for a bundle, and put together again from them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from ctypes import byref
from typing import Any, ClassVar, Protocol, Self, cast

import numpy as np
import torch
from torch import Tensor, nn

from gatesearch.gates import BLOCK
from gatesearch.gates.factored import FactoredRNN, in_place_of
from gatesearch.gates.fbs import FBSConv2d
from gatesearch.gates.matrices import Factors
from gatesearch.gates.pg import PGConv2d, PGLinear
from gatesearch.kernels import native
from gatesearch.kernels.arrays import Array, address, aligned
from gatesearch.kernels.channel_skipping import FBSPG, Chosen, FBSSingle, Live, Precision
from gatesearch.kernels.conv import _call
from gatesearch.kernels.fbs import FBSConv
from gatesearch.kernels.fbs_predictor import Boost
from gatesearch.kernels.geometry import Geometry
from gatesearch.kernels.operand_split import Pieces
from gatesearch.kernels.pg import PGConv
from gatesearch.kernels.recurrent import HMD, Dense, GRUStep, LowRank, LSTMStep, weights_of

Calls = list[Callable[[], object]]


class Part(Protocol):
    """One gated layer."""

    absorbs_norm: ClassVar[bool]  # whether a batch normalisation and a ReLU behind it can be part of it
    reads: ClassVar[tuple[int, ...]]  # sizes of groups of its input channels that it can leave out
    shape: Any  # of its output, a tuple of sizes
    live: Live | None  # channels that it computed last; None where it computes all

    @classmethod
    def of(cls, layer: nn.Module, example: Tensor, norm: nn.BatchNorm2d | None, relu: bool, positive: bool) -> Self:
        """Take over a trained layer that reads ``example`` [1, ...], and what stands behind it.

        ``positive`` says that no input is ever negative.

        Raises:
            ValueError: there is no kernel for it.
        """

    def arrays(self) -> dict[str, Array]:
        """Return all that it is made of."""

    @classmethod
    def load(cls, arrays: Mapping[str, Array], library: native.Library) -> Self:
        """Put it together again."""

    def bind(self, x: Array, y: Array, live: Live | None = None, whole: bool = True) -> Calls:
        """Return the native calls, in order, for arrays that stay where they are.

        Args:
            x: what it reads.
            y: what it writes.
            live: channels of x that are there, in groups of a size of :attr:`reads`; None for all.
            whole: whether channels of y that were not computed have to be cleared.
        """


class _Boosted:
    """Channels that win: the batch normalisation is in the layer's own arrays."""

    absorbs_norm: ClassVar[bool] = False
    reads: ClassVar[tuple[int, ...]] = (1, BLOCK)
    kernel: ClassVar[type[FBSConv | FBSSingle]]

    def __init__(self, conv: FBSConv | FBSSingle | FBSPG) -> None:
        self.conv, boost = conv, conv.boost
        self.shape = (*conv.geometry.output, conv.geometry.c_out)
        self.live: Live | None = Live(np.arange(boost.winners, dtype=np.int32), boost.block)

    @classmethod
    def of(
        cls, layer: nn.Module, example: Tensor, norm: nn.BatchNorm2d | None, relu: bool, positive: bool = True
    ) -> Self:
        """See :class:`Part`."""
        return cls(cls.kernel.of(cast(FBSConv2d, layer), _image(example), relu))

    def arrays(self) -> dict[str, Array]:
        """See :class:`Part`."""
        rest = {"weight": self.conv.weight, "relu": np.array(self.conv.relu)}
        return {**shape_of(self.conv.geometry), **rest, **boost_arrays(self.conv.boost)}

    @classmethod
    def load(cls, arrays: Mapping[str, Array], library: native.Library) -> Self:
        """See :class:`Part`."""
        return cls(cls.kernel(geometry_in(arrays), arrays["weight"], boost_in(arrays), bool(arrays["relu"]), library))

    def bind(self, x: Array, y: Array, live: Live | None = None, whole: bool = True) -> Calls:
        """See :class:`Part`."""
        assert self.live is not None and isinstance(self.conv, Chosen)
        return [self.conv.bind(x, y, self.live.groups, live, whole)]


class FBSPart(_Boosted):
    """Feature boosting and suppression of blocks of 16 channels."""

    reads: ClassVar[tuple[int, ...]] = (BLOCK,)
    kernel = FBSConv

    def bind(self, x: Array, y: Array, live: Live | None = None, whole: bool = True) -> Calls:
        """See :class:`Part`."""
        assert self.live is not None and isinstance(self.conv, FBSConv) and self.conv.library is not None
        groups = self.live.groups
        calls: Calls = [self.conv.bind(x, y, groups, None if live is None else live.groups)]
        if whole and self.conv.boost.winners < -(-self.shape[-1] // BLOCK):
            pixels, channels = self.shape[0] * self.shape[1], self.shape[2]
            arguments = (address(y), pixels, channels, address(groups), len(groups))
            calls.append(_call(self.conv.library.function("clear_f32"), arguments, y, self))
        return calls


class SinglePart(_Boosted):
    """Feature boosting and suppression of single channels."""

    kernel = FBSSingle


class HybridPart(_Boosted):
    """FBS and precision gating in one."""

    @classmethod
    def of(
        cls, layer: nn.Module, example: Tensor, norm: nn.BatchNorm2d | None, relu: bool, positive: bool = True
    ) -> Self:
        """See :class:`Part`."""
        return cls(FBSPG.of(cast(FBSConv2d, layer), _image(example), relu, positive=positive))

    def arrays(self) -> dict[str, Array]:
        """See :class:`Part`."""
        precision = cast(FBSPG, self.conv).precision
        told = {**precision._asdict(), **precision.pieces._asdict()}
        return {**super().arrays(), **{name: np.asarray(value) for name, value in told.items() if name != "pieces"}}

    @classmethod
    def load(cls, arrays: Mapping[str, Array], library: native.Library) -> Self:
        """See :class:`Part`."""
        pieces = Pieces(bool(arrays["sign"]), bool(arrays["wide"]))
        bits, low_bits, group = (int(arrays[name]) for name in ("bits", "low_bits", "group"))
        step, level = (float(arrays[name]) for name in ("step", "level"))
        precision = Precision(bits, low_bits, group, arrays["threshold"], step, level, pieces)
        given = (geometry_in(arrays), arrays["weight"], precision, boost_in(arrays), bool(arrays["relu"]))
        return cls(FBSPG(*given, library))


class PGPart:
    """Precision gating: to levels, in two phases, and the batch normalisation behind.

    Args:
        conv: the kernel.
        step: worth of a level of the input.
        scale: of the normalisation, float32 [c_out].
        shift: the same.
        relu: whether what is negative becomes 0.
        threshold: of the kernel.
        shape: of the output; None is that of a convolution.
    """

    absorbs_norm: ClassVar[bool] = True
    reads: ClassVar[tuple[int, ...]] = ()
    live: Live | None = None

    def __init__(
        self,
        conv: PGConv,
        step: float,
        scale: Array,
        shift: Array,
        relu: bool,
        threshold: Array,
        shape: tuple[int, ...] | None = None,
    ) -> None:
        self.conv, self.step, self.scale, self.shift, self.relu = conv, step, scale, shift, relu
        self.threshold = threshold
        self.shape = shape or (*conv.geometry.output, conv.geometry.c_out)

    @classmethod
    def of(
        cls, layer: nn.Module, example: Tensor, norm: nn.BatchNorm2d | None, relu: bool, positive: bool = True
    ) -> Self:
        """See :class:`Part`."""
        gate = cast(PGConv2d | PGLinear, layer)
        linear = isinstance(gate, PGLinear)
        conv = PGConv.of(gate, _positions(example) if linear else _image(example), positive=positive)
        channels = conv.geometry.c_out
        scale, shift = torch.ones(channels), torch.zeros(channels)
        if norm is not None:
            assert norm.running_mean is not None and norm.running_var is not None
            scale = (norm.running_var + norm.eps).rsqrt() * (1.0 if norm.weight is None else norm.weight.detach())
            shift = (0.0 if norm.bias is None else norm.bias.detach()) - norm.running_mean * scale
        arrays = [part.detach().float().contiguous().numpy() for part in (scale, shift, gate.threshold)]
        shape = (*example.shape[1:-1], channels) if linear else None
        return cls(conv, conv.step, arrays[0], arrays[1], relu, arrays[2], shape)

    def arrays(self) -> dict[str, Array]:
        """See :class:`Part`."""
        c = self.conv
        numbers = {"bits": c.bits, "low_bits": c.low_bits, "group": c.group, "relu": self.relu, **c.pieces._asdict()}
        reals = {"level": np.float64(c.level), "step": np.float64(self.step)}
        own = {"weight": c.weight, "threshold": self.threshold, "bias": c.bias[: c.geometry.c_out]}
        scaled = {"scale": self.scale, "shift": self.shift, "shape": np.array(self.shape)}
        return {**shape_of(c.geometry), **own, **scaled, **{k: np.asarray(v) for k, v in (numbers | reals).items()}}

    @classmethod
    def load(cls, arrays: Mapping[str, Array], library: native.Library) -> Self:
        """See :class:`Part`."""
        pieces = Pieces(bool(arrays["sign"]), bool(arrays["wide"]))
        conv = PGConv(
            geometry_in(arrays),
            arrays["weight"],
            int(arrays["bits"]),
            int(arrays["low_bits"]),
            int(arrays["group"]),
            arrays["threshold"],
            float(arrays["level"]),
            np.ascontiguousarray(arrays["bias"]),
            library=library,
            doubled=pieces.wide,
        )
        conv.pieces = pieces
        rest = (arrays["scale"], arrays["shift"], bool(arrays["relu"]), arrays["threshold"])
        return cls(conv, float(arrays["step"]), *rest, tuple(int(size) for size in arrays["shape"]))

    def bind(self, x: Array, y: Array, live: Live | None = None, whole: bool = True) -> Calls:
        """See :class:`Part`."""
        conv, library = self.conv, self.conv.library
        assert library is not None
        g, pieces = conv.geometry, conv.pieces
        image = aligned((*g.image, g.c_in), conv.dtype)
        top, size = float(2**conv.bits - 1), image.dtype.itemsize
        pixels, channels = g.image[0] * g.image[1], g.c_in // pieces.number
        split = (conv.low_bits, int(pieces.wide), int(pieces.sign))
        alone = (address(x), x.size, self.step, top, size, address(image))
        parts = (address(x), pixels, channels, self.step, top, *split, size, address(image))
        name, before = ("levels_f32", alone) if pieces.number == 1 else ("spread_f32", parts)
        spread = _call(library.function(name), cast(tuple[Any, ...], before), x, image)
        out = y.reshape(*g.output, g.c_out)
        behind = (address(y), y.size // g.c_out, g.c_out, address(self.scale), address(self.shift), int(self.relu))
        # Closures hold what the addresses point to.
        return [spread, conv.bind(image, out), _call(library.function("affine_f32"), behind, y, self)]


# The arrays that matrices of each form are made of.
FACTORS: Mapping[type[Dense | HMD | LowRank], tuple[str, ...]] = {
    Dense: ("weight",),
    HMD: ("rich", "down", "across"),
    LowRank: ("left", "right"),
}


def _factors(matrix: Factors) -> Dense | HMD | LowRank:
    found = weights_of(matrix)
    if not isinstance(found, Dense | HMD | LowRank):
        raise ValueError(f"no kernel for matrices of form {matrix.form}")
    return found


class RecurrentPart:
    """An LSTM or GRU over dense, hybrid or low-rank matrices, of any depth, in one direction or both."""

    absorbs_norm: ClassVar[bool] = False
    reads: ClassVar[tuple[int, ...]] = ()
    live: Live | None = None

    def __init__(self, cells: Sequence[LSTMStep | GRUStep], directions: int, steps: int) -> None:
        self.cells, self.directions, self.steps = list(cells), directions, steps
        self.shape = (steps, directions * cells[0].size)

    @classmethod
    def of(
        cls, layer: nn.Module, example: Tensor, norm: nn.BatchNorm2d | None, relu: bool, positive: bool = True
    ) -> Self:
        """See :class:`Part`."""
        rnn = layer if isinstance(layer, FactoredRNN) else cast(FactoredRNN, in_place_of(layer, Factors))
        kind = LSTMStep if rnn.is_lstm else GRUStep
        cells = []
        for number in range(len(rnn.cells)):
            of_input, of_state, biases = rnn.cell_of(number)
            zero = torch.zeros(rnn.groups * rnn.hidden)
            given = [bias.detach().float().contiguous().numpy() for bias in biases] or [zero.numpy(), zero.numpy()]
            cells.append(kind(_factors(of_input), _factors(of_state), given[0], given[1]))
        return cls(cells, rnn.directions, example.shape[1])

    def arrays(self) -> dict[str, Array]:
        """See :class:`Part`."""
        made = {"directions": np.array(self.directions), "steps": np.array(self.steps)}
        for k, cell in enumerate(self.cells):
            for name, matrix in (("x", cell.of_x), ("h", cell.of_h)):
                parts = FACTORS[type(cast(Dense | HMD | LowRank, matrix))]
                made |= {f"{k}.{name}.{part}": getattr(matrix, part) for part in parts}
            made |= {f"{k}.bias_x": cell.bias_x, f"{k}.bias_h": cell.bias_h}
        return made

    @classmethod
    def load(cls, arrays: Mapping[str, Array], library: native.Library) -> Self:
        """See :class:`Part`."""
        cells = []
        for k in range(sum(name.endswith(".bias_x") for name in arrays)):
            of_x, of_h = (
                form(*(np.ascontiguousarray(arrays[f"{k}.{name}.{part}"]) for part in parts))
                for name in ("x", "h")
                for form, parts in FACTORS.items()
                if f"{k}.{name}.{parts[0]}" in arrays
            )
            kind = LSTMStep if of_x.gates == LSTMStep.gates else GRUStep
            cells.append(kind(of_x, of_h, arrays[f"{k}.bias_x"], arrays[f"{k}.bias_h"], library))
        return cls(cells, int(arrays["directions"]), int(arrays["steps"]))

    def bind(self, x: Array, y: Array, live: Live | None = None, whole: bool = True) -> Calls:
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
PARTS: Mapping[str, type[Part]] = {
    "fbs": FBSPart,
    "fbs_single": SinglePart,
    "fbs_pg": HybridPart,
    "pg": PGPart,
    "lstm": RecurrentPart,
    "gru": RecurrentPart,
    "lstm_lmf": RecurrentPart,
    "gru_lmf": RecurrentPart,
}


def _image(example: Tensor) -> tuple[int, int]:
    return int(example.shape[-2]), int(example.shape[-1])


def _positions(example: Tensor) -> tuple[int, int]:
    return math.prod(example.shape[1:-1]), 1


def shape_of(geometry: Geometry) -> dict[str, Array]:
    """Return a geometry as an array; :func:`geometry_in` reads it."""
    g = geometry
    pairs = (*g.kernel, *g.stride, *g.padding, *g.dilation)
    return {"geometry": np.array([*g.image, g.c_in, g.c_out, *pairs], np.int32)}


def geometry_in(arrays: Mapping[str, Array]) -> Geometry:
    """Return the geometry that :func:`shape_of` wrote."""
    return geometry_of([int(size) for size in arrays["geometry"]])


def boost_arrays(boost: Boost) -> dict[str, Array]:
    """Return a boost as arrays; :func:`boost_in` reads them."""
    return dict(zip(Boost._fields, (np.asarray(value) for value in boost), strict=True))


def boost_in(arrays: Mapping[str, Array]) -> Boost:
    """Return the boost that :func:`boost_arrays` wrote."""
    phi, rho, slope, offset, beta = (arrays[name] for name in Boost._fields[:5])
    return Boost(phi, rho, slope, offset, beta, int(arrays["winners"]), int(arrays["block"]))


def geometry_of(shape: Sequence[int]) -> Geometry:
    """Return the geometry that ``LayerSite.geometry`` lists.

    >>> geometry_of((30, 20, 16, 32, 3, 3, 2, 1, 1, 1, 1, 1)).output
    (15, 20)
    """
    h, w, c_in, c_out, *pairs = shape
    kernel, stride, padding, dilation = zip(pairs[::2], pairs[1::2], strict=True)
    return Geometry((h, w), c_in, c_out, kernel, stride, padding, dilation)
