"""Gate kinds of which one module serves many parameters, so that a supernet trains them at once."""

from __future__ import annotations

from gatesearch.gates import CutGate
from gatesearch.gates.gc import GCGate, GCParams
from gatesearch.plan import PlacedGate

ELASTIC = {"gc": ("keep", "recall")}
CALIBRATED = {"gc": ("recall",)}


def elastic_parameters(placed: PlacedGate) -> tuple[str, ...]:
    """Return what a gate's module can take on otherwise: masks of two keep ratios are nested, shrinkage has one aim."""
    params = GCParams.read(dict(placed.params))
    nested = params.mode == "channel" and params.keep is not None
    return ELASTIC[placed.kind] if nested else CALIBRATED[placed.kind]


def turn(gate: CutGate, placed: PlacedGate) -> None:
    """Let a module take on the parameters of another gate at its site, which differs in elastic ones alone."""
    assert isinstance(gate, GCGate)
    params = GCParams.read(dict(placed.params))
    gate.keep, gate.recall = params.keep, params.recall
