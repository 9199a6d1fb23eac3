"""Builds and runs the conformance suite of a gate, for any gate kind and site."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

from gatesearch.gates import GateKind
from gatesearch.graph.sites import CutSite, Site
from gatesearch.plan import Scalar
from gatesearch.testing.gates import CutGateConformance, GateConformance, LayerGateConformance, run_suite


def suite_of(
    kind: GateKind[Any, Any],
    site: Site,
    layer: nn.Module | None = None,
    norm: nn.BatchNorm2d | None = None,
    **params: Scalar,
) -> GateConformance:
    """Return the conformance suite of one gate; each test gets copies of the layer and the normalisation."""
    suite = CutGateConformance() if isinstance(site, CutSite) else LayerGateConformance()
    suite.kind, suite.site, suite.params = kind, site, params  # type: ignore[assignment]
    suite.layer = lambda: copy.deepcopy(layer)  # type: ignore[method-assign, return-value]
    suite.norm = lambda: copy.deepcopy(norm)  # type: ignore[method-assign]
    return suite


def check_gate(*args: Any, **params: Any) -> None:
    """Run the whole suite of one gate."""
    run_suite(suite_of(*args, **params))


def broken_promises(suite: GateConformance) -> list[str]:
    """Return the messages of those tests of a suite that fail."""
    messages = []
    for name in dir(suite):
        if name.startswith("test_"):
            try:
                getattr(suite, name)()
            except Exception as error:
                messages.append(str(error))
    return messages
