"""Gated Compression: stop negatives early, thin out what passes. After Li et al. 2023 (arXiv 2303.08970).

Only the abstract of that paper could be read; the equations are this project's reading of it. h' is what passes:

    z = w . norm(pool(h')) + b              stop where z <= theta
    channel mode     h' = m * h             m = 1[sigmoid(c (l - tau)) > 1/2], straight-through
    activation mode  h' = relu(h - softplus(t))
    loss             alpha BCE(sigmoid(z), positive) + beta C

Three choices are ours. The head reads h', not h: a channel that is suppressed is then needed nowhere and disappears
from the layer that made it too. ``norm`` is a batch normalisation without affine part: it folds into the linear
layer, so that the exported head is pooling and one fully connected operator, where a layer normalisation would need a
reciprocal square root that int8 cores do not have, and would remove the loudness by which silence is told. Among
tokens, which are pooled like the pixels of a map, a class token is one more feature a channel. And tau is
the logit of the first suppressed channel, so that exactly the searched share of channels is kept and a plan's cost is
known before it is trained; ``keep=None`` is the learned form, tau = 0 with C = mean(sigmoid(c l)).
"""

from gatesearch.gates.gc.kind import GC, GCParams
from gatesearch.gates.gc.modes import SLOPE, ActivationGC, ChannelGC, GCGate

__all__ = ["GC", "SLOPE", "ActivationGC", "ChannelGC", "GCGate", "GCParams"]
