"""The matrices of linear and recurrent layers, and the parameters and work that all kinds which shrink them share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from gatesearch.gates.matrices import hybrid_parameters, rich_rows
from gatesearch.gates.params import GateParams, param
from gatesearch.gates.work import Call, LayerWork
from gatesearch.graph.sites import LayerSite

GROUPS = {"lstm": 4, "gru": 3, "linear": 1}  # matrices stacked in a layer's weight, by operation
FACTORS = (4, 3, 2)  # from strong to gentle
BITS = (8, 8)


@dataclass(frozen=True)
class FactorParams(GateParams):
    """Parameters of every kind that shrinks matrices."""

    factor: float = param(2.0, choices=FACTORS, above=1, doc="how many times fewer parameters the matrices have")


def start_param() -> Any:
    """Declare the start of the factors: fitted to the trained layer, or random as in the papers; biases stay."""
    return param("fitted", choices=("fitted", "random"), among=("fitted", "random"), doc="where the factors start")


class Cell(NamedTuple):
    """The matrices of one layer and direction: ``groups`` with ``rows`` each, by ``columns`` of input and state."""

    groups: int
    rows: int
    columns: tuple[int, ...]

    @property
    def dense(self) -> int:
        """Parameters of the dense matrices."""
        return self.groups * self.rows * sum(self.columns)

    def rich(self, factor: float, blocks: int) -> int:
        """Return the dense rows that every matrix has at a compression."""
        return rich_rows(self.rows, sum(self.columns), sum(min(blocks, n) for n in self.columns), factor)

    def hybrid(self, rich: int, blocks: int) -> int:
        """Return the parameters with a number of dense rows."""
        return self.groups * sum(hybrid_parameters(self.rows, n, rich, min(blocks, n)) for n in self.columns)


def has_matrices(site: LayerSite) -> bool:
    """Say whether a layer multiplies by matrices that can be factored or pruned."""
    return site.op in GROUPS


def cells(site: LayerSite) -> list[Cell]:
    """Return the matrices of a layer site, layer by layer and direction by direction.

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


def smaller(site: LayerSite, parameters: int) -> LayerWork:
    """Return the work of a layer whose matrices have fewer ``parameters``, each multiplied as often as before."""
    dense = sum(cell.dense for cell in cells(site))
    stored = 1 - (dense - parameters) / site.params
    return LayerWork(calls=(Call(BITS, size=parameters / dense),), macs=0.0, params=0, density=1.0, stored=stored)
