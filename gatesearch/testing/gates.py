"""The conformance suites of gate kinds: tests of the promises that a gate kind has to keep.

Derive a class in your own tests. pytest runs the tests that the class inherits. Each failure says which promise is
broken:

    class TestMean(CutGateConformance):
        kind = Mean()
        site = CutSite("here", (8, 5, 4), 1, 1, 1, 1, "here")

    class TestSparse(LayerGateConformance):
        kind = Sparse()
        site = LayerSite("here", "conv2d", (6, 5, 4), (20, 5, 4), 21600, 1080)
        params = {"share": 0.5}

        def layer(self):
            return nn.Conv2d(6, 20, 3, padding=1, bias=False)
"""

from __future__ import annotations

from gatesearch.testing._gate_kind import GateConformance
from gatesearch.testing._gates_at_cuts import CutGateConformance
from gatesearch.testing._gates_in_layers import LayerGateConformance
from gatesearch.testing._suite import run_suite

__all__ = ["CutGateConformance", "GateConformance", "LayerGateConformance", "run_suite"]
