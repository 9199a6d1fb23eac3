"""The thresholds of a bundle's gates: set on the exported logits, written to and read from the manifest."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gatesearch.compile.stage import StageGraph
from gatesearch.compile.tflite import channel_last
from gatesearch.model import GatedModel
from gatesearch.runtime.cascade import Runnable, requantise
from gatesearch.training import FeatureSplit
from gatesearch.training.calibration import default_answer

BELOW_INT8 = -129  # the integer threshold of a gate that stops nothing: one below the smallest int8


@dataclass(frozen=True, slots=True)
class GateThreshold:
    """What decides at one gate of a bundle.

    Args:
        theta: the gate's own logit, halfway between two integers of the artifact's: what the artifact decides is then
            what the model decides, but for rounding inside the stage.
        integer: the same as the artifact gives logits; a window leaves where its logit is not above it.
        answer: class of a window that leaves.
    """

    theta: float
    integer: float
    answer: int


def artifact_thresholds(
    model: GatedModel,
    stages: Sequence[StageGraph],
    programs: Sequence[Runnable],
    validation: FeatureSplit,
    positive: Tensor,
) -> tuple[GateThreshold, ...]:
    """Set every threshold on the exported logits of the samples that arrive; the model is not changed.

    Args:
        model: with the gates, whose recall targets hold.
        stages: as the passes leave them.
        programs: a stage each, in the arithmetic of its core.
        validation: the split on which thresholds are set.
        positive: whether each class is a positive, [classes].
    """
    thresholds = []
    features = channel_last(validation.features.numpy())
    hidden = [programs[0].inputs[0].quantise(features[i : i + 1]) for i in range(len(features))]
    labels = validation.labels
    for k, program in enumerate(programs[:-1]):
        outputs = [program(x) for x in hidden]
        logits = torch.tensor([logit.flat[0].item() for _, logit in outputs])
        spec = program.outputs[1]
        gate = copy.deepcopy(model.gate(k))
        gate.calibrate(logits.float(), positive[labels])
        # It is -inf where nothing is to be stopped, and that is no number of an artifact.
        integer: float = max(BELOW_INT8, float(gate.theta))
        halfway = 0.0
        if spec.scale:
            # "Above theta" over integers: the whole part of theta, rounded down.
            integer, halfway = math.floor(integer), 0.5
        gate.theta.fill_(stages[k].gate_logit(spec.value(integer + halfway)))  # in float32, as a model holds it
        goes = logits > integer
        answer = default_answer(labels[~goes], labels, positive)
        thresholds.append(GateThreshold(float(gate.theta), integer, answer))
        target = programs[k + 1].inputs[0]
        going = torch.nonzero(goes).flatten().tolist()
        hidden = [requantise(outputs[i][0], program.outputs[0], target) for i in going]
        labels = labels[goes]
    return tuple(thresholds)


def thresholds_of(manifest: Mapping[str, Any]) -> tuple[GateThreshold, ...]:
    """Return the thresholds that a manifest holds."""
    gates = [stage["gate"] for stage in manifest["stages"] if stage["gate"] is not None]
    return tuple(GateThreshold(gate["theta"], gate["theta_integer"], gate["answer"]) for gate in gates)


def with_thresholds(model: GatedModel, thresholds: Sequence[GateThreshold]) -> GatedModel:
    """Return a copy of a model that decides as a bundle does."""
    copied = copy.deepcopy(model)
    for k, threshold in enumerate(thresholds):
        copied.gate(k).theta.fill_(threshold.theta)
        copied.answers[k] = threshold.answer
    return copied
