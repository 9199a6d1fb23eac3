"""The conformance suite of gate kinds.

Derive a class in your own tests; pytest runs what it inherits, and each failure says which promise is broken:

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

__all__ = ["CutGateConformance", "GateConformance", "LayerGateConformance", "check_suite"]


def check_suite(suite: GateConformance) -> None:
    """Run every test of a suite, for those who build many in a loop.

    Raises:
        AssertionError: a promise is broken; the message says which.

    >>> from gatesearch.gates.gc import GC
    >>> from gatesearch.graph.sites import CutSite
    >>> class Suite(CutGateConformance):
    ...     kind, site, params = GC(), CutSite("here", (8, 5, 4), 100, 100, 10, 10, "here"), {"keep": 0.5}
    >>> check_suite(Suite())
    """
    for name in dir(suite):
        if name.startswith("test_"):
            getattr(suite, name)()
