"""Kernels of trained LSTMs and GRUs with dense, low-rank or hybrid matrices.

A hybrid matrix comes from hybrid matrix decomposition (HMD): dense rows above, and blocks of rank 1 below.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from ctypes import POINTER, byref
from itertools import product
from typing import ClassVar, Self, cast

import numpy as np
from torch import Tensor, nn

from gatesearch.gates import BLOCK, KernelCall
from gatesearch.gates.factored import FactoredRNN, replace_layer
from gatesearch.gates.matrices import Factors, low_rank
from gatesearch.kernels.arrays import Array, address, aligned_zeros
from gatesearch.kernels.base import ActiveChannels, Axes, Calls, LayerKernel, Listing, Sample, random_normal
from gatesearch.kernels.library import ADDRESS, INT, SIZE, SOURCES, Library, Signatures, bind_call
from gatesearch.kernels.recurrent_step import GRUStep, LSTMStep, RecurrentStep
from gatesearch.kernels.recurrent_weights import HMD, CMatrix, Dense, LowRank, Weights, weights_from_factors
from gatesearch.kernels.work_terms import Terms, count_blocks

MATRIX = POINTER(CMatrix)
# The arrays that make up a matrix, by its form.
FACTORS: Mapping[type[Dense | HMD | LowRank], tuple[str, ...]] = {
    Dense: ("weight",),
    HMD: ("rich", "down", "across"),
    LowRank: ("left", "right"),
}


class RecurrentLayer:
    """A trained LSTM or GRU of any depth, in one direction or both.

    Args:
        cells: the cells of all layers and directions, in torch's order.
        directions: 1 or 2.
        steps: length of a sequence.
    """

    absorbs_norm: ClassVar[bool] = False
    reads: ClassVar[tuple[int, ...]] = ()
    active: ActiveChannels | None = None

    def __init__(self, cells: Sequence[RecurrentStep], directions: int, steps: int) -> None:
        self.cells, self.directions, self.steps = list(cells), directions, steps
        self.shape = (steps, directions * cells[0].size)

    @classmethod
    def from_module(
        cls, layer: nn.Module, example: Tensor, norm: nn.BatchNorm2d | None, relu: bool, positive: bool = True
    ) -> Self:
        """Pack a trained layer for this kernel; see :meth:`.NativeLayer.from_module`."""
        rnn = layer if isinstance(layer, FactoredRNN) else cast(FactoredRNN, replace_layer(layer, Factors))
        step = LSTMStep if rnn.is_lstm else GRUStep
        cells: list[RecurrentStep] = []
        for number in range(len(rnn.cells)):
            input_factors, state_factors, biases = rnn.cell_of(number)
            zeros = np.zeros(rnn.groups * rnn.hidden, np.float32)
            arrays = [bias.detach().float().contiguous().numpy() for bias in biases] or [zeros, zeros]
            cells.append(step(_weights(input_factors), _weights(state_factors), arrays[0], arrays[1]))
        return cls(cells, rnn.directions, example.shape[1])

    def arrays(self) -> dict[str, Array]:
        """Return the arrays that make up the layer, to store in a bundle."""
        arrays = {"directions": np.array(self.directions), "steps": np.array(self.steps)}
        for k, cell in enumerate(self.cells):
            for side, weights in (("x", cell.input_weights), ("h", cell.state_weights)):
                names = FACTORS[type(cast(Dense | HMD | LowRank, weights))]
                arrays |= {f"{k}.{side}.{name}": getattr(weights, name) for name in names}
            arrays |= {f"{k}.bias_x": cell.bias_x, f"{k}.bias_h": cell.bias_h}
        return arrays

    @classmethod
    def load(cls, arrays: Mapping[str, Array], library: Library) -> Self:
        """Rebuild the layer from the arrays of a bundle."""
        cells: list[RecurrentStep] = []
        for k in range(sum(name.endswith(".bias_x") for name in arrays)):
            input_weights, state_weights = load_weights(arrays, f"{k}.x"), load_weights(arrays, f"{k}.h")
            step = LSTMStep if input_weights.gates == LSTMStep.gates else GRUStep
            cells.append(step(input_weights, state_weights, arrays[f"{k}.bias_x"], arrays[f"{k}.bias_h"], library))
        return cls(cells, int(arrays["directions"]), int(arrays["steps"]))

    def bind(self, x: Array, y: Array, active: ActiveChannels | None = None, whole: bool = True) -> Calls:
        """Return the native calls of the layer, in order; each cell has one call for all steps."""
        calls: Calls = []
        depth = len(self.cells) // self.directions
        for k in range(depth):
            target = y if k + 1 == depth else aligned_zeros(self.shape, np.float32)
            for direction in range(self.directions):
                cell = self.cells[k * self.directions + direction]
                calls.append(self._bind_cell(cell, x, target, direction))
            x = target
        return calls

    def reference(self, x: Array, active: ActiveChannels | None = None) -> Array:
        """Return the output of the layer, computed in torch or numpy."""
        for k in range(0, len(self.cells), self.directions):
            cells = self.cells[k : k + self.directions]
            x = np.concatenate([_run(cell, x, direction) for direction, cell in enumerate(cells)], -1)
        return x

    def _bind_cell(self, cell: RecurrentStep, x: Array, y: Array, direction: int) -> Callable[[], object]:
        """Bind the call that runs one direction of a recurrent layer over all steps."""
        assert cell.library is not None
        is_lstm = isinstance(cell, LSTMStep)
        h, c = aligned_zeros(cell.size, np.float32), aligned_zeros(cell.size, np.float32)
        arguments = (
            byref(cell._x),
            byref(cell._h),
            address(cell.bias if is_lstm else cell.bias_x),
            address(cell.bias_h),
            address(x),
            self.steps,
            direction,
            address(h),
            address(c) if is_lstm else None,
            y.ctypes.data + y.itemsize * direction * cell.size,
            self.directions * cell.size,
            address(cell._scratch),
        )
        return bind_call(cell.library.function("recurrence"), arguments, x, y, h, c, cell)


def _run(cell: RecurrentStep, x: Array, direction: int) -> Array:
    """Return the states of a cell after each step, [steps, units]; the first state is zero.

    A cell of direction 1 reads the steps backwards. Its states are still in the order of the steps.
    """
    h, c = np.zeros(cell.size, np.float32), np.zeros(cell.size, np.float32)
    states = np.empty((len(x), cell.size), np.float32)
    for step in range(len(x))[:: -1 if direction else 1]:
        if isinstance(cell, LSTMStep):
            h, c = cell.reference(x[step], h, c)
        else:
            h = cast(GRUStep, cell).reference(x[step], h)
        states[step] = h
    return states


def _weights(matrix: Factors) -> Dense | HMD | LowRank:
    weights = weights_from_factors(matrix)
    if not isinstance(weights, Dense | HMD | LowRank):
        raise ValueError(f"no kernel for matrices of form {matrix.form}")
    return weights


def load_weights(arrays: Mapping[str, Array], prefix: str) -> Weights:
    """Return the weights that :meth:`RecurrentLayer.arrays` stored under names with a prefix."""
    for form, names in FACTORS.items():
        if f"{prefix}.{names[0]}" in arrays:
            return form(*(np.ascontiguousarray(arrays[f"{prefix}.{name}"]) for name in names))
    raise ValueError(f"no weights {prefix} among {', '.join(arrays)}")


class _CellKernel(LayerKernel):
    """The base class of kernels of recurrent layers; a call's shape is (steps, inputs, units).

    Attributes:
        step: class of the cell.
    """

    source = SOURCES / "recurrent.c"
    layer = RecurrentLayer
    step: ClassVar[type[RecurrentStep]]
    signatures: ClassVar[Signatures] = {
        "step_scratch": (SIZE, (MATRIX, MATRIX)),
        "lstm_step": (None, (MATRIX, MATRIX, ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS)),
        "gru_step": (None, (MATRIX, MATRIX, ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS)),
        "recurrence": (
            None,
            (
                MATRIX,  # weights of the input
                MATRIX,  # weights of the state
                ADDRESS,  # bias of the input
                ADDRESS,  # bias of the state
                ADDRESS,  # x
                INT,  # steps
                INT,  # direction
                ADDRESS,  # h
                ADDRESS,  # c
                ADDRESS,  # y
                INT,  # stride of y
                ADDRESS,  # scratch
            ),
        ),
    }

    def macs(self, call: KernelCall) -> float:
        """Return the multiply-accumulates of the dense cell, over all steps."""
        steps, columns, height = call.shape
        return float(steps * self.step.gates * height * (columns + height))

    def _sample(
        self,
        call: KernelCall,
        library: Library,
        generator: np.random.Generator,
        weights: Callable[[int], Weights],
    ) -> Sample:
        """Return a layer of one cell, and an input; ``weights`` returns random weights for a number of columns."""
        steps, inputs, hidden = call.shape
        input_weights, state_weights = weights(inputs), weights(hidden)
        biases = [random_normal(generator, self.step.gates * hidden) for _ in range(2)]
        cell = self.step(input_weights, state_weights, biases[0], biases[1], library)
        return Sample(RecurrentLayer([cell], 1, steps), random_normal(generator, steps, inputs))


class _HybridCellKernel(_CellKernel):
    """Cells of hybrid matrices. The share ``rich`` is the share of dense rows; without rank-1 parts all are dense."""

    shares = ("rich",)
    variants = ("parts",)
    listings = ("cell",)

    def table_calls(self, listing: Listing) -> Iterator[KernelCall]:
        """Yield calls with one and two rank-1 parts, at each share of dense rows."""
        for parts, rich in product((1, 2), (*listing.shares[:2], 1.0)):
            yield KernelCall(self.name, (1, *listing.shape), (("parts", parts),), (("rich", rich),))

    def work(self, call: KernelCall, tile: int) -> Terms:
        """Return the work terms of one step, multiplied by the number of steps.

        A hybrid matrix multiplies x by its dense rows, and by one row c_j for each rank-1 part b_j c_j. Each part then
        adds b_j (c_j x) to the rows that are not dense. A cell has two such matrices, for the input and for the state,
        hence the factors of 2.
        """
        steps, columns, height = call.shape
        gates = self.step.gates
        rich = round(height * dict(call.remaining).get("rich", 1.0))
        parts = int(dict(call.variant).get("parts", 1)) if rich < height else 0
        rows = count_blocks(gates * (rich + parts))
        terms = {
            "steps": 1.0,
            "block products": rows * (count_blocks(columns) + count_blocks(height)),
            "blocks of rows": rows,
            "values added by parts": 2.0 * gates * parts * (height - rich),
            "parts": 2.0 * gates * parts,
            "rich rows moved": 2.0 * gates * rich if parts else 0.0,
            "units": float(height),
            "ragged columns": (columns if columns % BLOCK else 0) + (height if height % BLOCK else 0),
        }
        return {name: steps * term for name, term in terms.items()}

    def axes(self, call: KernelCall, reads_blocks: bool = True) -> Axes:
        """Return the timed shares of dense rows: up to a half; without rank-1 parts, all rows."""
        return {"rich": (0.1, 0.2, 0.35, 0.5) if dict(call.variant)["parts"] else (1.0,)}

    def round_shares(self, call: KernelCall) -> KernelCall:
        """Return the call with its share of dense rows rounded to whole rows.

        >>> LSTMKernel().round_shares(KernelCall("lstm", (49, 10, 118), (("parts", 2),), (("rich", 0.1),))).remaining
        (('rich', 0.1016949152542373),)
        """
        height, shares = call.shape[2], dict(call.remaining)
        shares["rich"] = max(1, round(shares["rich"] * height)) / height
        return call._replace(remaining=tuple(shares.items()))

    def sample(self, call: KernelCall, library: Library, generator: np.random.Generator) -> Sample:
        """Return a random cell."""
        hidden, parts, gates = call.shape[2], int(dict(call.variant)["parts"]), self.step.gates
        rich = max(1, round(dict(call.remaining)["rich"] * hidden))

        def weights(columns: int) -> Weights:
            if not parts:
                return Dense(random_normal(generator, gates, hidden, columns))
            shapes: tuple[tuple[int, ...], ...] = ((rich, columns), (parts, hidden - rich), (columns,))
            return HMD(*(random_normal(generator, gates, *shape) for shape in shapes))

        return self._sample(call, library, generator, weights)


class _LowRankCellKernel(_CellKernel):
    """Cells of low-rank matrix factors (LMF). ``kept`` is the factors' share of the dense matrix's parameters."""

    shares = ("kept",)
    listings = ("low rank",)

    def table_calls(self, listing: Listing) -> Iterator[KernelCall]:
        """Yield a call for each share of parameters."""
        for share in listing.shares:
            yield KernelCall(self.name, (1, *listing.shape), (), (("kept", share),))

    def work(self, call: KernelCall, tile: int) -> Terms:
        """Return the work terms of one step, multiplied by the number of steps.

        The C code treats a product U V as a hybrid matrix without dense rows: each of its ``rank`` columns of U is the
        b_j of a rank-1 part that spans all columns. U has height x rank parameters and V has rank x n, where n is the
        number of columns; the dense matrix has height x n. So a share of the dense parameters gives
        rank = share height n / (height + n). The C code adds four parts at once, and the last one to three singly.
        """
        steps, columns, height = call.shape
        gates, share = self.step.gates, dict(call.remaining).get("kept", 1.0)
        sides = [(n, max(1, math.floor(height * n * share / (height + n)))) for n in (columns, height)]
        fours, ones = sum(rank // 4 for _, rank in sides), sum(rank % 4 for _, rank in sides)
        terms = {
            "steps": 1.0,
            "block products": sum(count_blocks(gates * rank) * count_blocks(n) for n, rank in sides),
            "blocks of rows": sum(count_blocks(gates * rank) for _, rank in sides),
            "values added by four parts": gates * height * fours,
            "values added by one part": gates * height * ones,
            "parts": gates * (fours + ones),
            "units": float(height),
            "ragged columns": (columns if columns % BLOCK else 0) + (height if height % BLOCK else 0),
        }
        return {name: steps * term for name, term in terms.items()}

    def axes(self, call: KernelCall, reads_blocks: bool = True) -> Axes:
        """Return the timed shares of parameters: a quarter, a third and a half."""
        return {"kept": (0.25, 1 / 3, 0.5)}

    def sample(self, call: KernelCall, library: Library, generator: np.random.Generator) -> Sample:
        """Return a random cell."""
        hidden, share, gates = call.shape[2], dict(call.remaining)["kept"], self.step.gates

        def weights(columns: int) -> Weights:
            rank = max(1, low_rank(hidden, columns, 1 / max(share, 1e-6)))
            u = random_normal(generator, gates, hidden, rank)
            return LowRank(u, random_normal(generator, gates, rank, columns))

        return self._sample(call, library, generator, weights)


class LSTMKernel(_HybridCellKernel):
    """LSTMs, dense or hybrid."""

    name = "lstm"
    rank = 4
    runner = "lstm"
    case = 8
    step = LSTMStep


class GRUKernel(_HybridCellKernel):
    """GRUs, dense or hybrid."""

    name = "gru"
    rank = 5
    runner = "gru"
    case = 9
    step = GRUStep


class LSTMLowRankKernel(_LowRankCellKernel):
    """LSTMs of low rank."""

    name = "lstm_lmf"
    rank = 10
    runner = "lstm"
    case = 8
    step = LSTMStep


class GRULowRankKernel(_LowRankCellKernel):
    """GRUs of low rank."""

    name = "gru_lmf"
    rank = 11
    runner = "gru"
    case = 9
    step = GRUStep
