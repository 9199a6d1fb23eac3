"""A network that runs hop by hop on a stream, with its state as inputs and outputs.

Each part of a device's program runs in this way while the device listens.
"""

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

    Fresh frames are the frames that the window before did not contain. The state is an input and an output, so that
    every engine can run the program: LiteRT, TensorFlow Lite Micro, Vela, ONNX Runtime and C. The converter
    litert-torch would drop a buffer that a module changes, without a message.

    The output of a step equals the output of one pass over a longer stretch of frames. ``memory`` selects the stretch:

    - ``"window"``: the frames of one window. Each operator reads the same frames as in a pass over the whole window. A
      reduction over time reads all frames of the window at once, so that the order of its sum stays the same. In
      integers, step and pass give equal outputs, bit for bit. In float, a library may sum a smaller tensor in another
      order.
    - ``"stream"``: all frames since the window of :meth:`catch_up`. Recurrent layers keep their state, and frames of
      the stream replace the zeros that are padded before a window. A reduction over time reads the last window.

    A part of a plan can be such a network as well. The part's input is the tensor that crosses the cut before the part.
    If that tensor has a time axis, the part before the cut outputs only the tensor's fresh frames.

    Args:
        network: maps windows [N, *shape] to a tensor; weights are shared, not copied.
        shape: shape of one window.
        time_axis: which axis of ``shape`` is time; None if there is none, so that each step is a whole pass.
        hop: number of input frames from one decision to the next.
        memory: ``"window"`` or ``"stream"``.
        recompute: whether a layer that cannot run by hops, and all layers behind it, are computed for the whole window
            at each hop. The result is exact, and costs as much as without hops.

    Attributes:
        frames: the time axis of the input; None if there is none.
        output_frames: the time axis of the output, or of the first of several; None if there is none.
        states: the tensors of the state.

    Raises:
        UserError: a layer cannot run by hops, and ``recompute`` is False.

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
        self.output_frames: Frames | None = plan.frames.get(output[0] if isinstance(output, tuple | list) else output)
        self.states: tuple[StateTensor, ...] = state_tensors(plan)
        self.step = build_step(plan)
        self.whole = build_catch_up(plan)
        self.train(network.training)

    def forward(self, fresh: Tensor, *state: Tensor) -> tuple[Any, ...]:
        """Map the fresh frames [N, ...] of a hop, and the state, to the output and the state after it."""
        result: tuple[Any, ...] = self.step(fresh, *state)
        return result

    def catch_up(self, window: Tensor) -> tuple[Any, State]:
        """Run a whole window [N, *shape], as a part does when its gate opens.

        Returns:
            The network's output for the window, with all its frames, and the state for the next hop.
        """
        output, *state = self.whole(window)
        return output, tuple(state)

    def initial_state(self, batch: int = 1) -> State:
        """Return the state after a window of zeros."""
        weight = next(self.parameters(), torch.zeros(()))
        with torch.no_grad():
            return self.catch_up(weight.new_zeros(batch, *self.shape))[1]

    @property
    def state_elements(self) -> int:
        """Number of values in the state of one stream."""
        return sum(math.prod(state.shape) for state in self.states)
