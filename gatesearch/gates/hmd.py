"""Hybrid matrix decomposition: matrices of a few dense rows over rank-1 blocks. After Thakker et al. 2019.

The papers (arXiv 1906.04886 and 2010.03193) could be read in their abstracts only; the factors are those of section 4.1
of the specification, which agree with both. Of a recurrent layer the matrices of all gates, for input and state, have
the same number of dense rows, so that the first r hidden units see all of their input ("rich") and the others only two
sums of it a gate. All of it is dense arithmetic on fewer numbers: no core needs to skip anything to be faster.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from torch import Tensor, nn

from gatesearch.gates.base import Call, KernelCall, LayerWork
from gatesearch.gates.factored import FactoredLinear, FactoredRNN, in_place_of
from gatesearch.gates.kind import GateKind
from gatesearch.gates.matrices import Factors, HybridMatrix, hybrid_parameters, rich_rows
from gatesearch.gates.params import GateError, GateParams, param
from gatesearch.graph.sites import LayerSite

GROUPS = {"lstm": 4, "gru": 3, "linear": 1}  # matrices on each other in a layer's weight, by operation
FACTORS = (4, 3, 2)  # from strong to gentle
BLOCK_CHOICES = (4, 1, 2)
BITS = (8, 8)


@dataclass(frozen=True)
class FactorParams(GateParams):
    """What all kinds that leave less in a matrix have in common."""

    factor: float = param(2.0, choices=FACTORS, above=1, doc="how many times fewer parameters the matrices have")


def start_param() -> Any:
    """Declare where factors start: from the trained layer, or from chance, as the papers do; biases stay."""
    return param("fitted", choices=("fitted", "random"), among=("fitted", "random"), doc="where the factors start")


@dataclass(frozen=True)
class HMDParams(FactorParams):
    """What is chosen for one gate."""

    blocks: int = param(2, choices=BLOCK_CHOICES, low=1, doc="J, rank-1 blocks side by side; 2 as in the papers")
    init: str = start_param()


class HMD(GateKind[LayerSite, HMDParams]):
    """The kind: an LSTM, a GRU or a linear layer.

    A fitted start is the trained layer's first rows, and the best rank-1 matrix for each block of the others.
    """

    name = "hmd"
    site_type = LayerSite
    Params = HMDParams

    def fits(self, site: LayerSite) -> bool:
        """Say whether the layer keeps a dense row whatever the choices."""
        return has_matrices(site) and all(cell.rich(max(FACTORS), max(BLOCK_CHOICES)) >= 1 for cell in cells(site))

    def check(self, site: LayerSite, params: HMDParams) -> None:
        """Refuse a compression that leaves no dense row."""
        if any(cell.rich(params.factor, params.blocks) < 1 for cell in cells(site)):
            blocks, shape = params.blocks, list(site.shape)
            raise GateError(f"factor: {params.factor!r} leaves no dense row with {blocks} blocks in {shape}")

    def build(
        self, site: LayerSite, params: HMDParams, layer: nn.Module | None = None, norm: nn.BatchNorm2d | None = None
    ) -> FactoredRNN | FactoredLinear:
        """Build the module; a batch normalisation behind it stays where it is."""
        # Matrices are asked for in the order of the cells, of a recurrent layer those for input and state in turn.
        rich = iter([cell.rich(params.factor, params.blocks) for cell in cells(site) for _ in cell.columns])

        def factors(weight: Tensor, groups: int) -> Factors:
            matrix = HybridMatrix(weight, groups, next(rich), min(params.blocks, weight.shape[1]))
            if params.init == "random":
                matrix.redraw(float(weight.std()))
            return matrix

        return in_place_of(layer, factors)

    def work(self, site: LayerSite, params: HMDParams, observed: Mapping[str, float] | None = None) -> LayerWork:
        """Return less of the same everywhere; nothing hangs on the data."""
        factor, blocks = params.factor, params.blocks
        kept = sum(cell.hybrid(cell.rich(factor, blocks), blocks) for cell in cells(site))
        return replace(smaller(site, kept), kernels=_kernels(site, factor, blocks))


class Cell(NamedTuple):
    """The matrices of one layer and direction: so many gates with ``rows`` each, by ``columns`` of input and state."""

    groups: int
    rows: int
    columns: tuple[int, ...]

    @property
    def dense(self) -> int:
        """Parameters of the matrices as they are."""
        return self.groups * self.rows * sum(self.columns)

    def rich(self, factor: float, blocks: int) -> int:
        """Return the dense rows that every matrix has at a compression."""
        return rich_rows(self.rows, sum(self.columns), sum(min(blocks, n) for n in self.columns), factor)

    def hybrid(self, rich: int, blocks: int) -> int:
        """Return the parameters with so many dense rows."""
        return self.groups * sum(hybrid_parameters(self.rows, n, rich, min(blocks, n)) for n in self.columns)


def has_matrices(site: LayerSite) -> bool:
    """Say whether a layer multiplies by matrices that can have less in them."""
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


def smaller(site: LayerSite, kept: int) -> LayerWork:
    """Return the work of a layer whose matrices keep so many of their parameters, each of them multiplied as before."""
    dense = sum(cell.dense for cell in cells(site))
    stored = 1 - (dense - kept) / site.params
    return LayerWork(calls=(Call(BITS, size=kept / dense),), macs=0.0, params=0, density=1.0, stored=stored)


def _kernels(site: LayerSite, factor: float, blocks: int) -> tuple[KernelCall, ...]:
    """Return the runs of a recurrent layer's cells; none for a linear layer, which is dense products anywhere."""
    if site.op == "linear":
        return ()
    return tuple(
        KernelCall(
            site.op,
            (site.shape_in[0], cell.columns[0], cell.rows),
            (("parts", min(blocks, *cell.columns)),),
            (("rich", cell.rich(factor, blocks) / cell.rows),),
        )
        for cell in cells(site)
    )
