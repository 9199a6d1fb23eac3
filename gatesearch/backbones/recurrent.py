"""Recurrent backbones: an LSTM or a GRU over the frames of a window, and a linear layer.

KWS-LSTM and KWS-GRU are networks for keyword spotting from Hello Edge (arXiv 1711.07128). Their default sizes, 118 and
154 units, are from Thakker et al. 2019 (arXiv 1906.02876), a companion of the paper on hybrid matrix decomposition. A
bidirectional LSTM, ``har_bilstm``, recognises human activities.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class Sequences(nn.Module):
    """Removes the channel axis of a window [N, 1, T, F]; a sequence [N, T, F] stays as it is."""

    def __init__(self, channels: bool) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, window: Tensor) -> Tensor:
        """Return the sequence, [N, T, F]."""
        return window.flatten(1, 2) if self.channels else window


class Last(nn.Module):
    """Selects the final state of a recurrent layer.

    In the forward direction this is the last step; in the backward direction, the first step.

    Args:
        hidden: H, the number of units in one direction.
        directions: number of directions, 1 or 2.
    """

    def __init__(self, hidden: int, directions: int = 1) -> None:
        super().__init__()
        self.hidden, self.directions = hidden, directions

    def forward(self, states: Tensor) -> Tensor:
        """Map [N, T, directions * H] to [N, directions * H]."""
        if self.directions == 1:
            return states[:, -1]
        return torch.cat([states[:, -1, : self.hidden], states[:, 0, self.hidden :]], 1)


class RecurrentNet(nn.Module):
    """Recurrent layers and a linear classifier.

    Each recurrent layer is a module of its own, so that a gate can replace it and a cut can follow it.

    Args:
        cell: ``"lstm"`` or ``"gru"``.
        num_classes: size of the output.
        input_shape: (1, T, F) or (T, F), where T is the number of steps and F the number of features of a step.
        hidden: number of units of a layer in one direction.
        depth: number of recurrent layers.
        bidirectional: whether the layers have two directions.
        dropout: share of values dropped before the linear layer.

    Raises:
        ValueError: there is no such cell, or the input is no sequence.

    >>> RecurrentNet("lstm", 5, (128, 6), hidden=8, depth=2, bidirectional=True)(torch.zeros(2, 128, 6)).shape
    torch.Size([2, 5])
    """

    def __init__(
        self,
        cell: str,
        num_classes: int,
        input_shape: tuple[int, ...],
        hidden: int,
        depth: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if cell not in CELLS:
            raise ValueError(f"cell must be one of {', '.join(CELLS)}, not {cell!r}")
        if len(input_shape) not in (2, 3) or (len(input_shape) == 3 and input_shape[0] != 1):
            raise ValueError(f"input_shape must be (1, steps, features) or (steps, features), not {tuple(input_shape)}")
        directions = 2 if bidirectional else 1
        self.sequences = Sequences(len(input_shape) == 3)
        sizes = [input_shape[-1], *[directions * hidden] * (depth - 1)]
        self.rnn = nn.ModuleList(
            CELLS[cell](size, hidden, batch_first=True, bidirectional=bidirectional) for size in sizes
        )
        self.last = Last(hidden, directions)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(directions * hidden, num_classes)
        if cell == "lstm":
            self._open_forget_gates()

    @torch.no_grad()
    def _open_forget_gates(self) -> None:
        """Set the biases of forget gates to 1 (Jozefowicz et al. 2015), so that the state lasts for a window."""
        for layer in self.rnn:
            for name, bias in layer.named_parameters():
                if name.startswith("bias_ih"):
                    bias.view(4, -1)[1].fill_(1.0)

    def forward(self, window: Tensor) -> Tensor:
        """Map windows [N, *input_shape] to logits [N, num_classes]."""
        hidden = self.sequences(window)
        for layer in self.rnn:
            hidden, _ = layer(hidden)
        logits: Tensor = self.classifier(self.dropout(self.last(hidden)))
        return logits


CELLS: Mapping[str, type[nn.LSTM] | type[nn.GRU]] = {"lstm": nn.LSTM, "gru": nn.GRU}


def kws_lstm(
    num_classes: int = 12,
    input_shape: tuple[int, ...] = (1, 49, 10),
    hidden: int = 118,
    depth: int = 1,
    dropout: float = 0.1,
) -> RecurrentNet:
    """Return KWS-LSTM, with 2.96 million multiply-accumulates and 63 thousand parameters at the defaults.

    :class:`RecurrentNet` explains the arguments.
    """
    return RecurrentNet("lstm", num_classes, input_shape, hidden, depth, dropout=dropout)


def kws_gru(
    num_classes: int = 12,
    input_shape: tuple[int, ...] = (1, 49, 10),
    hidden: int = 154,
    depth: int = 1,
    dropout: float = 0.1,
) -> RecurrentNet:
    """Return KWS-GRU, with 3.72 million multiply-accumulates and 79 thousand parameters at the defaults.

    :class:`RecurrentNet` explains the arguments.
    """
    return RecurrentNet("gru", num_classes, input_shape, hidden, depth, dropout=dropout)


def har_bilstm(
    num_classes: int = 5,
    input_shape: tuple[int, ...] = (128, 6),
    hidden: int = 64,
    depth: int = 1,
    dropout: float = 0.1,
) -> RecurrentNet:
    """Return a bidirectional LSTM that recognises human activities in a window of sensor data.

    The network in Thakker et al. 2019 has 179 units per direction. :class:`RecurrentNet` explains the arguments.
    """
    return RecurrentNet("lstm", num_classes, input_shape, hidden, depth, bidirectional=True, dropout=dropout)
