"""A network that runs hop by hop, its state outside: what each part of a device's program does while it listens."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, fx, nn

from gatesearch.errors import UserError
from gatesearch.graph.hops.build import StateTensor, build_catch_up, build_step, state_tensors
from gatesearch.graph.hops.call import WINDOW
from gatesearch.graph.hops.frames import Frames
from gatesearch.graph.hops.plan import plan_hops
from gatesearch.graph.trace import trace

State = tuple[Tensor, ...]


class HopNetwork(nn.Module):
    """One step of a network by hops: (fresh frames, *state) -> (output, *state).

    State goes in and comes out, so that every engine can take the program: LiteRT, TensorFlow Lite Micro, Vela, ONNX
    Runtime and C. (litert-torch drops a buffer that a module changes, and says nothing.)

    What a step gives equals what a pass over the whole window gives:

    - ``memory="window"``: the window is that of the decision. Each operator gets the same frames as in the whole pass,
      and a reduction over time gets all kept frames at once, so that sums have one order. In integers both are equal
      bit for bit. In float a library may sum a smaller tensor in another order.
    - ``memory="stream"``: recurrent layers, and zeros padded before a window, are those of the stream since the window
      of :meth:`catch_up`. The step equals a pass over all frames since then, with reductions over the last window.

    A part of a plan is such a network as well: its input is the tensor that crosses at the cut before it. Where that
    has a time axis, the part before gives its fresh frames. An output with a time axis is given in the same way.

    Args:
        network: maps windows [N, *shape] to a tensor; weights are shared, not copied.
        shape: of one window.
        time_axis: which axis of ``shape`` is time; None where there is none, so that each step is a whole pass.
        hop: frames of the input from decision to decision.
        memory: see above.
        recompute: whether layers that stand in the way, and all behind them, are computed for the whole window at each
            hop. That is exact, and costs as much as no hops.

    Attributes:
        frames: the time axis of the input; None where there is none.
        output_frames: the time axis of the output; None where it has none.
        states: what goes from hop to hop.

    Raises:
        UserError: a layer stands in the way.

    >>> net = nn.Sequential(nn.Conv1d(2, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool1d(1)).eval()
    >>> hops = HopNetwork(net, (2, 10), time_axis=1, hop=2)
    >>> [(state.name, state.shape) for state in hops.states]
    [('input_1', (2, 2)), ('_1', (4, 6))]
    >>> stream = torch.ones(1, 2, 12)
    >>> output, state = hops.catch_up(stream[:, :, :10])
    >>> output, *state = hops(stream[:, :, 10:], *state)
    >>> torch.equal(output, net(stream[:, :, 2:]))
    True
    """

    def __init__(
        self,
        network: nn.Module,
        shape: tuple[int, ...],
        time_axis: int | None,
        hop: int,
        memory: str = WINDOW,
        recompute: bool = False,
    ) -> None:
        super().__init__()
        traced = network if isinstance(network, fx.GraphModule) else trace(network)
        plan = plan_hops(traced, shape, time_axis, hop, memory)
        if plan.obstacles and not recompute:
            more = f" ({len(plan.obstacles) - 1} more layers stand in the way)" if plan.obstacles[1:] else ""
            raise UserError(plan.obstacles[0] + more)
        self.shape, self.hop, self.memory = shape, hop, memory
        self.frames: Frames | None = plan.frames.get(plan.input)
        output: Any = plan.graph.graph.output_node().args[0]
        self.output_frames: Frames | None = plan.frames.get(output)
        self.states: tuple[StateTensor, ...] = state_tensors(plan)
        self.step = build_step(plan)
        self.whole = build_catch_up(plan)
        self.train(network.training)

    def forward(self, fresh: Tensor, *state: Tensor) -> tuple[Any, ...]:
        """Map the fresh frames [N, ...] of a hop, and the state, to the output and the state after it."""
        result: tuple[Any, ...] = self.step(fresh, *state)
        return result

    def catch_up(self, window: Tensor) -> tuple[Any, State]:
        """Run a whole window [N, *shape]: what a part does whose gate opens.

        Returns:
            What the network gives for the window, with all its frames, and the state from which hops go on.
        """
        output, *state = self.whole(window)
        return output, tuple(state)

    def initial_state(self, batch: int = 1) -> State:
        """Return the state behind a window of zeros."""
        weight = next(self.parameters(), torch.zeros(()))
        with torch.no_grad():
            return self.catch_up(weight.new_zeros(batch, *self.shape))[1]

    @property
    def state_elements(self) -> int:
        """Values of the state of one stream."""
        return sum(math.prod(state.shape) for state in self.states)
