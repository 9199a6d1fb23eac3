"""Stages with gates between them, run one after the other until a window leaves.

This is the reference for a firmware's own loop: every decision is an integer comparison, and what crosses to the next
core is requantised once. It needs numpy and the interpreters alone.
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


class Runnable(Protocol):
    """What runs a stage: a :class:`~gatesearch.runtime.program.Program`, or parts.

    Attributes:
        engine: what it runs on, in words.
        inputs, outputs: specs of the tensors.
    """

    engine: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def __call__(self, x: Array) -> tuple[Array, ...]:
        """Run one window in the raw type and shape of the input."""

    def invoke(self) -> None:
        """Run the last window again, without copies in and out: what is timed."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a bundle says of one window.

    Args:
        label: index of the class; for a stopped window the answer of its gate; None where the output is no class.
        exit: index of the gate at which it left, or the number of gates.
        logits: what the last stage or the gate's exit gave, [*output], channels first; class logits far below the
            winner are raised to a common floor. None where nothing was computed for a window that left.
        gate_logits: the logit of each gate that was reached, as the artifact gives it: an integer where it is int8.
    """

    label: int | None
    exit: int
    logits: npt.NDArray[np.float32] | None
    gate_logits: tuple[float, ...]


class Cascade:
    """Stages with gates between them.

    Args:
        programs: a stage each.
        exits: for each gate what a window runs that leaves there; None where its answer is constant.
        thresholds: the thresholds of the gates, as the programs give their logits.
        answers: the answers of the gates, which are classes.
        unsure: class of a window in which no class rises above the floor.
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
            first: the stage to begin with.
            gate_logits: the logits of the gates before it.
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
        # Where no class rises above the floor, nothing is reported: the same as a stopped window.
        return largest if output[largest] > self.logit_offset else self.unsure


def requantise(values: Array, source: TensorSpec, target: TensorSpec) -> Array:
    """Take integers from one stage's output scale to the next one's input scale."""
    # Calibrated on the same values, the scales differ by float rounding at most: no integer would change.
    if source.zero_point == target.zero_point and math.isclose(source.scale, target.scale, rel_tol=1e-5):
        return values
    return target.quantise(source.dequantise(values))


def _output(program: Runnable, hidden: Array) -> npt.NDArray[np.float32]:
    """Run the last program of a window; its output in float without the batch, channels first."""
    values: npt.NDArray[np.float32] = channel_first(program.outputs[0].dequantise(program(hidden)[0]))[0]
    return values
