"""Precision Gating (PG): a layer computes all outputs from high bits, and adds low bits to some outputs.

An output is open if the low bits are added, and closed otherwise. The technique is from Zhang et al. 2020 (arXiv
2002.07136). The equations follow the code that its authors released:

    O_hb = I_hb * W                      I_hb: the B_hb most significant of the B bits of the input x; W: weights
    m = 1[mean of O_hb > Delta]          1: the output is open; the mean is over a group of channels
    O = O_hb + m (I_lb * W) + bias       I_lb = Q_B(x) - I_hb, the low bits; Q_B: the quantiser to B bits
    loss = sigma sum (Delta - delta)^2   Delta: threshold of a group, trained; delta: target; sigma: weight of the loss

The parameter ``mask`` sets the groups: one channel (``3d``), k channels (``m2-k``) or all channels (``m1``). The masks
m1 and m2 suit vector instructions. They are from Huang et al. 2020, "Pushing the Envelope of Dynamic Spatial Gating
technologies".

In the backward pass, the gradient of a sigmoid replaces the gradient of m (straight-through estimator). The released
code has several versions of the loss; this is the squared version. The version with a plain norm has no gradient at
Delta = delta, and a training with target 0 starts there. O_hb contains neither bias nor normalisation.
"""

from gatesearch.gates.pg.kind import PG
from gatesearch.gates.pg.layers import SIGMA, PGConv2d, PGLayer, PGLinear
from gatesearch.gates.pg.lstm import PGLSTM
from gatesearch.gates.pg.params import BYTE, PGParams

__all__ = ["BYTE", "PG", "PGLSTM", "SIGMA", "PGConv2d", "PGLayer", "PGLinear", "PGParams"]
