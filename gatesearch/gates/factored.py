"""Linear and recurrent layers over factored matrices: modules that take a trained layer's place.

In training and for figures of quality they multiply by the matrices that the factors stand for, through the same
kernels as the layers that they replace: on a batch nothing is faster. What is exported is the other form, factor by
factor and step by step, which is where fewer parameters are less work. Tests hold the two together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gatesearch.gates.matrices import Factors

# From a stack [groups * rows, columns] and its number of matrices to its factors.
Build = Callable[[Tensor, int], Factors]
State = Tensor | tuple[Tensor, Tensor]
# From what the input and the state [N, groups * H] give to a step, and the state before it, to the state after it.
Step = Callable[[Tensor, Tensor, tuple[Tensor, ...]], tuple[Tensor, ...]]


class _Layer(nn.Module):
    """What linear and recurrent layers share of :class:`gatesearch.gates.LayerGate`."""

    traced_whole = True
    absorbs_norm = False

    def loss(self) -> Tensor:
        """Nothing to add."""
        return next(self.parameters()).new_zeros(())

    def steering(self) -> Iterator[nn.Parameter]:
        """Nothing to steer: factors are weights."""
        return iter(())

    def anneal(self, progress: float) -> None:
        """Tell the matrices how far a training has come, from 0 to 1."""
        for matrix in self.matrices():
            matrix.anneal(progress)

    def matrices(self) -> Iterator[Factors]:
        """Yield every matrix."""
        return (module for module in self.modules() if isinstance(module, Factors))

    def reset(self) -> None:
        """Nothing to forget."""

    def report(self) -> Mapping[str, float]:
        """Nothing hangs on the data, so nothing is observed."""
        return {}


class FactoredLinear(_Layer):
    """A linear layer [..., F] -> [..., H].

    Args:
        layer: the trained layer.
        build: makes the factors.
        order: the layer's outputs [H] in the order in which the matrix has them.
    """

    inverse: Tensor

    def __init__(self, layer: nn.Linear, build: Build, order: Tensor) -> None:
        super().__init__()
        self.matrix = build(layer.weight.detach()[order], 1)
        self.bias = None if layer.bias is None else nn.Parameter(layer.bias.detach().clone())
        self.register_buffer("inverse", order.argsort())

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., F] to [..., H]."""
        if torch.compiler.is_compiling():
            return self.factored(x)
        return F.linear(x, self.matrix.dense()[self.inverse], self.bias)

    def factored(self, x: Tensor) -> Tensor:
        """Do the same, factor by factor."""
        y: Tensor = self.matrix(x).index_select(-1, self.inverse)
        return y if self.bias is None else y + self.bias


