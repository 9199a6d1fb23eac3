"""Checks that a network and its traced graph always give the same answer to the same input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

from gatesearch.errors import UserError
from gatesearch.graph.trace import node_label, trace

TOLERANCE = 1e-4  # as a share of the largest output


@torch.no_grad()
def check_repeatable(network: nn.Module, samples: Tensor) -> None:
    """Refuse a network whose answer to one input changes from run to run, or differs from its traced graph's answer.

    Args:
        network: the network; the check runs it in evaluation mode and then restores its mode.
        samples: inputs [n, *shape].

    Raises:
        UserError: two runs differ, or the traced graph computes something else than the module.

    >>> check_repeatable(nn.Sequential(nn.Linear(3, 2), nn.Dropout()), torch.ones(1, 3))
    """
    modes = {module: module.training for module in network.modules()}
    try:
        network.eval()
        traced = trace(network)
        first, second = _values(traced, samples), _values(traced, samples)
        for node, value in first.items():
            if not _equal(value, second[node]):
                raise UserError(
                    f"backbone: {node_label(node)!r} gives another answer each time, even in evaluation; draw "
                    "random numbers only in training, as nn.Dropout does in place of F.dropout"
                )
        end = traced.graph.output_node().args[0]
        expected = network(samples.clone())
        if isinstance(end, fx.Node) and not _close(first[end], expected):
            raise UserError(
                f"backbone: the traced graph of {type(network).__name__} computes something else than its forward: an "
                "operation in place (such as x += y) changes a tensor that has two names; write x = x + y"
            )
    finally:
        for module, mode in modes.items():
            module.training = mode


class _Recorder(fx.Interpreter):
    def __init__(self, traced: fx.GraphModule) -> None:
        super().__init__(traced, garbage_collect_values=False)
        self.values: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        self.values[n] = super().run_node(n)
        return self.values[n]


def _values(traced: fx.GraphModule, samples: Tensor) -> Mapping[fx.Node, Any]:
    recorder = _Recorder(traced)
    recorder.run(samples.clone())
    return recorder.values


def _equal(first: Any, second: Any) -> bool:
    if not isinstance(first, Tensor):
        return True
    return torch.equal(first.nan_to_num(), second.nan_to_num())


def _close(first: Any, second: Any) -> bool:
    if not isinstance(first, Tensor) or not isinstance(second, Tensor) or first.shape != second.shape:
        return False
    largest = float(second.abs().max()) if second.numel() else 0.0
    return torch.allclose(first, second, rtol=0.0, atol=TOLERANCE * max(1.0, largest), equal_nan=True)
