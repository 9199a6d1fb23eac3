"""Hybrid matrix decomposition: matrices of a few dense rows over rank-1 blocks. After Thakker et al. 2019.

The papers (arXiv 1906.04886 and 2010.03193) could be read in their abstracts only; the factors are those of section 4.1
of the specification, which agree with both. Of a recurrent layer the matrices of all gates, for input and state, have
the same number of dense rows, so that the first r hidden units see all of their input ("rich") and the others only two
sums of it a gate. All of it is dense arithmetic on fewer numbers: no core needs to skip anything to be faster.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from torch import Tensor, nn

from gatesearch.errors import UserError, unknown
from gatesearch.gates.base import Call, KernelCall, LayerWork
from gatesearch.gates.factored import FactoredLinear, FactoredRNN, in_place_of
from gatesearch.gates.matrices import Factors, HybridMatrix, hybrid_parameters, rich_rows
from gatesearch.graph.sites import LayerSite, Site
from gatesearch.plan import PlacedGate, Scalar

GROUPS = {"lstm": 4, "gru": 3, "linear": 1}  # matrices on each other in a layer's weight, by operation
FACTORS = (4, 3, 2)  # from strong to gentle
BLOCKS = 2  # as in the papers
BLOCK_CHOICES = (4, 1, BLOCKS)
STARTS = ("fitted", "random")
BITS = (8, 8)


class HMD:
    """The kind: ``factor`` times fewer parameters in the matrices, ``blocks`` J side by side, ``init`` where to start.

    ``fitted`` starts from the trained layer: its first rows, and the best rank-1 matrix for each block of the others.
    ``random`` starts the factors anew, as the papers do; biases stay.
    """

    name = "hmd"

    def may_go(self, site: Site) -> bool:
        """An LSTM, a GRU or a linear layer that keeps a dense row whatever the choices."""
        return is_site(site) and all(cell.rich(max(FACTORS), max(BLOCK_CHOICES)) >= 1 for cell in cells(site))

    def space(self, site: Site) -> Mapping[str, Sequence[Scalar]]:
        """Two to four times fewer parameters; the papers' two blocks, or another number; a fitted start or chance."""
        return {"factor": FACTORS, "blocks": BLOCK_CHOICES, "init": STARTS}

    def replace(
        self, site: LayerSite, placed: PlacedGate, layer: nn.Module, norm: nn.BatchNorm2d | None = None
    ) -> FactoredRNN | FactoredLinear:
        """Build the module; a batch normalisation behind it stays where it is."""
        factor, blocks, init = _checked(site, placed)
        # Matrices are asked for in the order of the cells, of a recurrent layer those for input and state in turn.
        rich = iter([cell.rich(factor, blocks) for cell in cells(site) for _ in cell.columns])

        def build(weight: Tensor, groups: int) -> Factors:
            matrix = HybridMatrix(weight, groups, next(rich), min(blocks, weight.shape[1]))
            if init == "random":
                matrix.redraw(float(weight.std()))
            return matrix

        return in_place_of(layer, build)

    def work_left(self, site: LayerSite, placed: PlacedGate, observed: Mapping[str, float] | None = None) -> LayerWork:
        """Less of the same everywhere; nothing hangs on the data."""
        factor, blocks, _ = _checked(site, placed)
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


def is_site(site: Site) -> bool:
    """Say whether a layer multiplies by matrices that can have less in them."""
    return isinstance(site, LayerSite) and site.op in GROUPS


def cells(site: Site) -> list[Cell]:
    """Return the matrices of a layer site, layer by layer and direction by direction.

    >>> cells(LayerSite("rnn", "lstm", (7, 10), (7, 16), 0, 0, depth=2, directions=2))[1:3]
    [Cell(groups=4, rows=8, columns=(10, 8)), Cell(groups=4, rows=8, columns=(16, 8))]
    """
    assert isinstance(site, LayerSite)
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
    return LayerWork((Call(BITS, size=kept / dense),), macs=0.0, params=0, density=1.0, stored=stored)


def factor_of(placed: PlacedGate, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return a gate's parameters, ``factor`` among them, with the defaults of those that are not given.

    Raises:
        UserError: a parameter is unknown, or the factor is no number above 1.
    """
    where = where_of(placed)
    params: dict[str, Any] = {"factor": min(FACTORS), **defaults}
    for key, value in placed.params:
        if key not in params:
            raise unknown(where, "parameter", key, params)
        params[key] = value
    factor = params["factor"]
    if isinstance(factor, bool) or not isinstance(factor, int | float) or not 1 < factor < math.inf:
        raise UserError(f"{where}: factor: {factor!r} is no number above 1")
    return params


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


def where_of(placed: PlacedGate) -> str:
    """Say which gate an error is about."""
    return f"{placed.kind} gate at {placed.site}"


def _checked(site: LayerSite, placed: PlacedGate) -> tuple[float, int, str]:
    params = factor_of(placed, {"blocks": BLOCKS, "init": STARTS[0]})
    factor, blocks, init = params["factor"], params["blocks"], params["init"]
    where = where_of(placed)
    if isinstance(blocks, bool) or not isinstance(blocks, int) or blocks < 1:
        raise UserError(f"{where}: blocks: {blocks!r} is no whole number from 1")
    if init not in STARTS:
        raise unknown(f"{where}: init", "start", str(init), STARTS)
    if any(cell.rich(factor, blocks) < 1 for cell in cells(site)):
        raise UserError(f"{where}: factor: {factor!r} leaves no dense row with {blocks} blocks in {list(site.shape)}")
    return float(factor), blocks, init
