"""Gate kinds: a file a technique. Torch only, no input or output."""

from gatesearch.gates.base import CutGate, GateKind, GateOutput, Lowered, Work, kind_of, kinds

__all__ = ["CutGate", "GateKind", "GateOutput", "Lowered", "Work", "kind_of", "kinds"]
