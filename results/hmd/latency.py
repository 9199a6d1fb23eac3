"""Times one step of the recurrent layers of several networks, at batch size 1, on the machine of the benchmark.

A *runtime* is a function that turns a recurrent layer into calls, one or more for each depth and direction. On a
machine with a C compiler, the runtime is the C kernels, which compute whole steps. On other machines the runtime is
NumPy and SciPy, which compute only the products with the matrices. The compression methods differ only in these
products.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from gatesearch import kernels
from gatesearch._lib.timing import Timing, interleaved
from gatesearch.gates.factored import FactoredRNN, replace_layer
from gatesearch.gates.matrices import Factors, HybridMatrix, LowRankMatrix, PrunedMatrix, block_edges

Array = npt.NDArray[np.float32]
Call = Callable[[], object]
Runtime = Callable[[FactoredRNN], Sequence[Call]]
ROUNDS, SAMPLES = 31, 5  # number of rounds, in each of which every network has a turn; timings in a turn
KERNELS, PRODUCTS = "C kernels, whole steps", "NumPy and SciPy, products alone"


LATENCIES = "latency.json"
# What each runtime computes in a step, for the page.
RUNTIME_DESCRIPTIONS: Mapping[str, str] = {
    KERNELS: "each timing is a whole step of the layer, with its activation functions. Each form of a matrix has a "
    "float32 kernel of its own. A dense matrix takes one product. A hybrid matrix takes a product, and two scaled "
    "additions for each gate. A low-rank matrix takes a product, and as many scaled additions for each gate as its "
    "rank. A pruned matrix is stored as CSR with 16-bit columns",
    PRODUCTS: "no C compiler was found, so only the products with the matrices are timed: BLAS computes each factor, "
    "SciPy computes CSR matrices. A method that makes more calls from Python looks slower than its kernel would be",
}


def describe_runtime(name: str, status: str) -> str:
    """Return a sentence for the page that says what a runtime measures; ``status`` describes the compiled kernels."""
    return textwrap.fill(f"Latency with {name}: {RUNTIME_DESCRIPTIONS[name]} ({status}).", 120, break_long_words=False)


def runtime() -> str:
    """Return the key of :data:`RUNTIMES` for this machine."""
    return KERNELS if kernels.load() else PRODUCTS


def kernel_steps(layer: FactoredRNN) -> list[Call]:
    """Return a call for each depth and direction of a layer; the call computes a step from a random state."""
    rng, calls = np.random.default_rng(0), []
    for step in steps(layer):
        sizes = (step.input_weights.columns, *[step.size] * (2 if layer.is_lstm else 1))
        calls.append(step.bind(*(rng.standard_normal(size).astype(np.float32) for size in sizes)))
    return calls


def steps(layer: FactoredRNN) -> list[Any]:
    """Return a kernel object for each depth and direction of a layer, in the order of PyTorch's weights."""
    kind = kernels.LSTMStep if layer.is_lstm else kernels.GRUStep
    steps = []
    for number in range(len(layer.cells)):
        input_factors, state_factors, biases = layer.cell_of(number)
        values = [bias.detach() for bias in biases] or np.zeros((2, layer.groups * layer.hidden), np.float32)
        steps.append(
            kind(kernels.weights_from_factors(input_factors), kernels.weights_from_factors(state_factors), *values)
        )
    return steps


def numpy_products(layer: FactoredRNN) -> list[Call]:
    """Return a call for each matrix of a layer; the call multiplies the matrix by a vector; see :func:`numpy_call`."""
    return [numpy_call(matrix) for matrix in layer.matrices()]


def numpy_call(matrix: Factors) -> Call:
    """Return a call that multiplies a matrix by a vector.

    NumPy computes the product, with one BLAS call for each factor. A pruned matrix is an exception: SciPy computes the
    product, with the matrix in CSR (compressed sparse row) form.
    """
    return _CALLS.get(type(matrix), _dense)(matrix, _vector(matrix))


def _vector(matrix: Factors) -> Array:
    return np.random.default_rng(0).standard_normal(matrix.columns).astype(np.float32)


