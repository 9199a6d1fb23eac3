"""Precision Gating (PG): a layer computes all outputs from high bits, and adds low bits to some outputs.

An output is open if the low bits are added, and closed otherwise. The technique is that of Zhang et al. 2020 (arXiv
2002.07136). The masks M1 and M2, which suit ordinary vector units, are from Huang et al. 2020, "Pushing the Envelope of
Dynamic Spatial Gating technologies". The equations follow the released code of Zhang et al.:

    O_hb = I_hb * W                      I_hb: the B_hb most significant of the B bits of the input x; W: weights
    m = 1[mean of O_hb > Delta]          mean over a group of channels: 1 channel (3d), k (M2) or all (M1)
    O = O_hb + m (I_lb * W) + bias       I_lb = Q_B(x) - I_hb, the low bits; Q_B: the quantiser to B bits
    loss = sigma sum (Delta - delta)^2   Delta: threshold of a group, trained; delta: target; sigma: weight of the loss

The gradient of a sigmoid replaces that of m (straight-through). The released code has several versions of the loss;
this is the squared version. The version with a plain norm has no gradient at Delta = delta, and a training with target
0 starts there. Thresholds are compared with O_hb as it is here, without bias or normalisation.
"""

from gatesearch.gates.pg.kind import PG
from gatesearch.gates.pg.layers import SIGMA, PGConv2d, PGLayer, PGLinear
from gatesearch.gates.pg.lstm import PGLSTM
from gatesearch.gates.pg.params import BYTE, PGParams

__all__ = ["BYTE", "PG", "PGLSTM", "SIGMA", "PGConv2d", "PGLayer", "PGLinear", "PGParams"]
