"""Magnitude pruning: the other rival of hybrid matrices. After Zhu and Gupta 2017 (arXiv 1710.01878).

The smallest elements of the matrices are let go while training, along a cubic. What is left lies anywhere, so only a
core that follows an index from element to element has less to do, and the indices take memory as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import nn

from gatesearch.gates.base import Call, LayerWork
from gatesearch.gates.factored import FactoredLinear, FactoredRNN, in_place_of
from gatesearch.gates.hmd import BITS, FACTORS, cells, factor_of, is_site, smaller
from gatesearch.gates.matrices import PrunedMatrix
from gatesearch.graph.sites import LayerSite, Site
from gatesearch.plan import PlacedGate, Scalar

SKIP = "weight"
BYTES = 3  # of an element that is left: its int8 value, and its column in 16 bits


class Pruned:
    """The kind: one element in ``factor`` is left in each stack of matrices."""

    name = "pruned"

    def may_go(self, site: Site) -> bool:
        """An LSTM, a GRU or a linear layer."""
        return is_site(site)

    def space(self, site: Site) -> Mapping[str, Sequence[Scalar]]:
        """Two to four times fewer elements."""
        return {"factor": FACTORS}

    def replace(
        self, site: LayerSite, placed: PlacedGate, layer: nn.Module, norm: nn.BatchNorm2d | None = None
    ) -> FactoredRNN | FactoredLinear:
        """Build the module, which starts as the layer that it replaces."""
        kept = 1 / float(factor_of(placed, {})["factor"])
        return in_place_of(layer, lambda weight, groups: PrunedMatrix(weight, groups, kept))

    def work_left(self, site: LayerSite, placed: PlacedGate, observed: Mapping[str, float] | None = None) -> LayerWork:
        """As many multiplications as elements, for cores that can follow indices; the dense layer on others."""
        factor = float(factor_of(placed, {})["factor"])
        dense = sum(cell.dense for cell in cells(site))
        whole = smaller(site, dense)
        stored = smaller(site, round(dense * min(1.0, BYTES / factor))).stored
        return replace(whole, calls=(Call(BITS, ((SKIP, 1 / factor),)),), stored=stored)
