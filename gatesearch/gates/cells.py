"""The matrices of linear and recurrent layers, for the gate kinds that make them smaller.

The kinds ``hmd`` (hybrid matrices), ``lmf`` (low-rank matrices) and ``pruned`` (pruned matrices) share the parameters
and functions of this module.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from gatesearch.gates.matrices import count_dense_rows, hybrid_parameters
from gatesearch.gates.params import GateParams, param
from gatesearch.gates.work import Call, LayerWork
from gatesearch.graph.sites import LayerSite

GROUPS = {"lstm": 4, "gru": 3, "linear": 1}  # number of matrices stacked in a layer's weight, by operation
FACTORS = (4, 3, 2)  # compressions that a search tries, from the strongest
BITS = (8, 8)  # bits of the magnitude of an activation and of a weight


@dataclass(frozen=True)
class FactorParams(GateParams):
    """Parameters of every gate kind that makes matrices smaller."""

    factor: float = param(2.0, choices=FACTORS, above=1, doc="how many times fewer parameters the matrices have")


def start_param() -> Any:
    """Declare the parameter ``init``: whether factors start fitted to the trained layer, or random as in the papers.

    The biases start as in the trained layer in both cases.
    """
    return param(
        "fitted", choices=("fitted", "random"), among=("fitted", "random"), doc="how the factors are initialised"
    )


class Cell(NamedTuple):
    """The sizes of the matrices of one layer in one direction.

    There are ``groups`` matrices for each entry of ``columns``, each [rows, columns]. A recurrent layer has two
    entries, for its input and its state; a linear layer has one.
    """

    groups: int
    rows: int
    columns: tuple[int, ...]

    @property
    def dense(self) -> int:
        """Number of parameters of the dense matrices."""
        return self.groups * self.rows * sum(self.columns)

    def dense_rows(self, factor: float, blocks: int) -> int:
        """Return the largest number of dense rows with which hybrid matrices reach the compression ``factor``."""
        return count_dense_rows(self.rows, sum(self.columns), sum(min(blocks, n) for n in self.columns), factor)

    def hybrid(self, dense_rows: int, blocks: int) -> int:
        """Return the number of parameters of hybrid matrices with ``dense_rows`` dense rows each."""
        return self.groups * sum(hybrid_parameters(self.rows, n, dense_rows, min(blocks, n)) for n in self.columns)


def has_matrices(site: LayerSite) -> bool:
    """Say whether a layer multiplies by matrices that can be factored or pruned."""
    return site.op in GROUPS


def cells(site: LayerSite) -> list[Cell]:
    """Return the matrices of a layer site: one cell for each stacked layer and direction, in PyTorch's order.

    >>> cells(LayerSite("rnn", "lstm", (7, 10), (7, 16), 0, 0, depth=2, directions=2))[1:3]
    [Cell(groups=4, rows=8, columns=(10, 8)), Cell(groups=4, rows=8, columns=(16, 8))]
    """
    groups, inputs, outputs = GROUPS[site.op], site.shape_in[-1], site.shape[-1]
    if site.op == "linear":
        return [Cell(groups, outputs, (inputs,))]
    rows = outputs // site.directions
    return [
        Cell(groups, rows, (n, rows)) for n in (inputs, *[outputs] * (site.depth - 1)) for _ in range(site.directions)
    ]


def count_compressed_work(site: LayerSite, parameters: int) -> LayerWork:
    """Return the work of a layer whose matrices are replaced by smaller ones with ``parameters`` parameters in all."""
    dense = sum(cell.dense for cell in cells(site))
    stored = 1 - (dense - parameters) / site.params
    return LayerWork(calls=(Call(BITS, size=parameters / dense),), macs=0.0, params=0, density=1.0, stored=stored)
