"""Gated Compression (GC): a gate at a cut site that stops negatives and compresses activations.

The technique is that of Li et al. 2023 (arXiv 2303.08970). Only the abstract of the paper was available. The equations
are this project's interpretation of it:

    channel mode     h' = m * h             h: activations at the site; m = 1[sigmoid(c (l - tau)) > 1/2], per channel
    activation mode  h' = relu(h - softplus(t))     t: a trained shrinkage per channel
    logit            z = w . norm(pool(h')) + b     w, b: trained; the gate stops the sample if z <= theta
    loss             alpha BCE(sigmoid(z), positive) + beta C

l is a trained logit per channel, tau the threshold of these logits and c the slope of the sigmoid. The mask m is a
step. In the backward pass, the sigmoid's gradient replaces that of the step (straight-through). BCE is the binary
cross-entropy and C the compression penalty. alpha and beta are the weights of the two terms of the loss.

Three choices are not from the paper. First, the head reads h', not h. So no layer needs a suppressed channel, and
export also removes the channel from the layer that computes it. Second, ``norm`` is a batch normalisation without scale
and shift. It folds into the linear layer, so that the exported head is pooling and one fully connected operator. A
layer normalisation would need a reciprocal square root, which int8 cores do not have. It would also remove the
loudness, by which silence is recognised. Third, tau lies between the smallest logit of a channel that passes and the
largest logit of a channel that does not. So exactly the share ``keep`` of channels passes, and the cost of a plan is
certain before its training. With ``keep=None`` the share is learned: tau = 0 and C = mean(sigmoid(c l)).

At sites with tokens, the head pools tokens like the pixels of a map. A class token adds one more feature per channel.
"""

from gatesearch.gates.gc.kind import GC, GCParams
from gatesearch.gates.gc.modes import SLOPE, ActivationGC, ChannelGC, GCGate

__all__ = ["GC", "SLOPE", "ActivationGC", "ChannelGC", "GCGate", "GCParams"]
