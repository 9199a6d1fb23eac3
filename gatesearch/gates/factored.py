"""Linear and recurrent layers with factored matrices: modules that replace a trained layer.

Each module computes the same function in two ways. ``forward`` multiplies the factors out to dense matrices and calls
PyTorch's kernel for the dense layer. Training and evaluation use ``forward``. ``factored`` multiplies by one factor
after another, step by step. Export uses ``factored``, so that a device multiplies less. Tests compare the two ways.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gatesearch.gates.matrices import Factors
from gatesearch.gates.recurrent_steps import Run, take_steps

# A function that takes a stack of matrices [groups * rows, columns] and the number of groups, and returns its factors.
Build = Callable[[Tensor, int], Factors]
State = Tensor | tuple[Tensor, Tensor]


class _Layer(nn.Module):
    """The methods of :class:`gatesearch.gates.LayerGate` that factored linear and recurrent layers share."""

    traced_whole = True
    absorbs_norm = False

    def loss(self) -> Tensor:
        """Return 0: a factored layer has no loss of its own."""
        return next(self.parameters()).new_zeros(())

    def control_parameters(self) -> Iterator[nn.Parameter]:
        """Yield nothing: factors train as weights do."""
        return iter(())

    def anneal(self, progress: float) -> None:
        """Pass the progress of a training, from 0 to 1, on to the matrices."""
        for matrix in self.matrices():
            matrix.anneal(progress)

    def matrices(self) -> Iterator[Factors]:
        """Yield every stack of matrices of the layer."""
        return (module for module in self.modules() if isinstance(module, Factors))

    def reset(self) -> None:
        """Do nothing: a factored layer observes nothing."""

    def report(self) -> Mapping[str, float]:
        """Return nothing: the work does not depend on the data."""
        return {}


class FactoredLinear(_Layer):
    """A linear layer [..., F] -> [..., H] whose matrix is factored.

    Args:
        layer: the trained layer.
        build: function that makes the factors of the layer's weight.
    """

    def __init__(self, layer: nn.Linear, build: Build) -> None:
        super().__init__()
        self.matrix = build(layer.weight.detach(), 1)
        self.bias = None if layer.bias is None else nn.Parameter(layer.bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., F] to [..., H]."""
        if torch.compiler.is_compiling():
            return self.factored(x)
        return F.linear(x, self.matrix.dense(), self.bias)

    def factored(self, x: Tensor) -> Tensor:
        """Compute :meth:`forward` by one product for each factor."""
        y: Tensor = self.matrix(x)
        return y if self.bias is None else y + self.bias


