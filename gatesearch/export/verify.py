"""Does the bundle do what the model does? The whole test split, through the artifacts and through PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gatesearch.errors import UserError
from gatesearch.export.runtime import Bundle
from gatesearch.gated import GatedModel
from gatesearch.training import predictions, run_cascade


@dataclass(frozen=True, slots=True)
class Parity:
    """Agreement of a bundle with its model.

    Args:
        gate_agreement: share of samples that leave at the same gate, or at none, in both.
        prediction_agreement: share of samples with the same answer.
        max_abs_error: of class logits above the artifact's floor, over the samples that reach the end in both.
        samples: number of them.
        per_stage: for each gate, the engine that ran it and its agreement over the samples that reach it in both.
        exits, labels: what the bundle did, [N].
    """

    gate_agreement: float
    prediction_agreement: float
    max_abs_error: float
    samples: int
    per_stage: tuple[dict[str, Any], ...]
    exits: Tensor
    labels: Tensor


def verify(bundle: Bundle, model: GatedModel, features: Tensor, on_sample: Callable[[], None] | None = None) -> Parity:
    """Run every sample through both.

    Args:
        bundle: loaded with the engine of each core.
        model: with the thresholds that the bundle was given.
        features: [N, *shape].
        on_sample: called after each sample.
    """
    cascade = run_cascade(model, features)
    expected = predictions(cascade, model.answers)
    exits, labels, worst = [], [], 0.0
    for i, window in enumerate(features.numpy()):
        answer = bundle(window)
        exits.append(answer.exit)
        labels.append(answer.label)
        if answer.logits is not None and int(cascade.exit[i]) == answer.exit:
            raised = cascade.logits[i].clamp(min=bundle.logit_offset)  # as the artifact does
            worst = max(worst, float((torch.from_numpy(answer.logits) - raised).abs().max()))
        if on_sample is not None:
            on_sample()
    left, label = torch.tensor(exits), torch.tensor(labels)
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
    return Parity(
        gate_agreement=float((left == cascade.exit).double().mean()),
        prediction_agreement=float((label == expected).double().mean()),
        max_abs_error=worst,
        samples=len(features),
        per_stage=tuple(per_stage),
        exits=left,
        labels=label,
    )


def require(parity: Parity, gate_agreement: float, prediction_agreement: float) -> None:
    """Fail where the bundle strays further from the model than the recipe allows.

    Raises:
        UserError: one line with the figure and the bar.
    """
    for name, bar in (("gate_agreement", gate_agreement), ("prediction_agreement", prediction_agreement)):
        found = getattr(parity, name)
        if found < bar:
            raise UserError(
                f"verify.{name}: artifacts and model agree on {found:.2%} of {parity.samples} test samples, "
                f"less than the {bar:.2%} of the recipe"
            )
