"""Sets the thresholds of a bundle's gates on its programs' logits, and reads them from a manifest."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gatesearch.compile.stage import StageGraph
from gatesearch.compile.tflite import channel_last
from gatesearch.model import GatedModel
from gatesearch.runtime.cascade import Runnable, requantise
from gatesearch.runtime.tensor_spec import TensorSpec
from gatesearch.training import FeatureSplit
from gatesearch.training.calibration import default_answer

EXPORTED_LOGITS = (0.0, 6.0)  # smallest and largest value of an exported logit
MAX_INT8 = 127  # the integer threshold of a gate that stops everything
BELOW_INT8 = -129  # the integer threshold of a gate that stops nothing: one below the smallest int8


@dataclass(frozen=True, slots=True)
class GateThreshold:
    """The decision of one gate of a bundle: its threshold for the model and for the program, and its answer.

    Args:
        theta: threshold on the model's logit. It corresponds to a value halfway between two integers of the program's
            logit. So model and program make the same decision, except where rounding inside the stage changes it.
        integer: threshold on the program's logit; a window leaves if its logit is not above this threshold.
        answer: the class that is the answer for windows that leave.
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
    """Set each gate's threshold on the logits of its program, for the samples that reach it; the model is not changed.

    If the gates were set together for a stream, each gate keeps its threshold, rounded to a value that its program's
    logit can have.

    Args:
        model: the gated model; its gates hold the recall targets.
        stages: the compiled stages of the model.
        programs: the program of each stage, in the number format of its core.
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
        if model.stream is None:
            gate.calibrate(logits.float(), positive[labels])
        else:  # the gates of a stream are set together, over hops and not over windows
            gate.theta.fill_(_in_program(float(gate.theta), stages[k], spec))
        # The threshold of a gate that stops nothing is -inf, which an integer program cannot hold.
        integer: float = max(BELOW_INT8, float(gate.theta))
        halfway = 0.0
        if spec.scale:
            # An integer is above theta exactly if it is above theta rounded down.
            integer, halfway = math.floor(integer), 0.5
        gate.theta.fill_(_in_model(integer, halfway, stages[k], spec))  # rounded to float32, as in a model
        passes = logits > integer
        answer = default_answer(labels[~passes], labels, positive)
        thresholds.append(GateThreshold(float(gate.theta), integer, answer))
        target = programs[k + 1].inputs[0]
        indices = torch.nonzero(passes).flatten().tolist()
        hidden = [requantise(outputs[i][0], program.outputs[0], target) for i in indices]
        labels = labels[passes]
    return tuple(thresholds)


def _in_program(theta: float, stage: StageGraph, spec: TensorSpec) -> float:
    """Convert a threshold on the model's logit to a threshold on the program's logit.

    The model's logit is an affine function of the program's logit.
    """
    offset = stage.gate_logit(spec.value(0.0))
    threshold = (theta - offset) / (stage.gate_logit(spec.value(1.0)) - offset)
    return float(min(MAX_INT8, threshold) if spec.scale else threshold)


def _in_model(integer: float, halfway: float, stage: StageGraph, spec: TensorSpec) -> float:
    """Convert a threshold on the program's logit to a threshold on the model's logit.

    The exported logit ends at both ends of its window, and the model's logit does not. So a gate that stops nothing, or
    everything, in the program has a threshold below, or above, all numbers in the model.
    """
    lowest, highest = spec.quantise(np.array(EXPORTED_LOGITS, np.float32)).tolist()
    if integer < lowest:
        return float(torch.finfo(torch.float32).min)
    if integer >= highest:
        return float(torch.finfo(torch.float32).max)
    return float(stage.gate_logit(spec.value(integer + halfway)))


def read_thresholds(manifest: Mapping[str, Any]) -> tuple[GateThreshold, ...]:
    """Return the thresholds that a manifest holds."""
    gates = [stage["gate"] for stage in manifest["stages"] if stage["gate"] is not None]
    return tuple(GateThreshold(gate["theta"], gate["theta_integer"], gate["answer"]) for gate in gates)


def copy_with_thresholds(model: GatedModel, thresholds: Sequence[GateThreshold]) -> GatedModel:
    """Return a copy of a model whose gates have the thresholds and answers of a bundle."""
    copied = copy.deepcopy(model)
    for k, threshold in enumerate(thresholds):
        copied.gate(k).theta.fill_(threshold.theta)
        copied.answers[k] = threshold.answer
    return copied