class FactoredRNN(_Layer):
    """An ``nn.LSTM`` or ``nn.GRU``, batch first, of any depth, in one direction or both.

    Args:
        layer: the trained layer; copied, not changed.
        build: makes the factors of a stack of one matrix a gate.
        orders: for each layer and direction, in PyTorch's order, its hidden units [H] in the order in which the
            matrices have them.
    """

    orders: Tensor

    def __init__(self, layer: nn.RNNBase, build: Build, orders: Sequence[Tensor]) -> None:
        super().__init__()
        self.is_lstm, self.hidden, self.dropout = isinstance(layer, nn.LSTM), layer.hidden_size, layer.dropout
        self.depth, self.directions = layer.num_layers, 2 if layer.bidirectional else 1
        self.groups = 4 if self.is_lstm else 3
        self.register_buffer("orders", torch.stack(list(orders)))
        self.cells = nn.ModuleList()
        columns = torch.arange(layer.input_size)
        for k in range(self.depth):
            below = self.orders[k * self.directions : (k + 1) * self.directions]
            for d, order in enumerate(below):
                rows = torch.cat([order + g * self.hidden for g in range(self.groups)])
                weights = cell_weights(layer, k, d)
                self.cells.append(
                    nn.ModuleDict(
                        {
                            "input": build(weights[0].detach()[rows][:, columns], self.groups),
                            "state": build(weights[1].detach()[rows][:, order], self.groups),
                            "biases": nn.ParameterList([b.detach()[rows].clone() for b in weights[2:]]),
                        }
                    )
                )
            columns = torch.cat([order + d * self.hidden for d, order in enumerate(below)])

    def forward(self, x: Tensor, hx: State | None = None) -> tuple[Tensor, State]:
        """Map [N, T, F] to ([N, T, directions * H], state), as ``nn.LSTM`` and ``nn.GRU`` do.

        Args:
            x: the sequences.
            hx: the state to start from, [depth * directions, N, H], of an LSTM a pair; None is zero.
        """
        state = self._inner(x, hx)
        if torch.compiler.is_compiling():
            output, state = self._steps(x, state)
        else:
            weights = [w for cell in self.cells for w in _dense(cast(nn.ModuleDict, cell))]
            # has biases, depth, dropout, training, both directions, batch first
            shape = (bool(self._biases(0)), self.depth, self.dropout, self.training, self.directions == 2, True)
            if self.is_lstm:
                output, *state = torch._VF.lstm(x, state, weights, *shape)  # type: ignore[attr-defined]
            else:
                output, *state = torch._VF.gru(x, state[0], weights, *shape)  # type: ignore[attr-defined]
        return self._outer_output(output), self._outer(state)

    def factored(self, x: Tensor, hx: State | None = None) -> tuple[Tensor, State]:
        """Do the same as in evaluation, factor by factor and step by step."""
        output, state = self._steps(x, self._inner(x, hx))
        return self._outer_output(output), self._outer(state)

    def _steps(self, x: Tensor, state: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        last: list[tuple[Tensor, ...]] = []
        for k in range(self.depth):
            outputs = []
            for d in range(self.directions):
                number = k * self.directions + d
                cell = cast(nn.ModuleDict, self.cells[number])
                output, end = run_cell(
                    STEPS[self.is_lstm],
                    cell["input"],
                    cell["state"],
                    self._biases(number),
                    x.flip(1) if d else x,
                    tuple(s[number] for s in state),
                )
                outputs.append(output.flip(1) if d else output)
                last.append(end)
            x = torch.cat(outputs, 2) if self.directions == 2 else outputs[0]
        return x, [torch.stack(part) for part in zip(*last, strict=True)]

    def _biases(self, number: int) -> list[Tensor]:
        return list(cast(nn.ParameterList, cast(nn.ModuleDict, self.cells[number])["biases"]))

    def _inner(self, x: Tensor, hx: State | None) -> list[Tensor]:
        """Return the state to start from, units in the order of the matrices."""
        if hx is None:
            zero = x.new_zeros(len(self.orders), len(x), self.hidden)
            return [zero, zero] if self.is_lstm else [zero]
        parts = [hx] if isinstance(hx, Tensor) else list(hx)
        return [part.gather(2, self.orders.unsqueeze(1).expand_as(part)) for part in parts]

    def _outer(self, state: Sequence[Tensor]) -> State:
        inverse = self.orders.argsort(1).unsqueeze(1)
        parts = [part.gather(2, inverse.expand_as(part)) for part in state]
        return (parts[0], parts[1]) if self.is_lstm else parts[0]

    def _outer_output(self, output: Tensor) -> Tensor:
        """Return the output with the units where the replaced layer had them."""
        top = self.orders[-self.directions :].argsort(1)
        return output.index_select(2, torch.cat([inverse + d * self.hidden for d, inverse in enumerate(top)]))


def run_cell(
    step: Step,
    of_input: Factors,
    of_state: Factors,
    biases: Sequence[Tensor],
    x: Tensor,
    state: tuple[Tensor, ...],
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Run one layer in one direction.

    Args:
        step: of an LSTM or a GRU.
        of_input, of_state: the stacks of matrices.
        biases: beside the input's and the state's products; none or two.
        x: [N, T, F]; its products need no state and are taken of all steps at once.
        state: [N, H] each.

    Returns:
        The hidden state of every step, [N, T, H], and the last state.
    """
    of_x = of_input(x)
    if biases:
        of_x = of_x + biases[0]
    outputs = []
    for part in of_x.unbind(1):
        product = of_state(state[0])
        state = step(part, product + biases[1] if biases else product, state)
        outputs.append(state[0])
    return torch.stack(outputs, 1), state


def lstm_step(x: Tensor, h: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return the state (h, c) after a step, given the products [N, 4 H] of input and state."""
    i, f, g, o = (x + h).chunk(4, 1)
    c = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def gru_step(x: Tensor, h: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return the state (h,) after a step, given the products [N, 3 H] of input and state."""
    (x_r, x_z, x_n), (h_r, h_z, h_n) = x.chunk(3, 1), h.chunk(3, 1)
    r, z = torch.sigmoid(x_r + h_r), torch.sigmoid(x_z + h_z)
    n = torch.tanh(x_n + r * h_n)
    return (n + z * (state[0] - n),)


STEPS: Mapping[bool, Step] = {True: lstm_step, False: gru_step}  # by whether it is an LSTM


def cell_weights(layer: nn.RNNBase, depth: int, direction: int) -> list[Tensor]:
    """Return W_ih, W_hh and, where there are biases, b_ih and b_hh of one layer and direction."""
    names = ("weight_ih", "weight_hh", *(("bias_ih", "bias_hh") if layer.bias else ()))
    return [getattr(layer, f"{name}_l{depth}{'_reverse' if direction else ''}") for name in names]


def _dense(cell: nn.ModuleDict) -> list[Tensor]:
    return [cast(Factors, cell["input"]).dense(), cast(Factors, cell["state"]).dense(), *cell["biases"]]  # type: ignore[misc]
