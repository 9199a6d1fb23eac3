"""What the loop that runs a bundle takes on this host beside its programs.

It is timed with programs that do next to nothing, among those of the backbone at hand: what a window's programs leave
of the caches makes the loop up to three times as long as it is by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from gatesearch.compile.tflite import convert, quantise
from gatesearch.cost.sources.host.steady_timing import Beside, spread
from gatesearch.cost.table import Loop
from gatesearch.runtime.cascade import Array, Cascade, requantise
from gatesearch.runtime.program import Program

SMALL, LARGE, CLASSES = 64, 16_384, 8
STAGES = 3
SECONDS, LEAST = 6.0, 1.0


class _Gated(nn.Module):
    """Features [N, F] to what passes and a logit."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        passed = x.relu()
        return passed, passed[:, :1] + 1.0


class _Last(nn.Module):
    """Features [N, F] to logits."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :CLASSES].relu()


def measure(around: Sequence[bytes] = ()) -> Loop:
    """Time the loop: one stage and several, small and large values between, in int8 and in float.

    Args:
        around: .tflite programs that have their turn between any two runs of the loop; their time does not count.
    """
    programs = [Program(blob) for blob in around]
    gated, last = (convert(module, torch.ones(1, SMALL)) for module in (_Gated(), _Last()))
    one = _Loop([last], programs)
    # In int8, of one scale from stage to stage, as a bundle has it.
    small = np.linspace(0, 1, 4 * SMALL, dtype=np.float32).reshape(4, SMALL)
    several = _Loop([quantise(gated, small)] * (STAGES - 1) + [quantise(last, small)], programs)
    wide, narrow = (_Amid(convert(nn.ReLU(), torch.ones(1, n)), programs) for n in (LARGE, SMALL))
    samples = np.linspace(-1, 1, 4 * LARGE, dtype=np.float32).reshape(4, LARGE)
    int8 = Program(quantise(convert(nn.ReLU(), torch.ones(1, LARGE)), samples)).outputs[0]
    in_float = wide.outputs[0]
    x, z = np.ones((1, SMALL), np.float32), np.ones((1, LARGE), np.float32)
    few, many = np.ones((1, SMALL), np.int8), np.ones((1, LARGE), np.int8)
    amid = _amid(programs)
    taken = spread(
        [
            {"one": Beside(lambda: one(x))},
            {"several": Beside(lambda: several(few))},
            {"wide": Beside(lambda: wide.beside(z))},
            {"narrow": Beside(lambda: narrow.beside(x))},
            {"to float": amid(lambda: requantise(many, int8, in_float))},
            {"few to float": amid(lambda: requantise(few, int8, in_float))},
            {"to int8": amid(lambda: requantise(z, in_float, int8))},
            {"few to int8": amid(lambda: requantise(x, in_float, int8))},
        ],
        SECONDS,
        LEAST,
    ).us
    more = LARGE - SMALL
    return Loop(
        run=taken["one"],
        stage=max(0.0, taken["several"] - taken["one"]) / (STAGES - 1),
        byte=max(0.0, taken["wide"] - taken["narrow"]) / (2 * 4 * more),  # in and out
        crossings={
            "int8 float32": max(0.0, (taken["to float"] - taken["few to float"]) / more),
            "float32 int8": max(0.0, (taken["to int8"] - taken["few to int8"]) / more),
        },
        crossing=min(taken["few to float"], taken["few to int8"]),
        timings=len(taken),
    )


class _Amid(Program):
    """A program that runs behind others, and knows how long all of them took."""

    def __init__(self, model: bytes, others: Sequence[Program]) -> None:
        super().__init__(model)
        self.spent_ns, self._others, self._own = 0, others, self._runner.invoke
        self._runner.invoke = self._behind  # type: ignore[method-assign]

    def _behind(self) -> None:
        start = time.perf_counter_ns()
        for other in self._others:
            other.invoke()
        self._own()
        self.spent_ns = time.perf_counter_ns() - start

    def beside(self, x: Array) -> int:
        """Run one window; return the nanoseconds of the programs."""
        self(x)
        return self.spent_ns


class _Loop:
    """A cascade of small programs, the others shared out among them."""

    def __init__(self, models: Sequence[bytes], others: Sequence[Program]) -> None:
        self._stages = [_Amid(model, others[k :: len(models)]) for k, model in enumerate(models)]
        gates = len(models) - 1
        self._cascade = Cascade(self._stages, [None] * gates, [-1e9] * gates, [0] * gates)

    def __call__(self, x: Array) -> int:
        self._cascade.run(x)
        return sum(stage.spent_ns for stage in self._stages)


def _amid(others: Sequence[Program]) -> Callable[[Callable[[], object]], Beside]:
    def behind(call: Callable[[], object]) -> Beside:
        def run() -> int:
            start = time.perf_counter_ns()
            for other in others:
                other.invoke()
            gone = time.perf_counter_ns() - start
            call()
            return gone

        return Beside(run)

    return behind