def _dense(matrix: Factors, x: Array) -> Call:
    weight, out = _array(matrix.dense()), np.empty(matrix.groups * matrix.rows, np.float32)
    return lambda: np.dot(weight, x, out=out)


def _hybrid(matrix: Factors, x: Array) -> Call:
    """Return a call that multiplies a hybrid matrix by a vector x.

    For each gate of the cell, a hybrid matrix has dense rows A above J blocks of rank 1. Block j is b_j times c_j^T.
    One BLAS call computes A x and the J numbers c_j^T x for all gates. Then the vectors b_j are multiplied by these
    numbers and added up.
    """
    assert isinstance(matrix, HybridMatrix)
    groups, blocks = matrix.groups, len(matrix.left)
    dense_rows, columns, right = (_array(part) for part in matrix.parts())
    rows = np.zeros((groups, blocks, matrix.columns), np.float32)
    for j, (begin, end) in enumerate(block_edges(matrix.columns, blocks)):
        rows[:, j, begin:end] = right[:, begin:end]
    stacked = np.concatenate([dense_rows, rows.transpose(1, 0, 2).reshape(-1, matrix.columns)])
    count = len(dense_rows)
    products = np.empty(len(stacked), np.float32)
    scales = products[count:].reshape(blocks, groups, 1)
    bottom, block = np.empty(columns.shape[1:], np.float32), np.empty(columns.shape[1:], np.float32)

    def call() -> tuple[Array, Array]:
        np.dot(stacked, x, out=products)
        np.multiply(scales[0], columns[0], out=bottom)
        for j in range(1, blocks):
            np.multiply(scales[j], columns[j], out=block)
            np.add(bottom, block, out=bottom)
        return products[:count], bottom

    return call


def _low_rank(matrix: Factors, x: Array) -> Call:
    assert isinstance(matrix, LowRankMatrix)
    left, right = (_array(part) for part in matrix.parts())
    rank = left.shape[2]
    inner = np.empty(len(right), np.float32)
    column = inner.reshape(matrix.groups, rank)
    out = np.empty((matrix.groups, matrix.rows), np.float32)

    def call() -> Array:
        np.dot(right, x, out=inner)
        for g in range(len(left)):
            np.dot(left[g], column[g], out=out[g])
        return out

    return call


def _pruned(matrix: Factors, x: Array) -> Call:
    from scipy.sparse import csr_array

    sparse = csr_array(_array(matrix.eval().dense()))
    return lambda: sparse @ x


_CALLS: Mapping[type[Factors], Callable[[Factors, Array], Call]] = {
    HybridMatrix: _hybrid,
    LowRankMatrix: _low_rank,
    PrunedMatrix: _pruned,
}
RUNTIMES: Mapping[str, Runtime] = {KERNELS: kernel_steps, PRODUCTS: numpy_products}


def measure(networks: Mapping[str, nn.Module], runtime: str, rounds: int = ROUNDS) -> dict[str, Timing]:
    """Return the time of one step of each network; the networks are timed in turn: A B C A B C ...

    Args:
        networks: the networks of one task, by name.
        runtime: key of :data:`RUNTIMES`.
        rounds: number of turns of each network.
    """
    return interleaved({name: _step(net, RUNTIMES[runtime]) for name, net in networks.items()}, rounds, samples=SAMPLES)


def _step(network: nn.Module, runtime: Runtime) -> Call:
    calls = [call for layer in recurrent(network) for call in runtime(layer)]

    def step() -> None:
        for call in calls:
            call()

    return step


def recurrent(network: nn.Module) -> list[FactoredRNN]:
    """Return the recurrent layers of a network as factored layers; a dense matrix becomes a single factor."""
    layers = []
    for module in network.modules():
        if isinstance(module, nn.RNNBase):
            module = replace_layer(module, Factors)
        if isinstance(module, FactoredRNN):
            layers.append(module)
    return layers


def _array(tensor: object) -> Array:
    return np.ascontiguousarray(tensor.detach().numpy())  # type: ignore[attr-defined]
