"""Feature Boosting and Suppression: per sample, only the channels that win are computed. After Gao et al. 2018.

The paper is arXiv 1810.05331; this follows its released code, as only the abstract could be read:

    u = mean of x over height and width      g = relu(phi u + rho)      a = the k = ceil(d C) largest of g
    y = a g z + a beta                       z = batch norm without affine part of conv(x)
    loss                                     lambda sum |a g|

So g takes the place of the batch norm's gamma. A losing channel is zero, also behind the ReLU, and is never computed.
Where no batch norm follows, z is the convolution without its bias, and the bias is beta. The mask ``a`` has no
gradient, so losers learn nothing from a sample. With block 16, runs of 16 channels win or lose together, by the
mean of their g. Dense kernels then save time unchanged; where single channels win, filters have to be gathered.
"""

from gatesearch.gates.fbs.inner import PlainConv2d
from gatesearch.gates.fbs.kind import FBS, FBSParams, work_of_winners
from gatesearch.gates.fbs.layer import LASSO, FBSConv2d, skip_through, training_density, winning_groups
from gatesearch.gates.fbs.unfold import unfold

__all__ = [
    "FBS",
    "LASSO",
    "FBSConv2d",
    "FBSParams",
    "PlainConv2d",
    "skip_through",
    "training_density",
    "unfold",
    "winning_groups",
    "work_of_winners",
]
