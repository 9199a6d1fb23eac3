"""Gated Compression: stop negatives early, compress what passes. After Li et al. 2023 (arXiv 2303.08970).

Only the abstract of that paper could be read; the equations are this project's reading of it. h' is what passes:

    z = w . norm(pool(h')) + b              stop where z <= theta
    channel mode     h' = m * h             m = 1[sigmoid(c (l - tau)) > 1/2], straight-through
    activation mode  h' = relu(h - softplus(t))
    loss             alpha BCE(sigmoid(z), positive) + beta C

Three choices are ours. First, the head reads h', not h: no layer needs a suppressed channel, so export removes it from
the layer that makes it, too. Second, ``norm`` is a batch normalisation
without affine part. It folds into the linear layer, so that the exported head is pooling and one fully connected
operator. A layer normalisation would need a reciprocal square root, which int8 cores do not have, and would remove the
loudness by which silence is recognised. Third, tau lies between the logits of the last channel that passes and the
first that does not. Exactly the searched share of channels passes, and a plan's cost is known before it is trained.
``keep=None`` is the learned form, tau = 0 with C = mean(sigmoid(c l)).

Tokens are pooled like the pixels of a map; a class token is one more feature a channel.
"""

from gatesearch.gates.gc.kind import GC, GCParams
from gatesearch.gates.gc.modes import SLOPE, ActivationGC, ChannelGC, GCGate

__all__ = ["GC", "SLOPE", "ActivationGC", "ChannelGC", "GCGate", "GCParams"]
