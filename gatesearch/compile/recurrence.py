"""One PyTorch operator for all steps of a recurrent layer, so that conversion to .tflite is fast.

Without this operator, ``torch.export`` traces fifty steps of an LSTM as a thousand operators. Every pass of the
conversion visits all of them in Python, which takes a minute. With this operator, the trace has one node for the layer.
The converter expands the node by running the code of the steps on JAX arrays, which takes a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from gatesearch.gates.matrices import Ops
from gatesearch.gates.recurrent_steps import take_steps, take_steps_with

LARGEST_CONCATENATION = 8  # tensors of one concatenation; TensorFlow Lite Micro allows ten at most


@torch.library.custom_op("gatesearch::recurrence", mutates_args=())
def _recurrence(
    input_products: Tensor,
    parts: Sequence[Tensor],
    bias: Sequence[Tensor],
    state: Sequence[Tensor],
    form: str,
    cell: str,
) -> tuple[Tensor, Tensor]:
    output, last = take_steps(input_products, parts, bias, state, form, cell)
    return output, torch.stack(last)


@_recurrence.register_fake
def _(
    input_products: Tensor,
    parts: Sequence[Tensor],
    bias: Sequence[Tensor],
    state: Sequence[Tensor],
    form: str,
    cell: str,
) -> tuple[Tensor, Tensor]:
    count, hidden = state[0].shape
    return input_products.new_empty(count, input_products.shape[1], hidden), input_products.new_empty(
        len(state), count, hidden
    )


def run(
    input_products: Tensor,
    parts: Sequence[Tensor],
    bias: Sequence[Tensor],
    state: Sequence[Tensor],
    form: str,
    cell: str,
) -> tuple[Tensor, Sequence[Tensor]]:
    """Run the steps of one layer and direction; see :func:`gatesearch.gates.recurrent_steps.take_steps`."""
    output, last = torch.ops.gatesearch.recurrence(input_products, list(parts), list(bias), list(state), form, cell)
    return output, last.unbind(0)


@cache
def register() -> None:
    """Tell the converter how to expand the operator; later calls do nothing."""
    import jax
    from jax import numpy as jnp
    from litert_torch.backend import jax_bridge
    from litert_torch.backend.lowerings import registry

    def concatenate(arrays, axis: int):  # type: ignore[no-untyped-def]
        while (count := len(arrays)) > LARGEST_CONCATENATION:
            starts = range(0, count, LARGEST_CONCATENATION)
            arrays = [jnp.concatenate(arrays[i : i + LARGEST_CONCATENATION], axis) for i in starts]
        return jnp.concatenate(arrays, axis)

    ops = Ops(concatenate, jax.nn.sigmoid, jnp.tanh)

    def recurrence(input_products, parts, bias, state, form: str, cell: str):  # type: ignore[no-untyped-def]
        output, last = take_steps_with(ops, input_products, parts, bias, state, form, cell)
        return output, jnp.stack(last)

    registry.lower(torch.ops.gatesearch.recurrence.default)(jax_bridge.wrap(recurrence))
