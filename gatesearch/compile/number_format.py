"""Picks the number format of a stage: int8, or float32 where int8 would cost more than it saves.

Some modules are *delicate*: in int8, they are slow or inaccurate. In int8 a layer normalisation, a softmax or a GELU is
a chain of small operators, each of which rounds its output. For a keyword transformer on one x86 core, LiteRT took
three times as long in int8 as in float32, and 1.5 % of the answers changed. So a core that runs both formats runs
delicate stages in float32. A core that runs only int8 runs delicate stages in int8, and verification reports the share
of answers that change.

A module of another package marks itself as delicate by an attribute, ``delicate_in_int8 = True``. An example is a
vector quantiser, which may pick another code word because of one rounding.

Gated layers and recurrent layers have no int8 form in a .tflite program. A gated layer computes with its own number of
bits. A recurrent cell adds to its state at every step, and the rounding errors of eight bits would accumulate. The
parts of a stage that kernels run may be in int8 (:mod:`gatesearch.compile.byte_parts`); there, a state has 16 bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch import fx, nn

from gatesearch.devices.profile import Core
from gatesearch.gates import LayerGate
from gatesearch.graph.module_types import DELICATE as DELICATE_MODULES
from gatesearch.graph.module_types import DELICATE_FUNCTIONS, DELICATE_METHODS

PLAIN, DELICATE, FLOAT = "plain", "delicate", "float"  # by rising need of float32
BYTES = {"int8": 1, "float32": 4}


def needs(module: nn.Module) -> str:
    """Return how int8 suits a module: well (``"plain"``), badly (``"delicate"``) or not at all (``"float"``).

    >>> [needs(nn.Sequential(layer)) for layer in (nn.ReLU(), nn.GELU(), nn.LSTM(2, 3))]
    ['plain', 'delicate', 'float']
    """
    return neediest(_needs(module))


def neediest(needs: Iterable[str]) -> str:
    """Return the one of several results of :func:`needs` that needs float32 most; ``"plain"`` if there are none."""
    return max(needs, key=(PLAIN, DELICATE, FLOAT).index, default=PLAIN)


def arithmetic(need: str, core: Core) -> str:
    """Return the number format, ``"int8"`` or ``"float32"``, in which a stage with this need is exported for a core."""
    return "float32" if need == FLOAT or (need == DELICATE and core.runs_float) else "int8"


def _needs(module: nn.Module) -> Iterator[str]:
    for part in module.modules():
        if isinstance(part, LayerGate | nn.RNNBase):
            yield FLOAT
        elif _is_delicate(part):
            yield DELICATE


def _is_delicate(part: nn.Module) -> bool:
    if isinstance(part, fx.GraphModule) and any(map(_calls_delicate_function, part.graph.nodes)):
        return True
    return isinstance(part, DELICATE_MODULES) or getattr(part, "delicate_in_int8", False)


def _calls_delicate_function(node: fx.Node) -> bool:
    if node.op == "call_function":
        return node.target in DELICATE_FUNCTIONS
    return node.op == "call_method" and node.target in DELICATE_METHODS
