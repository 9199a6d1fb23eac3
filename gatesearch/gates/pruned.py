"""Magnitude pruning of linear and recurrent layers, a method with which hybrid matrices are compared.

The technique is that of Zhu and Gupta 2017 (arXiv 1710.01878). Training sets the smallest elements of the matrices to
zero, along a cubic schedule. The remaining elements form no pattern. So only a core that reads an index for each
element can skip the zeros. The indices need memory, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import nn

from gatesearch.gates.cells import BITS, FactorParams, cells, count_compressed_work, has_matrices
from gatesearch.gates.factored import FactoredLinear, FactoredRNN, replace_layer
from gatesearch.gates.kind import GateKind
from gatesearch.gates.matrices import PrunedMatrix
from gatesearch.gates.work import Call, LayerWork
from gatesearch.graph.sites import LayerSite

SKIP = "weight"
BYTES_A_WEIGHT = 3  # an int8 value and its column in 16 bits


class Pruned(GateKind[LayerSite, FactorParams]):
    """The gate kind ``pruned``, for LSTMs, GRUs and linear layers.

    A share of 1 / ``factor`` of the elements remains. It is counted over a whole stack of matrices, such as those of an
    LSTM's four gates.
    """

    name = "pruned"
    site_type = LayerSite
    Params = FactorParams

    def fits(self, site: LayerSite) -> bool:
        """Say whether the layer multiplies by matrices."""
        return has_matrices(site)

    def build(
        self, site: LayerSite, params: FactorParams, layer: nn.Module | None = None, norm: nn.BatchNorm2d | None = None
    ) -> FactoredRNN | FactoredLinear:
        """Build the module; before training it computes the same as the layer that it replaces."""
        return replace_layer(layer, lambda weight, groups: PrunedMatrix(weight, groups, 1 / params.factor))

    def work(self, site: LayerSite, params: FactorParams, observed: Mapping[str, float] | None = None) -> LayerWork:
        """Return the work: one multiplication for each remaining element, on cores that read an index for each.

        Other cores do the work of the dense layer.
        """
        dense = sum(cell.dense for cell in cells(site))
        stored = count_compressed_work(site, round(dense * min(1.0, BYTES_A_WEIGHT / params.factor))).stored
        return replace(
            count_compressed_work(site, dense), calls=(Call(BITS, ((SKIP, 1 / params.factor),)),), stored=stored
        )
