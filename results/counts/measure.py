"""Counts the multiply-accumulates of a network; measures and estimates the memory of its program."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from gatesearch.compile import tflite
from gatesearch.graph.footprint import program_footprint
from gatesearch.graph.operators import OperatorCounter
from gatesearch.runtime.program import Program
from results.counts.networks import COUNTED, PLANNED

BATCH = 2  # samples; batch normalisation in training mode needs two


def count(name: str) -> dict[str, Any]:
    """Return the multiply-accumulates of a network, as gatesearch counts them and as a reference counts them."""
    make, by_hand = COUNTED[name]
    torch.manual_seed(0)
    net, shape = make()
    x = torch.randn(BATCH, *shape)
    with OperatorCounter() as counter, torch.no_grad():
        net.eval()(x)
    reference = by_hand
    if reference is None:
        # flop_counter misses the two products of the CPU's fused attention. So this count runs attention unfused.
        with FlopCounterMode(display=False) as flops, sdpa_kernel(SDPBackend.MATH):
            net.train()(x)
        reference = flops.get_total_flops() // 2 // BATCH
    in_record = program_footprint(net.eval(), x[:1]).macs
    return {
        "macs": counter.macs // BATCH,
        "record": int(in_record),
        "reference": reference,
        "by": "hand" if by_hand is not None else "flop_counter",
        "unknown": dict(counter.unknown),
    }


def _planned(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    torch.manual_seed(0)
    net, shape = PLANNED[name]()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)  # the converter drops layers behind a weight of zero
    return net.eval(), shape


def program(name: str) -> dict[str, Any]:
    """Return the measured bytes of a network's int8 .tflite file, and of TensorFlow Lite Micro's arena for it."""
    net, shape = _planned(name)
    x = torch.randn(4, *shape)
    model = tflite.quantise(tflite.convert(net, x[:1]), tflite.channel_last(x.numpy()))
    return {"file": len(model), "arena": Program(model, "tflm").arena_bytes}


def estimate(name: str) -> dict[str, Any]:
    """Return the estimated bytes of the file and of the arena; the estimates need no .tflite program."""
    net, shape = _planned(name)
    footprint = program_footprint(net, torch.randn(1, *shape))
    return {"file_estimate": int(footprint.file_bytes), "arena_estimate": int(footprint.arena_bytes)}
