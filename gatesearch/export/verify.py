"""Does the bundle do what the model does? The whole test split, through the artifacts and through PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gatesearch.errors import UserError
from gatesearch.model import GatedModel
from gatesearch.runtime.bundle import Answer, Bundle
from gatesearch.training import predictions, run_cascade


@dataclass(frozen=True, slots=True)
class Parity:
    """Agreement of a bundle with its model.

    Args:
        gate_agreement: share of samples that leave at the same gate, or at none, in both.
        prediction_agreement: share of samples with the same answer; None where the output is no class.
        max_abs_error: of outputs, class logits above the artifact's floor, over the samples that take one path in both.
        samples: number of them.
        per_stage: for each gate, the engine that ran it and its agreement over the samples that reach it in both.
        exits, labels: what the bundle did, [N]; no labels where the output is no class.
        output_snr_db: energy of the model's outputs over that of the artifacts' error, over the same samples, in
            decibels; None where the output is a class.
    """

    gate_agreement: float
    prediction_agreement: float | None
    max_abs_error: float
    samples: int
    per_stage: tuple[dict[str, Any], ...]
    exits: Tensor
    labels: Tensor | None
    output_snr_db: float | None = None


def verify(bundle: Bundle, model: GatedModel, features: Tensor, on_sample: Callable[[], None] | None = None) -> Parity:
    """Run every sample through both.

    Args:
        bundle: loaded with the engine of each core.
        model: with the thresholds that the bundle was given.
        features: [N, *shape].
        on_sample: called after each sample.
    """
    cascade = run_cascade(model, features)
    answers: list[Answer] = []
    worst = wanted = wrong = 0.0
    for i, window in enumerate(features.numpy()):
        answer = bundle(window)
        answers.append(answer)
        if answer.logits is not None and int(cascade.exit[i]) == answer.exit:
            expected = cascade.logits[i]
            if answer.label is not None:
                expected = expected.clamp(min=bundle.logit_offset)  # as the artifact does
            error = torch.from_numpy(answer.logits) - expected
            worst = max(worst, float(error.abs().max()))
            wanted, wrong = wanted + float(expected.square().sum()), wrong + float(error.square().sum())
        if on_sample is not None:
            on_sample()
    left = torch.tensor([answer.exit for answer in answers])
    per_stage = []
    for k in range(len(model.gates)):
        both = (left >= k) & (cascade.exit >= k)
        same = ((left > k) == (cascade.exit > k))[both]
        per_stage.append(
            {
                "stage": k,
                "engine": bundle.programs[k].engine,
                "gate_agreement": float(same.double().mean()) if len(same) else 1.0,
            }
        )
    classes = len(model.output_shape) == 1
    labels = torch.tensor([answer.label for answer in answers]) if classes else None
    agreed = None if labels is None else (labels == predictions(cascade, model.answers)).double().mean()
    return Parity(
        gate_agreement=float((left == cascade.exit).double().mean()),
        prediction_agreement=None if agreed is None else float(agreed),
        max_abs_error=worst,
        samples=len(features),
        per_stage=tuple(per_stage),
        exits=left,
        labels=labels,
        output_snr_db=None if classes else 10 * math.log10(max(wanted, 1e-12) / max(wrong, 1e-12)),
    )


def require(
    parity: Parity, gate_agreement: float, prediction_agreement: float, output_snr_db: float | None = None
) -> None:
    """Fail where the bundle strays further from the model than the recipe allows.

    Args:
        parity: what was found; a figure that this network does not have is passed over.
        gate_agreement, prediction_agreement, output_snr_db: the least of each.

    Raises:
        UserError: one line with the figure and the bar.
    """
    for name, bar in (("gate_agreement", gate_agreement), ("prediction_agreement", prediction_agreement)):
        found = getattr(parity, name)
        if found is not None and found < bar:
            raise UserError(
                f"verify.{name}: artifacts and model agree on {found:.2%} of {parity.samples} test samples, "
                f"less than the {bar:.2%} of the recipe"
            )
    if parity.output_snr_db is not None and output_snr_db is not None and parity.output_snr_db < output_snr_db:
        raise UserError(
            f"verify.output_snr_db: over {parity.samples} test samples the model's output stands "
            f"{parity.output_snr_db:.1f} dB above the artifacts' error, less than the recipe's {output_snr_db:g} dB"
        )
