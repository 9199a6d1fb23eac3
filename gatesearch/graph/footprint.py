"""Multiply-accumulates and bytes of a module in int8."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from gatesearch.graph.operators import OperatorCounter


def static_costs(module: nn.Module, example: Tensor) -> dict[str, float]:
    """Return MACs, bytes of int8 weights and bytes of int8 activations alive at once, of one sample [1, ...].

    Biases are int32. Alive at once are the inputs and the output of the operation for which they are largest.
    """
    with OperatorCounter() as counter, torch.no_grad():
        module(example)
    weights = sum(p.numel() * (1 if p.ndim > 1 else 4) for p in module.parameters())
    traced = module if isinstance(module, fx.GraphModule) else fx.symbolic_trace(module)
    ShapeProp(traced).propagate(example)
    sizes: dict[fx.Node, int] = {}
    for node in traced.graph.nodes:
        shape = _shape(node.meta.get("tensor_meta"))
        if shape is not None:
            sizes[node] = shape.numel()
    alive = [
        size + sum(sizes[read] for read in node.all_input_nodes if read in sizes)
        for node, size in sizes.items()
        if node.op != "output"
    ]
    return {
        "macs": float(counter.macs),
        "weight_bytes": float(weights),
        "activation_bytes": float(max(alive)),
    }


def _shape(meta: Any) -> torch.Size | None:
    """Return the shape of a node's output; of a recurrent layer that of the output, not of the state."""
    while isinstance(meta, tuple) and not hasattr(meta, "shape"):
        meta = meta[0] if meta else None
    return getattr(meta, "shape", None)
