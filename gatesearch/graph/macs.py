"""Multiply-accumulates of a forward: PyTorch's counter, and formulas for the layers that it leaves out."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, flop_registry, register_flop_formula, sdpa_flop

# PyTorch counts fused attention on accelerators only; without this a transformer's products would be free on a CPU.
FUSED_ATTENTION = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
if FUSED_ATTENTION not in flop_registry:
    register_flop_formula(FUSED_ATTENTION, get_raw=True)(sdpa_flop)

RECURRENT: dict[type[nn.Module], str] = {nn.LSTM: "lstm", nn.GRU: "gru"}


def recurrent_macs(layer: nn.RNNBase, steps: int) -> int:
    """Return the multiply-accumulates of a recurrent layer over one sequence of so many steps.

    At every step each matrix, of every layer and direction, meets one vector. Products of vectors, element by element,
    are not counted, as they are in no other layer.

    >>> recurrent_macs(nn.LSTM(10, 118), 49) == 49 * 4 * 118 * (10 + 118)
    True
    >>> recurrent_macs(nn.GRU(6, 8, num_layers=2, bidirectional=True), 5) == 5 * 2 * 3 * 8 * ((6 + 8) + (16 + 8))
    True
    """
    return steps * sum(value.numel() for name, value in layer.named_parameters() if name.startswith("weight"))


class MacCounter:
    """Counts the multiply-accumulates of whatever runs while it is open; :attr:`macs` is the sum over the batch.

    Args:
        module: whose recurrent layers are counted by their formula: the counter of PyTorch sees nothing of them.

    >>> import torch
    >>> lstm = nn.LSTM(3, 5, batch_first=True)
    >>> with MacCounter(lstm) as counter:
    ...     _ = lstm(torch.zeros(2, 7, 3))
    >>> counter.macs == 2 * recurrent_macs(lstm, 7)
    True
    """

    def __init__(self, module: nn.Module) -> None:
        self._counter = FlopCounterMode(display=False)
        self._layers = [m for m in module.modules() if type(m) in RECURRENT]
        self._hooks: list[Any] = []
        self._before: list[int] = []
        self._recurrent = 0

    def __enter__(self) -> MacCounter:
        for layer in self._layers:
            self._hooks.append(layer.register_forward_pre_hook(self._entered))
            self._hooks.append(layer.register_forward_hook(self._left))
        self._counter.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._counter.__exit__(kind, value, traceback)
        for hook in self._hooks:
            hook.remove()

    @property
    def macs(self) -> int:
        """So far, over the whole batch."""
        # The counter speaks of floating-point operations, two to a multiply-accumulate.
        return self._counter.get_total_flops() // 2 + self._recurrent

    def _entered(self, layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        self._before.append(self._counter.get_total_flops())

    def _left(self, layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        assert isinstance(layer, nn.RNNBase)
        seen = self._counter.get_total_flops() - self._before.pop()  # by one of several code paths, if at all
        batched = inputs[0].ndim == 3
        batch, steps = (1, len(inputs[0])) if not batched else inputs[0].shape[:2]
        if batched and not layer.batch_first:
            batch, steps = steps, batch
        self._recurrent += batch * recurrent_macs(layer, steps) - seen // 2
