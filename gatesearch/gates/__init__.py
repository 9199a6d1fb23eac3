"""Gate kinds: a file a technique. Torch only, no input or output."""

from gatesearch.gates.base import (
    Call,
    CutGate,
    CutKind,
    GateKind,
    GateOutput,
    LayerGate,
    LayerKind,
    LayerWork,
    Lowered,
    Work,
    at_cuts,
    at_layers,
    cut_kind,
    kind_of,
    kinds,
    layer_kind,
)

__all__ = [
    "Call",
    "CutGate",
    "CutKind",
    "GateKind",
    "GateOutput",
    "LayerGate",
    "LayerKind",
    "LayerWork",
    "Lowered",
    "Work",
    "at_cuts",
    "at_layers",
    "cut_kind",
    "kind_of",
    "kinds",
    "layer_kind",
]
