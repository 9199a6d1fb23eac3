"""Removes a network's padding in time, or makes it causal, so that the network can run by hops.

A hop is the step from one decision on a stream to the next. The weights have the same names and shapes before and after
the rewriting, so that a checkpoint of one network loads into the other. The two networks compute different functions:
without its padding, a layer outputs fewer frames. So a network is rewritten before it is trained.

Two branches may meet with different numbers of frames. The rewriter then cuts the tensor of the longer branch, so that
frames of the same time meet. For this, the rewriter stores how many frames each tensor lost at its start, compared with
the padded network.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from gatesearch.errors import UserError, unknown_name
from gatesearch.graph.hops.rewriter import PADDINGS, REMOVE, Rewriter
from gatesearch.graph.hops.shapes import shapes_of
from gatesearch.graph.plain_weights import copy_network
from gatesearch.graph.trace import trace


@dataclass(frozen=True)
class Rewritten:
    """A network that can run by hops.

    Args:
        network: the rewritten copy, with the same names and shapes of weights.
        changes: a line for each layer that changed, with its number of frames per window before and after.
    """

    network: nn.Module
    changes: tuple[str, ...]


def rewrite_for_hops(network: nn.Module, shape: tuple[int, ...], time_axis: int, padding: str = REMOVE) -> Rewritten:
    """Rewrite a network so that no layer pads in time.

    Args:
        network: maps windows [N, *shape] to one tensor; not changed.
        shape: shape of one window.
        time_axis: which axis of ``shape`` is time.
        padding: ``"remove"``: no padding in time, so that a layer outputs fewer frames. ``"causal"``: all of a layer's
            zeros stand before the window, so that it outputs as many frames as before. A causal network runs by hops
            with ``memory="stream"``, where frames of the stream replace the zeros.

    Raises:
        UserError: a layer cannot be rewritten, or a window has too few frames for it.

    >>> net = nn.Sequential(nn.Conv1d(8, 4, 3, padding=1), nn.AvgPool1d(20), nn.Flatten(), nn.Linear(4, 2))
    >>> rewritten = rewrite_for_hops(net, (8, 20), time_axis=1)
    >>> rewritten.changes
    ("layer '0' pads nothing in time: 18 frames a window, not 20", "layer '1' pools 18 frames, not 20")
    >>> rewritten.network(torch.zeros(1, 8, 20)).shape
    torch.Size([1, 2])
    """
    if padding not in PADDINGS:
        raise UserError(f"hops: padding: {unknown_name('padding', padding, PADDINGS)}")
    copied = copy_network(network)
    traced = trace(copied)
    rewriter = Rewriter(traced, shapes_of(traced, shape), time_axis + 1, padding)
    example = next(copied.parameters(), torch.zeros(())).new_zeros(2, *shape)
    modes = {module: module.training for module in traced.modules()}
    traced.eval()
    try:
        with torch.no_grad():
            rewriter.run(example)
    finally:
        for module, mode in modes.items():
            module.training = mode
    # If the graph did not change, the result is the user's own class, so that sites keep the names of its blocks.
    return Rewritten(rewriter.graph_module() if rewriter.changed_graph else copied, tuple(rewriter.changes))
