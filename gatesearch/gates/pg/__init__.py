"""Precision Gating: every output from a few high bits, the low bits only where it matters. After Zhang et al. 2020.

The paper is arXiv 2002.07136; the equations follow its released code. The masks M1 and M2, which ordinary vector units
can follow, are from Huang et al. 2020, "Pushing the Envelope of Dynamic Spatial Gating technologies":

    O_hb = I_hb * W          I_hb: the B_hb most significant of B bits of the input, I_lb = Q_B(x) - I_hb
    m    = 1[mean of O_hb over the channel's group > Delta]        groups of 1 (3d), of k (M2), of all channels (M1)
    O    = O_hb + m (I_lb * W) + bias                              Delta one per group; straight-through gradient
    loss = sigma sum (Delta - delta)^2

Of the released versions of the loss this is the squared one: the plain norm has no gradient at Delta = delta, which is
where training starts when the target is 0. Thresholds act on the sum without the bias, before any normalisation.
"""

from gatesearch.gates.pg.kind import PG
from gatesearch.gates.pg.layers import SIGMA, PGConv2d, PGLayer, PGLinear
from gatesearch.gates.pg.lstm import PGLSTM
from gatesearch.gates.pg.params import BYTE, PGParams

__all__ = ["BYTE", "PG", "PGLSTM", "SIGMA", "PGConv2d", "PGLayer", "PGLinear", "PGParams"]
