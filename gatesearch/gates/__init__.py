"""Gate kinds: techniques that stop samples early, or skip work that a sample does not need.

Each technique has a file or folder of its own. The gates need only PyTorch, and neither read nor write files.
"""

from gatesearch.gates.kind import (
    Figure,
    GateKind,
    build_gate,
    cut_gates,
    fits,
    kind_of,
    kinds,
    layer_gates,
    params_of,
    trained_form,
    trains_alone,
    work_of,
)
from gatesearch.gates.modules import CutGate, GateContext, GateOutput, LayerGate, Lowered
from gatesearch.gates.params import GateError, GateParams, param
from gatesearch.gates.work import BLOCK, Call, CutWork, KernelCall, LayerWork, Work

__all__ = [
    "BLOCK",
    "Call",
    "CutGate",
    "CutWork",
    "Figure",
    "GateContext",
    "GateError",
    "GateKind",
    "GateOutput",
    "GateParams",
    "KernelCall",
    "LayerGate",
    "LayerWork",
    "Lowered",
    "Work",
    "build_gate",
    "cut_gates",
    "fits",
    "kind_of",
    "kinds",
    "layer_gates",
    "param",
    "params_of",
    "trained_form",
    "trains_alone",
    "work_of",
]
