"""What a stage computes in: int8, or float where the core can and int8 would cost more than it saves.

Layer normalisation divides by the spread of a few values, softmax and GELU bend; in int8 each is a chain of small
operators with a rounding between any two. For a keyword transformer on one x86 core, LiteRT took three times as long in
int8 as in float, and 1.5 % of the answers were other ones. So a core that runs both is given such stages in float. One
that knows int8 only runs them in int8, and verification says what that costs.

A module of one's own says so by an attribute, ``delicate_in_int8 = True``: a vector quantiser that picks another word
for a rounding makes another sound.

Gated layers, which compute with bits of their own, and recurrent ones have no int8 form: what a cell remembers is added
to at every step, and eight bits would wear it away.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import fx, nn
from torch.nn import functional as F

from gatesearch.devices.profile import Core
from gatesearch.gates import LayerGate

PLAIN, DELICATE, FLOAT = "plain", "delicate", "float"  # in rising need
DELICATE_MODULES: tuple[type[nn.Module], ...] = (
    nn.LayerNorm, nn.RMSNorm, nn.Softmax, nn.GELU, nn.MultiheadAttention,
)  # fmt: skip
DELICATE_FUNCTIONS = (torch.softmax, F.softmax, F.layer_norm, F.gelu, F.scaled_dot_product_attention)
DELICATE_METHODS = ("softmax",)
BYTES = {"int8": 1, "float32": 4}


def needs(module: nn.Module) -> str:
    """Return whether int8 serves a module (``"plain"``), serves it badly (``"delicate"``) or not at all (``"float"``).

    >>> [needs(nn.Sequential(layer)) for layer in (nn.ReLU(), nn.GELU(), nn.LSTM(2, 3))]
    ['plain', 'delicate', 'float']
    """
    return neediest(_each(module))


def neediest(found: Iterable[str]) -> str:
    """Return the greatest of several needs; that of nothing is ``"plain"``."""
    return max(found, key=(PLAIN, DELICATE, FLOAT).index, default=PLAIN)


def arithmetic(need: str, core: Core) -> str:
    """Return ``"int8"`` or ``"float32"``: what a stage of that need is exported in for a core."""
    return "float32" if need == FLOAT or (need == DELICATE and core.runs_float) else "int8"


def _each(module: nn.Module) -> Iterator[str]:
    for part in module.modules():
        if isinstance(part, LayerGate | nn.RNNBase):
            yield FLOAT
        elif isinstance(part, DELICATE_MODULES) or getattr(part, "delicate_in_int8", False):
            yield DELICATE
        elif isinstance(part, fx.GraphModule):
            for node in part.graph.nodes:
                if (node.op == "call_function" and node.target in DELICATE_FUNCTIONS) or (
                    node.op == "call_method" and node.target in DELICATE_METHODS
                ):
                    yield DELICATE
