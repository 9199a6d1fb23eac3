"""What the loop that runs a bundle takes on this host beside its programs, measured with programs that do nothing."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from gatesearch.export.runtime import Cascade, requantise
from gatesearch.hardware.table import Loop
from gatesearch.hardware.tflite import Program, convert, quantise
from gatesearch.hardware.timing import settled

SMALL, LARGE, CLASSES = 64, 16_384, 8
SECONDS = 2.0


class _Gated(nn.Module):
    """Features [N, F] to what passes and a logit."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        passed = x.relu()
        return passed, passed[:, :1] + 1.0


class _Last(nn.Module):
    """Features [N, F] to logits."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :CLASSES].relu()


@cache
def measure() -> Loop:
    """Time the loop, once a process: one stage and two, small and large values between, in int8 and in float."""
    gated, last = (convert(module, torch.ones(1, SMALL)) for module in (_Gated(), _Last()))
    first, second = Program(gated), Program(last)
    one, two = Cascade([second]), Cascade([first, second], [None], [-1e9], [0])
    wide = Program(convert(nn.ReLU(), torch.ones(1, LARGE)))
    narrow = Program(convert(nn.ReLU(), torch.ones(1, SMALL)))
    samples = np.linspace(-1, 1, 4 * LARGE, dtype=np.float32).reshape(4, LARGE)
    int8 = Program(quantise(convert(nn.ReLU(), torch.ones(1, LARGE)), samples)).outputs[0]
    in_float = wide.outputs[0]
    x, z = np.ones((1, SMALL), np.float32), np.ones((1, LARGE), np.float32)
    few, many = np.ones((1, SMALL), np.int8), np.ones((1, LARGE), np.int8)
    taken = settled(
        {
            "one": lambda: one.run(x),
            "two": lambda: two.run(x),
            "first": first.invoke,
            "second": second.invoke,
            "wide": lambda: wide(z),
            "wide alone": wide.invoke,
            "narrow": lambda: narrow(x),
            "narrow alone": narrow.invoke,
            "to float": lambda: requantise(many, int8, in_float),
            "few to float": lambda: requantise(few, int8, in_float),
            "to int8": lambda: requantise(z, in_float, int8),
            "few to int8": lambda: requantise(x, in_float, int8),
        },
        SECONDS,
    ).minimum_us
    copied = (taken["wide"] - taken["wide alone"]) - (taken["narrow"] - taken["narrow alone"])
    run = taken["one"] - taken["second"]
    more = LARGE - SMALL
    return Loop(
        run=max(0.0, run),
        stage=max(0.0, taken["two"] - taken["first"] - taken["second"] - run),
        byte=max(0.0, copied / (2 * 4 * more)),  # in and out
        crossings={
            "int8 float32": max(0.0, (taken["to float"] - taken["few to float"]) / more),
            "float32 int8": max(0.0, (taken["to int8"] - taken["few to int8"]) / more),
        },
        crossing=min(taken["few to float"], taken["few to int8"]),
        timings=len(taken),
    )
