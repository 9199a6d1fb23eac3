"""Low-rank matrix factorisation (LMF) of linear and recurrent layers.

The technique is that of Grachev et al. 2017. Hybrid matrices (:mod:`gatesearch.gates.hmd`) are compared with it. Every
matrix [m, n] becomes a product of two matrices [m, d] and [d, n]. A hybrid matrix with as many parameters has about
twice the rank. A layer multiplies by the second matrix first, and the product with the first matrix has to wait for the
result.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor, nn

from gatesearch.gates.cells import FACTORS, FactorParams, cells, count_compressed_work, has_matrices, start_param
from gatesearch.gates.factored import FactoredLinear, FactoredRNN, replace_layer
from gatesearch.gates.kind import GateKind
from gatesearch.gates.matrices import Factors, LowRankMatrix, low_rank
from gatesearch.gates.params import GateError
from gatesearch.gates.work import KernelCall, LayerWork
from gatesearch.graph.sites import LayerSite


@dataclass(frozen=True)
class LMFParams(FactorParams):
    """Parameters of an ``lmf`` gate."""

    init: str = start_param()


class LMF(GateKind[LayerSite, LMFParams]):
    """The gate kind ``lmf``, for LSTMs, GRUs and linear layers.

    With ``init`` "fitted", the factors start as the best approximation of the trained matrices.
    """

    name = "lmf"
    site_type = LayerSite
    Params = LMFParams

    def fits(self, site: LayerSite) -> bool:
        """Say whether every matrix has a rank of at least 1 for every choice of parameters."""
        return has_matrices(site) and _least_rank(site, max(FACTORS)) >= 1

    def check(self, site: LayerSite, params: LMFParams) -> None:
        """Check that every matrix has a rank of at least 1 at this compression.

        Raises:
            GateError: a matrix would have a rank of 0.
        """
        if _least_rank(site, params.factor) < 1:
            raise GateError(f"factor: {params.factor!r} leaves no rank in {list(site.shape)}")

    def build(
        self, site: LayerSite, params: LMFParams, layer: nn.Module | None = None, norm: nn.BatchNorm2d | None = None
    ) -> FactoredRNN | FactoredLinear:
        """Build the module; a batch normalisation behind the layer stays where it is."""

        def factors(weight: Tensor, groups: int) -> Factors:
            rank = low_rank(len(weight) // groups, weight.shape[1], params.factor)
            matrix = LowRankMatrix(weight, groups, rank)
            if params.init == "random":
                matrix.redraw(float(weight.std()))
            return matrix

        return replace_layer(layer, factors)

    def work(self, site: LayerSite, params: LMFParams, observed: Mapping[str, float] | None = None) -> LayerWork:
        """Return the work of a smaller dense layer; nothing depends on the data."""
        parameters = sum(
            cell.groups * (cell.rows + columns) * low_rank(cell.rows, columns, params.factor)
            for cell in cells(site)
            for columns in cell.columns
        )
        # A linear layer needs no kernel of ours: two dense products compute it on any core.
        kernels = tuple(
            KernelCall(
                kernel=f"{site.op}_lmf",
                shape=(site.shape_in[0], cell.columns[0], cell.rows),
                remaining=(("kept", 1 / params.factor),),
            )
            for cell in cells(site)
            if site.op != "linear"
        )
        return replace(count_compressed_work(site, parameters), kernels=kernels)


def _least_rank(site: LayerSite, factor: float) -> int:
    """Return the smallest rank that a compression leaves in a matrix of the layer."""
    return min(low_rank(cell.rows, columns, factor) for cell in cells(site) for columns in cell.columns)
