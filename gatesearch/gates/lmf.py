"""Low-rank matrix factorisation: the rival of hybrid matrices. After Grachev et al. 2017.

Every matrix, for input and state and for each gate of a recurrent layer, is a product of two with rank d between them.
At equal parameters its rank is half of a hybrid matrix's, and its two products wait for each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor, nn

from gatesearch.errors import UserError, unknown
from gatesearch.gates.base import KernelCall, LayerWork
from gatesearch.gates.factored import FactoredLinear, FactoredRNN, in_place_of
from gatesearch.gates.hmd import FACTORS, STARTS, cells, factor_of, is_site, smaller, where_of
from gatesearch.gates.matrices import Factors, LowRankMatrix, low_rank
from gatesearch.graph.sites import LayerSite, Site
from gatesearch.plan import PlacedGate, Scalar


class LMF:
    """The kind: ``factor`` times fewer parameters in the matrices; ``init`` the best approximation, or chance."""

    name = "lmf"

    def may_go(self, site: Site) -> bool:
        """An LSTM, a GRU or a linear layer whose matrices leave a rank of 1 at four times fewer parameters."""
        return is_site(site) and all(low_rank(c.rows, n, max(FACTORS)) >= 1 for c in cells(site) for n in c.columns)

    def space(self, site: Site) -> Mapping[str, Sequence[Scalar]]:
        """Two to four times fewer parameters; a fitted start or chance."""
        return {"factor": FACTORS, "init": STARTS}

    def replace(
        self, site: LayerSite, placed: PlacedGate, layer: nn.Module, norm: nn.BatchNorm2d | None = None
    ) -> FactoredRNN | FactoredLinear:
        """Build the module; a batch normalisation behind it stays where it is."""
        factor, init = _checked(site, placed)

        def build(weight: Tensor, groups: int) -> Factors:
            matrix = LowRankMatrix(weight, groups, low_rank(len(weight) // groups, weight.shape[1], factor))
            if init == "random":
                matrix.redraw(float(weight.std()))
            return matrix

        return in_place_of(layer, build)

    def work_left(self, site: LayerSite, placed: PlacedGate, observed: Mapping[str, float] | None = None) -> LayerWork:
        """Less of the same everywhere; nothing hangs on the data."""
        factor, _ = _checked(site, placed)
        kept = sum(c.groups * (c.rows + n) * low_rank(c.rows, n, factor) for c in cells(site) for n in c.columns)
        # A linear layer is dense products anywhere.
        kernels = tuple(
            KernelCall(f"{site.op}_lmf", (site.shape_in[0], c.columns[0], c.rows), (), (("kept", 1 / factor),))
            for c in cells(site)
            if site.op != "linear"
        )
        return replace(smaller(site, kept), kernels=kernels)


def _checked(site: LayerSite, placed: PlacedGate) -> tuple[float, str]:
    params = factor_of(placed, {"init": STARTS[0]})
    factor, init = params["factor"], params["init"]
    if init not in STARTS:
        raise unknown(f"{where_of(placed)}: init", "start", str(init), STARTS)
    if any(low_rank(cell.rows, n, factor) < 1 for cell in cells(site) for n in cell.columns):
        raise UserError(f"{where_of(placed)}: factor: {factor!r} leaves no rank in {list(site.shape)}")
    return float(factor), init
