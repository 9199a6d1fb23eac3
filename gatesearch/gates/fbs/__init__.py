"""Feature Boosting and Suppression (FBS): a convolution computes only some channels of each sample.

The channels with the largest predicted gains win; the others lose and are not computed. The technique is that of Gao et
al. 2018 (arXiv 1810.05331). Only the abstract was available, so the equations follow the released code:

    u = mean of x over height and width      x: the input, [C_in, H, W]
    g = relu(phi u + rho)                    the predicted gains, [C]; phi and rho: the predictor's weights and biases
    a                                        1 for the k = ceil(d C) channels with the largest g, else 0; d: density
    z                                        conv(x) after a batch normalisation without scale and shift
    y = a g z + a beta                       the output; beta: shift per channel
    loss                                     lambda sum |a g|; lambda: weight of the loss

So g replaces gamma, the scale of the batch normalisation. A losing channel is zero, also behind a ReLU, and is never
computed. If no batch normalisation follows the convolution, z is the convolution without its bias, and beta is the
bias. The mask ``a`` has no gradient, so a losing channel learns nothing from a sample. With block 16, groups of 16
neighbouring channels win or lose together, by the mean of their g. Dense kernels, unchanged, can skip such groups. If
single channels win, a kernel has to gather their filters.
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
