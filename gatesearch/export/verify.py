"""Verification: runs test samples through a bundle and its model, and measures their agreement."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gatesearch.errors import UserError
from gatesearch.export.artifact_checks import ArtifactCheck, check_artifacts
from gatesearch.export.thresholds import copy_with_thresholds, read_thresholds
from gatesearch.model import Cascade, GatedModel
from gatesearch.runtime.bundle import Bundle
from gatesearch.runtime.cascade import Answer
from gatesearch.training import predictions, run_cascade

SMALLEST_ENERGY = 1e-12  # lower bound of energies, which keeps their ratio and its logarithm finite


@dataclass(frozen=True, slots=True)
class Parity:
    """Agreement of a bundle with its model.

    Args:
        gate_agreement: share of samples that leave bundle and model at the same gate, or both at none.
        prediction_agreement: share of samples with the same answer; None if the output is no class.
        max_abs_error: largest absolute difference of the outputs, over the samples that ``gate_agreement`` counts. A
            bundle exports no class logit below its floor, so lower logits of the model are first raised to this floor.
        samples: number of test samples.
        per_stage: for each gate, the engine that ran it, and the agreement over the samples that reach the gate in both
            bundle and model.
        exits: index of the gate at which each sample leaves the bundle, or the number of gates if it leaves at none,
            [N].
        labels: the bundle's class for each sample, [N]; None if the output is no class.
        artifacts: the check of each file of the bundle.
        output_snr_db: energy of the model's outputs divided by the energy of the bundle's error, in decibels, over the
            samples of ``max_abs_error``; None if the output is a class.
    """

    gate_agreement: float
    prediction_agreement: float | None
    max_abs_error: float
    samples: int
    per_stage: tuple[dict[str, Any], ...]
    exits: Tensor
    labels: Tensor | None
    output_snr_db: float | None = None
    artifacts: tuple[ArtifactCheck, ...] = ()


def verify(model: GatedModel, bundle: Bundle, features: Tensor, on_sample: Callable[[], None] | None = None) -> Parity:
    """Run every sample through the bundle and through the model, and compare them.

    The model runs with the thresholds of the bundle.

    Args:
        model: the model that was exported as the bundle; it is not changed.
        bundle: the loaded bundle; each stage runs on the engine that stands in for its core.
        features: features of the test split, [N, *shape].
        on_sample: a function that is called after each sample.

    Raises:
        UserError: the bundle is of another plan, a file is missing, or its sha256 differs from that in the manifest.
    """
    if bundle.manifest["digest"] != model.plan.digest:
        raise UserError(
            f"{bundle.folder}: is the bundle of plan {bundle.manifest['digest']}, not of {model.plan.digest}"
        )
    model = copy_with_thresholds(model, read_thresholds(bundle.manifest))
    cascade = run_cascade(model, features)
    answers: list[Answer] = []
    for window in features.numpy():
        answers.append(bundle(window))
        if on_sample is not None:
            on_sample()
    exits = torch.tensor([answer.exit for answer in answers])
    error = _output_error(answers, cascade, bundle.logit_offset)
    labels = agreement = None
    if len(model.output_shape) == 1:
        labels = torch.tensor([answer.label for answer in answers])
        agreement = float((labels == predictions(cascade, model.answers)).double().mean())
    return Parity(
        gate_agreement=float((exits == cascade.exit).double().mean()),
        prediction_agreement=agreement,
        max_abs_error=error.largest,
        samples=len(features),
        per_stage=tuple(
            {
                "stage": k,
                "engine": bundle.programs[k].engine,
                "gate_agreement": _gate_agreement(k, exits, cascade.exit),
            }
            for k in range(len(model.gates))
        ),
        exits=exits,
        labels=labels,
        output_snr_db=error.snr_db if labels is None else None,
        artifacts=check_artifacts(bundle, features.numpy()),
    )


@dataclass(frozen=True, slots=True)
class _OutputError:
    """Largest absolute error of the outputs, energy of the model's outputs, and energy of the error."""

    largest: float
    output_energy: float
    error_energy: float

    @property
    def snr_db(self) -> float:
        return 10 * math.log10(max(self.output_energy, SMALLEST_ENERGY) / max(self.error_energy, SMALLEST_ENERGY))


def _output_error(answers: Sequence[Answer], cascade: Cascade, floor: float) -> _OutputError:
    """Compare outputs over the samples that leave bundle and model at the same gate, or both at none."""
    largest = output_energy = error_energy = 0.0
    for answer, exit, expected in zip(answers, cascade.exit.tolist(), cascade.logits, strict=True):
        if answer.logits is None or answer.exit != exit:
            continue
        if answer.label is not None:
            expected = expected.clamp(min=floor)  # the bundle exports class logits above this floor only
        error = torch.from_numpy(answer.logits) - expected
        largest = max(largest, float(error.abs().max()))
        output_energy += float(expected.square().sum())
        error_energy += float(error.square().sum())
    return _OutputError(largest, output_energy, error_energy)


def _gate_agreement(k: int, exits: Tensor, model_exits: Tensor) -> float:
    """Return the share of equal decisions of gate ``k``, among the samples that reach it in both bundle and model."""
    arrivals = (exits >= k) & (model_exits >= k)
    agreement = ((exits > k) == (model_exits > k))[arrivals]
    return float(agreement.double().mean()) if len(agreement) else 1.0


def list_shortfalls(
    parity: Parity, gate_agreement: float, prediction_agreement: float, output_snr_db: float | None = None
) -> tuple[str, ...]:
    """Return a message for each broken file and for each figure of agreement below the minimum of the recipe.

    Args:
        parity: the result of :func:`verify`; a figure that is None is not compared.
        gate_agreement, prediction_agreement, output_snr_db: minimum of each figure.
    """
    shortfalls = []
    for check in parity.artifacts:
        if check.problem:
            shortfalls.append(f"verify: {check.path}: {check.problem}; export again")
    for name, minimum in (("gate_agreement", gate_agreement), ("prediction_agreement", prediction_agreement)):
        agreement = getattr(parity, name)
        if agreement is not None and agreement < minimum:
            shortfalls.append(
                f"verify.{name}: artifacts and model agree on {agreement:.2%} of {parity.samples} test samples, "
                f"less than the {minimum:.2%} of the recipe"
            )
    if parity.output_snr_db is not None and output_snr_db is not None and parity.output_snr_db < output_snr_db:
        shortfalls.append(
            f"verify.output_snr_db: over {parity.samples} test samples the model's output stands "
            f"{parity.output_snr_db:.1f} dB above the artifacts' error, less than the recipe's {output_snr_db:g} dB"
        )
    return tuple(shortfalls)
