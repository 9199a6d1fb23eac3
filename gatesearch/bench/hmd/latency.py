"""Products of one step of a recurrent layer, batch 1, measured side by side on this host.

What is timed is what the methods differ in: all matrices of one step, for input and state, of every layer and
direction. Sigmoids and additions are the same for all and left out. A *runtime* turns factors into a call; kernels of
one's own are another entry of :data:`RUNTIMES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
from torch import nn

from gatesearch.gates.factored import FactoredRNN, in_place_of
from gatesearch.gates.matrices import Factors, HybridMatrix, LowRankMatrix, PrunedMatrix, block_edges
from gatesearch.hardware.timing import Timing, interleaved

Array = npt.NDArray[np.float32]
Call = Callable[[], object]
Runtime = Callable[[Factors], Call]
ROUNDS = 31


def numpy_call(matrix: Factors) -> Call:
    """Return the product in NumPy, one BLAS call a factor; a pruned matrix is CSR in SciPy."""
    return _CALLS.get(type(matrix), _dense)(matrix, _vector(matrix))


def _vector(matrix: Factors) -> Array:
    return np.random.default_rng(0).standard_normal(matrix.columns).astype(np.float32)


def _dense(matrix: Factors, x: Array) -> Call:
    weight, out = _array(matrix.dense()), np.empty(matrix.groups * matrix.rows, np.float32)
    return lambda: np.dot(weight, x, out=out)


def _hybrid(matrix: Factors, x: Array) -> Call:
    """[A ; rows of c] of all gates as one product, then J scaled additions."""
    assert isinstance(matrix, HybridMatrix)
    groups, blocks = matrix.groups, len(matrix.left)
    rich, left, right = (_array(part) for part in matrix.parts())
    rows = np.zeros((groups, blocks, matrix.columns), np.float32)
    for j, (begin, end) in enumerate(block_edges(matrix.columns, blocks)):
        rows[:, j, begin:end] = right[:, begin:end]
    stacked = np.concatenate([rich, rows.transpose(1, 0, 2).reshape(-1, matrix.columns)])
    count = len(rich)
    products = np.empty(len(stacked), np.float32)
    scales = products[count:].reshape(blocks, groups, 1)
    bottom, more = np.empty(left.shape[1:], np.float32), np.empty(left.shape[1:], np.float32)

    def call() -> tuple[Array, Array]:
        np.dot(stacked, x, out=products)
        np.multiply(scales[0], left[0], out=bottom)
        for j in range(1, blocks):
            np.multiply(scales[j], left[j], out=more)
            np.add(bottom, more, out=bottom)
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
RUNTIMES: Mapping[str, Runtime] = {"NumPy and SciPy": numpy_call}


def measure(networks: Mapping[str, nn.Module], runtime: str, rounds: int = ROUNDS) -> dict[str, Timing]:
    """Time one step of each network in turn, A B C A B C ...

    Args:
        networks: by name, of one task.
        runtime: key of :data:`RUNTIMES`.
        rounds: how often each has its turn.
    """
    return interleaved({name: _step(net, RUNTIMES[runtime]) for name, net in networks.items()}, rounds)


def _step(network: nn.Module, runtime: Runtime) -> Call:
    calls = [runtime(matrix) for layer in recurrent(network) for matrix in layer.matrices()]

    def step() -> None:
        for call in calls:
            call()

    return step


def recurrent(network: nn.Module) -> list[FactoredRNN]:
    """Return the recurrent layers of a network, dense ones as factors of themselves."""
    found = []
    for module in network.modules():
        if isinstance(module, nn.RNNBase):
            module = in_place_of(module, Factors)
        if isinstance(module, FactoredRNN):
            found.append(module)
    return found


def _array(tensor: object) -> Array:
    return np.ascontiguousarray(tensor.detach().numpy())  # type: ignore[attr-defined]
