"""An LSTM with Precision Gating; :mod:`gatesearch.gates.pg` has the equations."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import torch
from torch import Tensor, nn

from gatesearch.gates.params import GateError
from gatesearch.gates.pg.layers import PGLinear
from gatesearch.gates.pg.params import PGParams
from gatesearch.gates.quantise import FixedRange
from gatesearch.graph.sites import LayerSite


class PGLSTM(nn.Module):
    """An LSTM of one layer and one direction, whose products with input and state both use Precision Gating.

    The state lies between -1 and 1 by construction, so its range is known and needs no calibration.

    Args:
        layer: the trained layer; copied.
        settings: the gate's parameters: bits, mask and target. The channels of a mask are the 4 H pre-activations of
            the LSTM's gates.

    Raises:
        GateError: the LSTM has several layers or directions, or projects its state.
    """

    traced_whole = True
    absorbs_norm = False

    def __init__(self, layer: nn.LSTM, settings: PGParams) -> None:
        super().__init__()
        if not isinstance(layer, nn.LSTM) or layer.num_layers > 1 or layer.bidirectional or layer.proj_size:
            raise GateError(f"needs an LSTM of one layer and one direction without a projection, not {layer}")
        self.batch_first, self.hidden_size = layer.batch_first, layer.hidden_size
        weights = dict(layer.named_parameters())
        self.input = PGLinear(_linear(weights["weight_ih_l0"], weights.get("bias_ih_l0")), settings)
        recurrent = _linear(weights["weight_hh_l0"], weights.get("bias_hh_l0"))
        self.state = PGLinear(recurrent, settings, FixedRange(1.0))

    @staticmethod
    def widths(site: LayerSite) -> tuple[int, ...]:
        """Return the number of outputs of the two products: 4 H for the input and 4 H for the state."""
        return (4 * site.shape[-1],) * 2

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the outputs and the last state (h, c), as ``nn.LSTM`` does.

        The input x is [T, N, F], or [N, T, F] if the layer is batch first. The outputs have H values in the place of F.
        Both h and c are [1, N, H].
        """
        inputs = self.input(x if self.batch_first else x.movedim(0, 1))
        zero = inputs.new_zeros(len(inputs), self.hidden_size)
        h, c = (zero, zero) if state is None else (state[0][0], state[1][0])
        weights, outputs = self.state.weights(), []
        for step in inputs.unbind(1):
            i, f, g, o = (step + self.state.gated(h, weights)).chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            outputs.append(h)
        return torch.stack(outputs, 1 if self.batch_first else 0), (h[None], c[None])

    def loss(self) -> Tensor:
        """Return the sum of the losses of both products."""
        return self.input.loss() + self.state.loss()

    def control_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the thresholds of both products, and the largest value to which inputs are clipped."""
        return chain(self.input.control_parameters(), self.state.control_parameters())

    def anneal(self, progress: float) -> None:
        """Do nothing: the layer does not depend on the progress of a training."""

    def reset(self) -> None:
        """Clear all observations."""
        self.input.reset()
        self.state.reset()

    def report(self) -> dict[str, float]:
        """Return ``sparsity``, ``weighted_sparsity`` and ``outputs`` over both products; empty before the first output.

        ``weighted_sparsity`` weights each output by the multiply-accumulates that it takes.
        """
        parts = [self.input, self.state]
        if not self.input.report():
            return {}
        counts = torch.stack([part.observed for part in parts]).double()
        lengths = torch.tensor([part.layer.in_features for part in parts]).to(counts)
        outputs, closed = counts.sum(0)[:2].tolist()
        weighted_outputs, weighted_closed = (lengths @ counts)[:2].tolist()
        return {
            "sparsity": closed / outputs,
            "weighted_sparsity": weighted_closed / weighted_outputs,
            "outputs": outputs,
        }


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device=weight.device, dtype=weight.dtype)
    with torch.no_grad():
        linear.weight.copy_(weight)
        if bias is not None:
            linear.bias.copy_(bias)
    return linear
