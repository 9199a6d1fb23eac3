"""What the page says around its tables."""

from __future__ import annotations

from results.dsg.protocol import Protocol
from results.dsg.rows import EQUAL_BITS
from results.dsg.run import SETTLED_ON, SPLIT_SEED

INTRODUCTION = f"""\
Beside ours stands what Huang et al. 2020 print, "Pushing the Envelope of Dynamic Spatial Gating technologies". Ours are
medians over seeds, ranges in brackets. Accuracy, sparsity and B_avg are **measured** on the test split, once, at the
end of a training; what was tuned was tuned on the validation split. Savings are **modelled**: multiply-accumulates,
each weighed by the bits of its activation, relative to the dense network at B bits. Neither here nor in the paper is
there a run time. *By Eq. 3* is as the paper counts, 1 / density^2 times B / B_avg, where B_avg is a mean over the
outputs of gated layers; without FBS that is Eq. 2. (Eq. 1 is misprinted: B_avg = B_hb + (1 - sparsity) B_lb fits all
five rows of the paper's Table 2.) *Of the network* is counted layer by layer, with the first convolution, the
classifier and the gates' own parts.

The paper leaves open: optimiser, batch size, weight decay, size of the cutout, bits of the weights, weight of the
threshold loss, targets other than 0, which layers have gates, how both techniques meet in one layer, how the saving of
FBS and the sparsity beside it are counted, and on how many trainings a figure rests. Assumed here: SGD with momentum;
weights of as many magnitude bits as activations; 1e-3 for the threshold loss; target 0 unless a goal is named. As in
the released code of either technique, FBS gates all eight convolutions and PG all but the first, which reads the image
and is not quantised; the classifier is neither gated nor quantised. In a layer with both, FBS chooses and PG computes
what won. All trainings share one split (seed {SPLIT_SEED}); a seed is of initial weights, order of images,
augmentation and dropout."""

TITLES = {
    "baselines": "Baselines",
    "table1": "Table 1: does sparsity stay when channels go?",
    "table2": "Table 2: masks that ordinary vector units can follow",
    "equal": f"Not in the paper: all masks at a B_avg of {EQUAL_BITS}",
    "headline": "The headline: 1.92x with both techniques, and with PG alone",
    "figure2": "Figure 2: accuracy against saving",
}
NOTES = {
    "table1": """\
Sparsity beside FBS is that of winning channels. A loser has no high bits either, so counting it among the closed would
let sparsity grow as channels go; the paper does not say how it counts, but its table is level.""",
    "table2": """\
The paper's text says that M1 loses accuracy. Its table does not: 91.55 % against 91.57 %. What M1 loses is *sparsity*,
12 % against 63 %, and with it the saving. All accuracies of that table lie within 0.37 points, and no two of its rows
compute equally much.""",
    "equal": f"""\
Here all rows compute equally much. After every leg of a training (a tenth of it, or an epoch where that is shorter) all
thresholds, and the target that draws them, are shifted by one amount: in the first half so that B_avg comes down to the
goal in even steps, then so that it stays there. What counts for that is B_avg on {SETTLED_ON} *validation* images; that
of the test split is below.""",
    "headline": """\
Thresholds are shifted in the same way, to a saving of 1.92x by Eq. 3 in both rows. That the paper's 1.92x is density
0.9 with the sparsity of its own Table 1 is arithmetic (8 / 5.14 / 0.9^2), not something that it says.""",
}


def narrow(p: Protocol) -> str:
    """Return what a narrow network does to masks; nothing where it does nothing.

    >>> from results.dsg.protocol import PAPER
    >>> narrow(PAPER)
    ''
    """
    if p.width >= 1:
        return ""
    return (
        "Layers are narrower than the paper's: one that has no more channels than a group of M2 has one group, as M1 "
        "does."
    )


def described(p: Protocol) -> str:
    """Return a protocol in words."""
    images = "all that validation leaves" if p.train is None else f"{p.train:,}"
    start = (
        "Every row goes on from one network without gates a seed, so that sparsity need not come out as it does from "
        f"scratch; epochs of that network: {p.base_epochs}, at a peak rate of {p.base_rate:g} ({p.base_decay})."
        if p.base_epochs
        else "Every row starts from scratch."
    )
    clips = "all" if p.clip_start is None else f"{100 * p.clip_start:g} %"
    sentences = (
        f"Epochs a row: **{p.epochs}**, at a peak rate of {p.rate:g} ({p.decay}), in batches of {p.batch_size}.",
        start,
        f"SGD with momentum {p.momentum:g}, weight decay {p.weight_decay:g}.",
        f"Clips start at {clips} of the largest activation, with a decay of {p.clip_decay:g}.",
        f"M-CifarNet at width {p.width:g}, dropout {p.dropout:g}.",
        f"Training images: {images}; validation: {p.validation:,}.",
        f"Crops after padding by {p.pad}, flips, cutout of {p.cutout} pixels.",
        narrow(p),
    )
    return "\n".join(filter(None, sentences))
