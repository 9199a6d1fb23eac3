"""What the page says around its tables."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

from gatesearch.gates.matrices import BEGIN, END
from results.hmd.latency import KERNELS, PRODUCTS
from results.hmd.protocol import Protocol
from results.hmd.tasks import AVERAGE, SPLIT_SEED

QUALITY: Mapping[str, str] = {
    "kws_lstm": "accuracy over twelve classes, %",
    "kws_gru": "accuracy over twelve classes, %",
    "har_bilstm": "accuracy over five activities, %",
    "lm": "bits a character, less is better",
}
UNITS: Mapping[str, str] = {"kws_lstm": "share", "kws_gru": "share", "har_bilstm": "share", "lm": "bits a character"}

INTRODUCTION = f"""\
Four networks, and four ways to two, three and four times fewer parameters in their recurrent matrices (for input and
state, of all gates; biases, embeddings and classifiers stay as they are). All figures are **measured**: quality on the
test split, once, with the state that did best on validation; medians over seeds, ranges in brackets. All trainings
share one split (seed {SPLIT_SEED}); a seed is of initial weights, order and dropout. *Fewer units* is a dense network
of less width. *Low rank* has two factors a matrix. *Pruning* lets the smallest elements go along the cubic of Zhu and
Gupta from {BEGIN:.0%} to {END:.0%} of a training; its parameters are the elements that are left, without their indices.
*Hybrid matrices* are dense rows over two rank-1 blocks.

Latency is of one step at batch 1, of all layers and directions one after another, the methods side by side in turn, one
thread, weights and state in the cache; shapes decide it, not what was learnt. A call from Python for each layer and
direction is part of it. It is measured apart from the trainings, and may be of a later day than they are.

Published, from the abstracts alone: hybrid matrices compress recurrent networks 2 to 4 times, run faster than pruned
ones and are more accurate than factorised ones (Thakker et al., arXiv 1906.04886); on five language benchmarks HMF is
more than 2.32 times faster than pruning and 16.77 % more accurate than low-rank factorisation (arXiv 2010.03193). Those
are other networks, data, kernels and a mobile processor, trained far longer; the activities are a stand-in for
Opportunity (windows averaged over {AVERAGE} steps), and the text is no benchmark's. So no row here is one of theirs."""

# What a step is by each runtime.
STEPS: Mapping[str, str] = {
    KERNELS: "a step as the layer takes it, activations and all, each form of a matrix by its own float32 kernel: "
    "dense rows in one product; hybrid ones in a product and two scaled additions a gate; low rank in a product and as "
    "many scaled additions a gate as the rank; pruned ones as CSR with 16-bit columns",
    PRODUCTS: "no C compiler was found. The products by the matrices alone, of BLAS for each factor and of SciPy for "
    "CSR; a method that makes more calls from Python looks slower than kernels would be",
}


def runtime(name: str, status: str) -> str:
    """Return what a latency by a runtime is of, and on what the C kernels run."""
    return textwrap.fill(f"Latency with {name}: {STEPS[name]} ({status}).", 120, break_long_words=False)


def described(p: Protocol) -> str:
    """Return a protocol in words."""
    start = (
        "Every row starts from chance, as in the papers."
        if p.start == "scratch"
        else "Compressed layers start from the dense row's weights, fitted, and train as long again; fewer units start "
        "from chance."
    )
    return "\n".join(
        (
            f"Passes over the training split: keywords **{p.kws_epochs}**, activities **{p.har_epochs}**; steps of the "
            f"language model: **{p.lm_steps}**. Batches of {p.batch_size}.",
            start,
            f"AdamW at a peak rate of {p.rate:g}, weight decay {p.weight_decay:g}, label smoothing "
            f"{p.label_smoothing:g}, dropout {p.dropout:g}.",
            f"Widths are {p.width:g} of the tasks' own." if p.width != 1 else "",
        )
    )


def shown(task: str, quality: float) -> float:
    """Return a quality as the tables have it: shares in per cent."""
    return quality if UNITS[task] != "share" else 100 * quality


def sign(task: str) -> int:
    """Return whether more of a task's quality is better, 1, or less, -1."""
    return -1 if UNITS[task] == "bits a character" else 1
