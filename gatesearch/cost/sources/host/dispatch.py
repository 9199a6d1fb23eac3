"""Times, on this host, the Python code that calls a bundle's programs one after another (the *loop*).

The loop is timed with small programs that do nearly nothing. The programs of the backbone run between them, and
displace the loop's data from the caches, as in real use. The loop then takes up to three times as long as it does
alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from gatesearch.compile.tflite import quantise
from gatesearch.cost.sources.host.steady_timing import NetCall, spread
from gatesearch.cost.table import Loop
from gatesearch.runtime.cascade import Array, Cascade, requantise
from gatesearch.runtime.program import Program

SMALL_VALUES, LARGE_VALUES, CLASSES = 64, 16_384, 8  # values of small and large tensors, and number of logits
STAGES = 3  # stages of the longer of the two timed cascades
TIMING_SECONDS, MIN_TIMING_SECONDS = 6.0, 1.0  # longest and shortest duration of the timings


class _Gated(nn.Module):
    """Maps features [N, F] to the features that pass and a logit."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        passed = x.relu()
        return passed, passed[:, :1] + 1.0


class _Last(nn.Module):
    """Maps features [N, F] to logits."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :CLASSES].relu()


def stage_networks() -> dict[str, tuple[nn.Module, Tensor]]:
    """Return the networks that stand in for stages by name, each with an example of its input."""
    small, large = torch.ones(1, SMALL_VALUES), torch.ones(1, LARGE_VALUES)
    return {
        "stage-gated": (_Gated(), small),
        "stage-last": (_Last(), small),
        "stage-small": (nn.ReLU(), small),
        "stage-large": (nn.ReLU(), large),
    }


def measure(around: Sequence[bytes], stages: Mapping[str, bytes]) -> Loop:
    """Time the loop with one and with several stages, with small and large tensors, in int8 and in float.

    Each figure is a difference between two timings that differ in one thing: the number of stages, or of values.

    Args:
        around: .tflite programs of the backbone, which run among those of the loop; their time is subtracted.
        stages: float .tflite programs of :func:`stage_networks` by name.
    """
    programs = [Program(blob) for blob in around]
    gated, last, small_relu, relu = (stages[f"stage-{name}"] for name in ("gated", "last", "small", "large"))
    one = _Loop([last], programs)
    # The stages are in int8 and have the same scale, as in a bundle.
    small = np.linspace(0, 1, 4 * SMALL_VALUES, dtype=np.float32).reshape(4, SMALL_VALUES)
    several = _Loop([quantise(gated, small)] * (STAGES - 1) + [quantise(last, small)], programs)
    wide, narrow = (_ProgramAfterOthers(model, programs) for model in (relu, small_relu))
    samples = np.linspace(-1, 1, 4 * LARGE_VALUES, dtype=np.float32).reshape(4, LARGE_VALUES)
    int8 = Program(quantise(relu, samples)).outputs[0]
    in_float = wide.outputs[0]
    x, z = np.ones((1, SMALL_VALUES), np.float32), np.ones((1, LARGE_VALUES), np.float32)
    few, many = np.ones((1, SMALL_VALUES), np.int8), np.ones((1, LARGE_VALUES), np.int8)
    after_programs = _run_after(programs)
    us = spread(
        [
            {"one": NetCall(lambda: one(x))},
            {"several": NetCall(lambda: several(few))},
            {"wide": NetCall(lambda: wide.programs_ns(z))},
            {"narrow": NetCall(lambda: narrow.programs_ns(x))},
            {"to float": after_programs(lambda: requantise(many, int8, in_float))},
            {"few to float": after_programs(lambda: requantise(few, int8, in_float))},
            {"to int8": after_programs(lambda: requantise(z, in_float, int8))},
            {"few to int8": after_programs(lambda: requantise(x, in_float, int8))},
        ],
        TIMING_SECONDS,
        MIN_TIMING_SECONDS,
    ).us
    more_values = LARGE_VALUES - SMALL_VALUES
    return Loop(
        run=us["one"],
        stage=max(0.0, us["several"] - us["one"]) / (STAGES - 1),
        byte=max(0.0, us["wide"] - us["narrow"]) / (2 * 4 * more_values),  # four bytes for each value in and out
        crossings={
            "int8 float32": max(0.0, (us["to float"] - us["few to float"]) / more_values),
            "float32 int8": max(0.0, (us["to int8"] - us["few to int8"]) / more_values),
        },
        crossing=min(us["few to float"], us["few to int8"]),
        timings=len(us),
    )


class _ProgramAfterOthers(Program):
    """A program that runs after others and records how long all of them took."""

    def __init__(self, model: bytes, others: Sequence[Program]) -> None:
        super().__init__(model)
        self.spent_ns, self._others, self._own = 0, others, self._runner.invoke
        self._runner.invoke = self._invoke_all  # type: ignore[method-assign]

    def _invoke_all(self) -> None:
        start = time.perf_counter_ns()
        for other in self._others:
            other.invoke()
        self._own()
        self.spent_ns = time.perf_counter_ns() - start

    def programs_ns(self, x: Array) -> int:
        """Run one window and return the nanoseconds that the programs took."""
        self(x)
        return self.spent_ns


class _Loop:
    """A cascade of small programs, with the other programs distributed among its stages."""

    def __init__(self, models: Sequence[bytes], others: Sequence[Program]) -> None:
        self._stages = [_ProgramAfterOthers(model, others[k :: len(models)]) for k, model in enumerate(models)]
        gates = len(models) - 1
        self._cascade = Cascade(self._stages, [None] * gates, [-1e9] * gates, [0] * gates)

    def __call__(self, x: Array) -> int:
        self._cascade.run(x)
        return sum(stage.spent_ns for stage in self._stages)


def _run_after(others: Sequence[Program]) -> Callable[[Callable[[], object]], NetCall]:
    """Return a decorator that runs a call after other programs, whose time does not count."""

    def decorate(call: Callable[[], object]) -> NetCall:
        def run() -> int:
            start = time.perf_counter_ns()
            for other in others:
                other.invoke()
            others_ns = time.perf_counter_ns() - start
            call()
            return others_ns

        return NetCall(run)

    return decorate
