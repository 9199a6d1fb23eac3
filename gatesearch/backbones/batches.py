"""Checks that a network's output for a sample does not depend on the other samples of its batch.

Gates stop each sample by itself, so a network has to treat samples independently.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from gatesearch.errors import UserError, first_line
from gatesearch.graph.repeatable import check_repeatable

TOLERANCE = 1e-3  # allowed difference as a share of the largest output; rounding depends on the batch size


@torch.no_grad()
def check_batches(network: nn.Module, samples: Tensor) -> tuple[int, ...]:
    """Return the shape of a network's output for one sample; check that samples of a batch do not affect each other.

    Args:
        network: the network; the check runs it in evaluation mode and then restores its mode.
        samples: inputs [N, *shape]; the check uses the first two, or a single one twice.

    Raises:
        UserError: the network does not accept two samples, returns no tensor [2, *output] for them, or its output for
            one sample depends on the other.

    >>> check_batches(nn.Sequential(nn.Linear(3, 2), nn.Flatten(0)), torch.zeros(2, 3))
    Traceback (most recent call last):
    gatesearch.errors.UserError: backbone: Sequential returns [4] for 2 samples, not [2, ...]; ...
    """
    kind = type(network).__name__
    keep = "its forward has to keep the first axis, the batch, as in torch.flatten(x, 1)"
    pair = samples[:2] if len(samples) > 1 else samples[:1].repeat(2, *[1] * (samples.ndim - 1))
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        outputs: list[object] = []
        for batch in (pair[:1], pair):
            try:
                outputs.append(network(batch))
            except Exception as error:
                line = first_line(error)
                shape = list(batch.shape)
                advice = f"; {keep}" if len(batch) == 2 else ""
                raise UserError(f"backbone: {kind} does not accept an input {shape}: {line}{advice}") from error
    finally:
        for module, mode in modes.items():
            module.training = mode
    alone, together = outputs
    if not isinstance(alone, Tensor) or not isinstance(together, Tensor):
        raise UserError(f"backbone: {kind} returns {_describe(together)}; a run needs one tensor [N, *output]")
    if not together.is_floating_point():
        raise UserError(
            f"backbone: {kind} returns {str(together.dtype).removeprefix('torch.')}; a run needs real numbers"
        )
    if together.ndim < 2 or together.shape != (2, *alone.shape[1:]):
        raise UserError(f"backbone: {kind} returns {list(together.shape)} for 2 samples, not [2, ...]; {keep}")
    if not bool(torch.isfinite(together).all()):
        raise UserError(f"backbone: {kind} returns values that are not finite for samples of the training split")
    scale = together.abs().max().clamp(min=1e-6)
    if not bool(((together[:1] - alone).abs() <= TOLERANCE * scale).all()):
        check_repeatable(network, pair)  # if outputs are random, this error names the operation
        raise UserError(
            f"backbone: {kind}: its output for a sample depends on the others of its batch, such as by a batch "
            "normalisation without running statistics; gates stop each sample alone"
        )
    return tuple(together.shape[1:])


def _describe(output: object) -> str:
    if isinstance(output, Mapping):
        return f"a {type(output).__name__} of {', '.join(map(str, output))}"
    if isinstance(output, tuple | list):
        return f"a {type(output).__name__} of {len(output)} values"
    return f"a {type(output).__name__}"