class FactoredRNN(_Layer):
    """An ``nn.LSTM`` or ``nn.GRU`` whose matrices are factored: batch first, of any depth, in one direction or both.

    Args:
        layer: the trained layer; copied, not changed.
        build: function that makes the factors of a stack of matrices. It is called for each layer and direction in
            PyTorch's order, first with the input's stack, then with the state's.
    """

    def __init__(self, layer: nn.RNNBase, build: Build) -> None:
        super().__init__()
        self.is_lstm, self.hidden, self.dropout = isinstance(layer, nn.LSTM), layer.hidden_size, layer.dropout
        self.depth, self.directions = layer.num_layers, 2 if layer.bidirectional else 1
        self.cell, self.groups = ("lstm", 4) if self.is_lstm else ("gru", 3)
        self.cells = nn.ModuleList()
        for number in range(self.depth * self.directions):
            input_weight, state_weight, *biases = cell_weights(layer, *divmod(number, self.directions))
            self.cells.append(
                nn.ModuleDict(
                    {
                        "input": build(input_weight.detach(), self.groups),
                        "state": build(state_weight.detach(), self.groups),
                        "biases": nn.ParameterList([bias.detach().clone() for bias in biases]),
                    }
                )
            )

    def forward(self, x: Tensor, hx: State | None = None) -> tuple[Tensor, State]:
        """Map [N, T, F] to ([N, T, directions * H], state), as ``nn.LSTM`` and ``nn.GRU`` do.

        Args:
            x: the sequences.
            hx: the initial state, [depth * directions, N, H]; for an LSTM the pair (h, c); None stands for zeros.
        """
        if torch.compiler.is_compiling():
            return self.factored(x, hx)
        state = self._start(x, hx)
        weights = [w for number in range(len(self.cells)) for w in self._dense(number)]
        # PyTorch's arguments: has biases, depth, dropout, training, both directions, batch first.
        shape = (bool(self.cell_of(0)[2]), self.depth, self.dropout, self.training, self.directions == 2, True)
        if self.is_lstm:
            output, h, c = torch._VF.lstm(x, state, weights, *shape)
            return output, (h, c)
        output, h = torch._VF.gru(x, state[0], weights, *shape)
        return output, h

    def factored(self, x: Tensor, hx: State | None = None, run: Run = take_steps) -> tuple[Tensor, State]:
        """Compute :meth:`forward` in evaluation mode, by one product for each factor, step by step.

        Args:
            x: the sequences, [N, T, F].
            hx: the initial state, [depth * directions, N, H]; for an LSTM the pair (h, c); None stands for zeros.
            run: function that runs one layer in one direction.
        """
        state, last = self._start(x, hx), []
        for k in range(self.depth):
            outputs = []
            for d in range(self.directions):
                number = k * self.directions + d
                input_matrix, state_matrix, biases = self.cell_of(number)
                products = input_matrix(x.flip(1) if d else x)  # one product for all steps: it needs no state
                output, end = run(
                    products + biases[0] if biases else products,
                    state_matrix.parts(),
                    biases[1:],
                    [part[number] for part in state],
                    state_matrix.form,
                    self.cell,
                )
                outputs.append(output.flip(1) if d else output)
                last.append(end)
            x = torch.cat(outputs, 2) if self.directions == 2 else outputs[0]
        ends = [torch.stack(part) for part in zip(*last, strict=True)]
        return x, (ends[0], ends[1]) if self.is_lstm else ends[0]

    def _start(self, x: Tensor, hx: State | None) -> tuple[Tensor, ...]:
        """Return the initial state as a tuple; zeros without ``hx``."""
        if hx is not None:
            return (hx,) if isinstance(hx, Tensor) else hx
        zero = x.new_zeros(len(self.cells), len(x), self.hidden)
        return (zero, zero) if self.is_lstm else (zero,)

    def cell_of(self, number: int) -> tuple[Factors, Factors, list[Tensor]]:
        """Return the input's matrices, the state's matrices and the biases of one layer and direction.

        ``number`` counts layers and directions in PyTorch's order.
        """
        cell = cast(nn.ModuleDict, self.cells[number])
        return cast(Factors, cell["input"]), cast(Factors, cell["state"]), list(cast(nn.ParameterList, cell["biases"]))

    def _dense(self, number: int) -> list[Tensor]:
        input_matrix, state_matrix, biases = self.cell_of(number)
        return [input_matrix.dense(), state_matrix.dense(), *biases]


def replace_layer(layer: nn.Module | None, build: Build) -> FactoredLinear | FactoredRNN:
    """Return the module that replaces a linear or recurrent layer; ``build`` makes its matrices."""
    if isinstance(layer, nn.Linear):
        return FactoredLinear(layer, build)
    assert isinstance(layer, nn.RNNBase)
    return FactoredRNN(layer, build)


def cell_weights(layer: nn.RNNBase, depth: int, direction: int) -> list[Tensor]:
    """Return the weights W_ih and W_hh of one layer and direction, and its biases b_ih and b_hh if it has any."""
    names = ("weight_ih", "weight_hh", *(("bias_ih", "bias_hh") if layer.bias else ()))
    return [getattr(layer, f"{name}_l{depth}{'_reverse' if direction else ''}") for name in names]
