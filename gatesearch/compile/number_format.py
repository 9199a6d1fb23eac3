"""Which number format a stage computes in: int8, or float32 where int8 would cost more than it saves.

Layer normalisation divides by the spread of a few values, softmax and GELU bend; in int8 each is a chain of small
operators with a rounding between any two. For a keyword transformer on one x86 core, LiteRT took three times as long in
int8 as in float, and 1.5 % of the answers were other ones. So a core that runs both formats runs such stages in float.
A core that knows int8 only runs them in int8, and verification says what that costs.

A module of one's own says so by an attribute, ``delicate_in_int8 = True``: a vector quantiser that picks another word
for a rounding makes another sound.

Gated layers, which compute with bits of their own, and recurrent ones have no int8 form: a cell adds to what it
remembers at every step, and eight bits would wear it away.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch import fx, nn

from gatesearch.devices.profile import Core
from gatesearch.gates import LayerGate
from gatesearch.graph.module_types import DELICATE as DELICATE_MODULES
from gatesearch.graph.module_types import DELICATE_FUNCTIONS, DELICATE_METHODS

PLAIN, DELICATE, FLOAT = "plain", "delicate", "float"  # in rising need
BYTES = {"int8": 1, "float32": 4}


def needs(module: nn.Module) -> str:
    """Return whether int8 serves a module (``"plain"``), serves it badly (``"delicate"``) or not at all (``"float"``).

    >>> [needs(nn.Sequential(layer)) for layer in (nn.ReLU(), nn.GELU(), nn.LSTM(2, 3))]
    ['plain', 'delicate', 'float']
    """
    return neediest(_needs(module))


def neediest(needs: Iterable[str]) -> str:
    """Return the greatest of several needs; ``"plain"`` where there are none."""
    return max(needs, key=(PLAIN, DELICATE, FLOAT).index, default=PLAIN)


def arithmetic(need: str, core: Core) -> str:
    """Return ``"int8"`` or ``"float32"``: what a stage of that need is exported in for a core."""
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
