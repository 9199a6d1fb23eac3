"""Runs a gated model over a split in batches, as a hard cascade or without stopping samples.

In a hard cascade, a sample that a gate stops does not reach later stages, as on a device.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gatesearch._lib.tensors import channels_last, find_finite
from gatesearch.errors import UserError
from gatesearch.metrics import waveform_errors
from gatesearch.model import Cascade, GatedModel, GatedOutput

EVALUATION_BATCH = 256


@torch.no_grad()
def run_cascade(model: GatedModel, features: Tensor) -> Cascade:
    """Run the hard cascade over features [N, *shape]; a sample that a gate stops goes no further.

    Raises:
        UserError: an output of the last stage, of an exit, or of a gate that a sample reaches, is not finite.
    """
    model.eval()
    batches = [model.cascade(channels_last(batch)) for batch in features.split(EVALUATION_BATCH)]
    logits, exits, gate_logits = (torch.cat(column) for column in zip(*batches, strict=True))
    for k, gate in enumerate(model.cut_gates):
        check_finite(gate_logits[exits >= k, k], f"logits of gate {k + 1}")
        if gate.exit is not None:
            check_finite(logits[exits == k], f"outputs of the exit of gate {k + 1}")
    check_finite(logits[exits == len(model.gates)], "outputs of the last stage")
    return Cascade(logits, exits, gate_logits)


def check_finite(values: Tensor, what: str) -> None:
    """Check that values [N, ...] are finite, because outputs of NaN would count as a prediction of the first class.

    Raises:
        UserError: a value is not finite.
    """
    wrong = int((~find_finite(values)).sum())
    if wrong:
        raise UserError(
            f"evaluation: {what} are not finite for {wrong} of {len(values)} samples; "
            "the training diverged, or the data hold values that are not finite"
        )


def observed_cascade(model: GatedModel, features: Tensor) -> tuple[Cascade, dict[str, dict[str, float]]]:
    """Run the hard cascade; return its result and the report of each layer gate, by site."""
    for layer_gate in model.layer_gates.values():
        layer_gate.reset()
    cascade = run_cascade(model, features)
    return cascade, {site: dict(gate.report()) for site, gate in model.layer_gates.items()}


def predictions(cascade: Cascade, answers: Tensor) -> Tensor:
    """Return the class of every sample, [N]: the last stage's prediction, or the answer of the gate that stopped it."""
    result = cascade.logits.nan_to_num(-torch.inf).argmax(1)
    stopped = cascade.exit < len(answers)
    result[stopped] = answers[cascade.exit[stopped]]
    return result


def gate_logits(model: GatedModel, features: Tensor) -> Tensor:
    """Return every gate's logit for every sample, [N, gates], without stopping samples."""

    def logits(output: GatedOutput, batch: Tensor) -> Tensor:
        if not output.gates:
            return batch.new_zeros(len(batch), 0)
        return torch.stack([gate.logit for gate in output.gates], 1)

    return _collect(model, features, logits)


def path_errors(model: GatedModel, features: Tensor) -> Tensor:
    """Return the reconstruction error of every sample on each path, [N, gates + 1].

    Column k holds the errors as if gate k stopped all samples. The last column holds the errors as if no gate stopped
    a sample. The output of a gate without an exit is silence.
    """

    def errors(output: GatedOutput, batch: Tensor) -> Tensor:
        ends = [torch.zeros_like(batch) if gate.exit is None else gate.exit for gate in output.gates]
        return torch.stack([waveform_errors(end, batch) for end in [*ends, output.logits]], 1)

    return _collect(model, features, errors)


@torch.no_grad()
def _collect(model: GatedModel, features: Tensor, read: Callable[[GatedOutput, Tensor], Tensor]) -> Tensor:
    """Return the results of ``read`` for all batches as one tensor [N, ...], without stopping samples."""
    model.eval()
    return torch.cat([read(model(channels_last(batch)), batch) for batch in features.split(EVALUATION_BATCH)])
