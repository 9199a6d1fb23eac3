"""Hybrid matrix decomposition (HMD): matrices with a few dense rows, and rank-1 blocks below them.

The technique is that of Thakker et al. 2019. Only the abstracts of the papers (arXiv 1906.04886 and 2010.03193) were
available; the factors agree with both. :class:`gatesearch.gates.matrices.HybridMatrix` holds the factors.

In a recurrent layer, a cell has a matrix for each of its own gates, such as an LSTM's forget gate. All these matrices,
for input and state, have the same number r of dense rows. So the first r hidden units, the "rich" ones, read the whole
input. If the matrices have two blocks, every other unit reads only two weighted sums of the input for each gate. All
products stay dense and have fewer numbers. So every core is faster, even without a kernel that skips work.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor, nn

from gatesearch.gates.cells import FACTORS, FactorParams, cells, count_compressed_work, has_matrices, start_param
from gatesearch.gates.factored import FactoredLinear, FactoredRNN, replace_layer
from gatesearch.gates.kind import GateKind
from gatesearch.gates.matrices import Factors, HybridMatrix
from gatesearch.gates.params import GateError, param
from gatesearch.gates.work import KernelCall, LayerWork
from gatesearch.graph.sites import LayerSite

BLOCK_CHOICES = (4, 1, 2)


@dataclass(frozen=True)
class HMDParams(FactorParams):
    """Parameters of an ``hmd`` gate."""

    blocks: int = param(
        2, choices=BLOCK_CHOICES, low=1, doc="number of rank-1 blocks side by side (J in the papers, which use 2)"
    )
    init: str = start_param()


class HMD(GateKind[LayerSite, HMDParams]):
    """The gate kind ``hmd``, for LSTMs, GRUs and linear layers.

    With ``init`` "fitted", the dense rows start as the first rows of the trained matrix. Each block starts as the best
    rank-1 approximation of the elements that it replaces.
    """

    name = "hmd"
    site_type = LayerSite
    Params = HMDParams

    def fits(self, site: LayerSite) -> bool:
        """Say whether every matrix has at least one dense row for every choice of parameters."""
        return has_matrices(site) and all(
            cell.dense_rows(max(FACTORS), max(BLOCK_CHOICES)) >= 1 for cell in cells(site)
        )

    def check(self, site: LayerSite, params: HMDParams) -> None:
        """Check that every matrix has at least one dense row at this compression.

        Raises:
            GateError: a matrix has no dense row.
        """
        if any(cell.dense_rows(params.factor, params.blocks) < 1 for cell in cells(site)):
            blocks, shape = params.blocks, list(site.shape)
            raise GateError(f"factor: {params.factor!r} leaves no dense row with {blocks} blocks in {shape}")

    def build(
        self, site: LayerSite, params: HMDParams, layer: nn.Module | None = None, norm: nn.BatchNorm2d | None = None
    ) -> FactoredRNN | FactoredLinear:
        """Build the module; a batch normalisation behind the layer stays where it is."""
        # `factors` is called cell after cell; in a recurrent layer first for the input, then for the state.
        dense_rows = iter([cell.dense_rows(params.factor, params.blocks) for cell in cells(site) for _ in cell.columns])

        def factors(weight: Tensor, groups: int) -> Factors:
            matrix = HybridMatrix(weight, groups, next(dense_rows), min(params.blocks, weight.shape[1]))
            if params.init == "random":
                matrix.redraw(float(weight.std()))
            return matrix

        return replace_layer(layer, factors)

    def work(self, site: LayerSite, params: HMDParams, observed: Mapping[str, float] | None = None) -> LayerWork:
        """Return the work of a smaller dense layer, which does not depend on the data."""
        factor, blocks = params.factor, params.blocks
        parameters = sum(cell.hybrid(cell.dense_rows(factor, blocks), blocks) for cell in cells(site))
        return replace(count_compressed_work(site, parameters), kernels=_kernels(site, factor, blocks))


def _kernels(site: LayerSite, factor: float, blocks: int) -> tuple[KernelCall, ...]:
    """Return the kernel calls of a recurrent layer's cells; none for a linear layer, which needs only products."""
    if site.op == "linear":
        return ()
    return tuple(
        KernelCall(
            site.op,
            (site.shape_in[0], cell.columns[0], cell.rows),
            (("parts", min(blocks, *cell.columns)),),
            (("rich", cell.dense_rows(factor, blocks) / cell.rows),),
        )
        for cell in cells(site)
    )
