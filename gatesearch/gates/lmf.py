"""Low-rank matrix factorisation, a reference for hybrid matrices. After Grachev et al. 2017.

Every matrix, for input and state and for each gate of a recurrent layer, is a product of two with rank d between them.
At equal parameters its rank is half of a hybrid matrix's, and its two products wait for each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor, nn

from gatesearch.gates.cells import FACTORS, FactorParams, cells, has_matrices, smaller, start_param
from gatesearch.gates.factored import FactoredLinear, FactoredRNN, in_place_of
from gatesearch.gates.kind import GateKind
from gatesearch.gates.matrices import Factors, LowRankMatrix, low_rank
from gatesearch.gates.params import GateError
from gatesearch.gates.work import KernelCall, LayerWork
from gatesearch.graph.sites import LayerSite


@dataclass(frozen=True)
class LMFParams(FactorParams):
    """Parameters of one gate."""

    init: str = start_param()


class LMF(GateKind[LayerSite, LMFParams]):
    """The kind: an LSTM, a GRU or a linear layer; a fitted start is the best approximation of the trained layer."""

    name = "lmf"
    site_type = LayerSite
    Params = LMFParams

    def fits(self, site: LayerSite) -> bool:
        """Say whether the matrices leave a rank of 1 whatever the choices."""
        return has_matrices(site) and _least_rank(site, max(FACTORS)) >= 1

    def check(self, site: LayerSite, params: LMFParams) -> None:
        """Refuse a compression that leaves no rank."""
        if _least_rank(site, params.factor) < 1:
            raise GateError(f"factor: {params.factor!r} leaves no rank in {list(site.shape)}")

    def build(
        self, site: LayerSite, params: LMFParams, layer: nn.Module | None = None, norm: nn.BatchNorm2d | None = None
    ) -> FactoredRNN | FactoredLinear:
        """Build the module; a batch normalisation behind it stays where it is."""

        def factors(weight: Tensor, groups: int) -> Factors:
            rank = low_rank(len(weight) // groups, weight.shape[1], params.factor)
            matrix = LowRankMatrix(weight, groups, rank)
            if params.init == "random":
                matrix.redraw(float(weight.std()))
            return matrix

        return in_place_of(layer, factors)

    def work(self, site: LayerSite, params: LMFParams, observed: Mapping[str, float] | None = None) -> LayerWork:
        """Return the work of a smaller dense layer; nothing depends on the data."""
        parameters = sum(
            cell.groups * (cell.rows + columns) * low_rank(cell.rows, columns, params.factor)
            for cell in cells(site)
            for columns in cell.columns
        )
        # A linear layer is dense products anywhere.
        kernels = tuple(
            KernelCall(
                kernel=f"{site.op}_lmf",
                shape=(site.shape_in[0], cell.columns[0], cell.rows),
                left=(("kept", 1 / params.factor),),
            )
            for cell in cells(site)
            if site.op != "linear"
        )
        return replace(smaller(site, parameters), kernels=kernels)


def _least_rank(site: LayerSite, factor: float) -> int:
    """Return the smallest rank that a compression leaves in a matrix of the layer."""
    return min(low_rank(cell.rows, columns, factor) for cell in cells(site) for columns in cell.columns)
