"""Runs the stages of a cascade on a window, until it leaves at a gate or the last stage answers.

The firmware of a device has to compute the same. Every decision is an integer comparison, and a tensor that crosses to
the next core is requantised once. This module needs only NumPy and the interpreters.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from gatesearch.compile.tflite import channel_first
from gatesearch.runtime.tensor_spec import TensorSpec

Array = npt.NDArray[Any]
SAME_GRID_TOLERANCE = 1e-5  # relative difference of two scales that is a rounding error


class Runnable(Protocol):
    """A program that runs a stage: a :class:`~gatesearch.runtime.program.Program`, or a sequence of parts.

    Attributes:
        engine: name of the engine that runs the stage.
        inputs: specs of the input tensors.
        outputs: specs of the output tensors.
    """

    engine: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def __call__(self, x: Array) -> tuple[Array, ...]:
        """Run one window, given in the raw type and shape of the input."""

    def invoke(self) -> None:
        """Run the last window again without copies in and out, for timing."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of a bundle for one window.

    Args:
        label: index of the class; the answer of the gate for a stopped window; None if the output is no class.
        exit: index of the gate at which the window left, or the number of gates if it left at none.
        logits: output of the last stage or of the gate's exit, [*output], channels first. Class logits far below the
            largest one are raised to a common floor. None if the gate that stopped the window has no exit.
        gate_logits: logit of each gate that the window reached, as the program outputs it: an integer for int8.
    """

    label: int | None
    exit: int
    logits: npt.NDArray[np.float32] | None
    gate_logits: tuple[float, ...]


class Cascade:
    """Stages with gates between them.

    Args:
        programs: the program of each stage.
        exits: for each gate, the program that a window runs when it leaves there; None if the answer is constant.
        thresholds: the threshold of each gate, in the units of the logit that its program outputs.
        answers: the class that each gate answers for a stopped window.
        unsure: the class of a window in which no class logit is above the floor.
        logit_offset: the floor of the last program's class logits.
    """

    def __init__(
        self,
        programs: Sequence[Runnable],
        exits: Sequence[Runnable | None] = (),
        thresholds: Sequence[float] = (),
        answers: Sequence[int] = (),
        unsure: int = 0,
        logit_offset: float = 0.0,
    ) -> None:
        self.programs, self.exits, self.thresholds = list(programs), list(exits), list(thresholds)
        self.answers, self.unsure, self.logit_offset = list(answers), unsure, logit_offset

    def run(self, hidden: Array, first: int = 0, gate_logits: Sequence[float] = ()) -> Answer:
        """Run one window until it leaves at a gate or the last stage answers.

        Args:
            hidden: input of stage ``first``, in the type and shape of its program.
            first: index of the stage to begin with.
            gate_logits: logits of the gates before that stage.
        """
        logits = list(gate_logits)
        for k in range(first, len(self.thresholds)):
            passed, logit = self.programs[k](hidden)
            value = logit.flat[0].item()
            logits.append(value)
            if value <= self.thresholds[k]:
                return self._leave(passed, k, tuple(logits))
            hidden = requantise(passed, self.programs[k].outputs[0], self.programs[k + 1].inputs[0])
        output = _output(self.programs[-1], hidden)
        if self.logit_offset:
            output += np.float32(self.logit_offset)
        return Answer(self._label(output), len(self.thresholds), output, tuple(logits))

    def _leave(self, passed: Array, k: int, gate_logits: tuple[float, ...]) -> Answer:
        program = self.exits[k]
        if program is None:
            return Answer(self.answers[k], k, None, gate_logits)
        output = _output(program, requantise(passed, self.programs[k].outputs[0], program.inputs[0]))
        return Answer(self._label(output), k, output, gate_logits)

    def _label(self, output: Array) -> int | None:
        if output.ndim != 1:
            return None
        largest = int(output.argmax())
        # If no class is above the floor, no positive is reported, as for a stopped window.
        return largest if output[largest] > self.logit_offset else self.unsure


def unsure_class(positive: Sequence[bool]) -> int:
    """Return the class of a window in which no class logit is above the floor: the first class that is no positive.

    >>> unsure_class([True, False, False])
    1
    """
    return list(positive).index(False) if False in positive else 0


def requantise(values: Array, source: TensorSpec, target: TensorSpec) -> Array:
    """Convert integers from one stage's output scale to the next stage's input scale."""
    # Both scales are calibrated on the same values. If they differ only by float rounding, no integer would change.
    same_scale = math.isclose(source.scale, target.scale, rel_tol=SAME_GRID_TOLERANCE)
    if source.zero_point == target.zero_point and same_scale:
        return values
    return target.quantise(source.dequantise(values))


def _output(program: Runnable, hidden: Array) -> npt.NDArray[np.float32]:
    """Run the last program of a window; return its output in float without the batch, channels first."""
    values: npt.NDArray[np.float32] = channel_first(program.outputs[0].dequantise(program(hidden)[0]))[0]
    return values
