"""The steps of an LSTM and a GRU with factored matrices, as functions of plain arrays.

The same functions run on PyTorch tensors and on the TFLite converter's own arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from gatesearch.gates.matrices import PRODUCTS, TORCH, Array, Ops

# A function that computes one step and returns the state after it. Its arrays are the products of the input with the
# input matrices, the products of the state with the state matrices, [N, groups * H] each, and the state before the
# step. An LSTM has four groups (its own gates i, f, g and o), a GRU has three.
Step = Callable[[Ops, Array, Array, Sequence[Array]], list[Array]]
# The type of :func:`take_steps` and of functions that replace it.
Run = Callable[
    [Tensor, Sequence[Tensor], Sequence[Tensor], Sequence[Tensor], str, str], tuple[Tensor, Sequence[Tensor]]
]


def take_steps(
    input_products: Tensor,
    parts: Sequence[Tensor],
    bias: Sequence[Tensor],
    state: Sequence[Tensor],
    form: str,
    cell: str,
) -> tuple[Tensor, list[Tensor]]:
    """Run one layer in one direction.

    Args:
        input_products: products of the input with the input matrices at each step, [N, T, groups * H].
        parts: factors of the matrices by which the state is multiplied, in the order that ``form`` requires.
        bias: the bias that is added to the products of the state, as a sequence of one tensor; empty without a bias.
        state: the initial state, [N, H] each: h, and for an LSTM also c.
        form: key of :data:`gatesearch.gates.matrices.PRODUCTS`.
        cell: key of :data:`STEPS`.

    Returns:
        The hidden state of every step, [N, T, H], and the last state.
    """
    return take_steps_with(TORCH, input_products, parts, bias, state, form, cell)


def take_steps_with(
    ops: Ops,
    input_products: Array,
    parts: Sequence[Array],
    bias: Sequence[Array],
    state: Sequence[Array],
    form: str,
    cell: str,
) -> tuple[Array, list[Array]]:
    """Run one layer in one direction as :func:`take_steps` does, with arrays of any library and its operators ``ops``.

    The other arguments and the result are those of :func:`take_steps`.
    """
    product, step, outputs, now = PRODUCTS[form], STEPS[cell], [], list(state)
    for t in range(input_products.shape[1]):
        state_products = product(ops, now[0], parts)
        now = step(ops, input_products[:, t], state_products + bias[0] if bias else state_products, now)
        outputs.append(now[0][:, None])
    return ops.concat(outputs, 1), now


def lstm_step(ops: Ops, x: Array, h: Array, state: Sequence[Array]) -> list[Array]:
    """Return the state [h, c] after a step of an LSTM.

    ``x`` holds the products of the input with the input matrices, [N, 4 H]. ``h`` holds the products of the state with
    the state matrices, [N, 4 H]. ``state`` is the state before the step.
    """
    i, f, g, o = _gates(x + h, 4)
    c = ops.sigmoid(f) * state[1] + ops.sigmoid(i) * ops.tanh(g)
    return [ops.sigmoid(o) * ops.tanh(c), c]


def gru_step(ops: Ops, x: Array, h: Array, state: Sequence[Array]) -> list[Array]:
    """Return the state [h] after a step of a GRU.

    ``x`` holds the products of the input with the input matrices, [N, 3 H]. ``h`` holds the products of the state with
    the state matrices, [N, 3 H]. ``state`` is the state before the step.
    """
    (x_r, x_z, x_n), (h_r, h_z, h_n) = _gates(x, 3), _gates(h, 3)
    z = ops.sigmoid(x_z + h_z)
    n = ops.tanh(x_n + ops.sigmoid(x_r + h_r) * h_n)
    return [n + z * (state[0] - n)]


def _gates(stacked: Array, count: int) -> list[Array]:
    size = stacked.shape[1] // count
    return [stacked[:, g * size : (g + 1) * size] for g in range(count)]


STEPS: Mapping[str, Step] = {"lstm": lstm_step, "gru": gru_step}
