"""One part of a chain over a stream: steady or on demand, with its ring buffer and the phases of its strides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gatesearch.errors import UserError
from gatesearch.graph.hops.call import WINDOW
from gatesearch.graph.hops.network import HopNetwork, State


class Part:
    """Runs a network by hops over one or several streams, its state kept here; the reference for what devices do.

    A part that runs steadily gets every hop. A part on demand gets only the hops at which the gate before it is open.
    Where a hop comes after one that it did not run, it catches up on the whole window from its ring buffer.

    Strides in time that do not divide the hop leave several *phases*: windows that begin at an odd frame share no frame
    behind a stride of 2 with those that begin at an even one. The part then keeps a state for each phase, and each
    answer goes on from the one of its phase; see :func:`~gatesearch.graph.hops.frames.common_hop`.

    Args:
        network: whose hop is ``phases`` times the hop of the stream.
        phases: number of states that take turns.

    Raises:
        UserError: the network has no time axis, or a hop that is no multiple of the phases.
    """

    def __init__(self, network: HopNetwork, phases: int = 1) -> None:
        if network.frames is None or network.hop % phases:
            raise UserError(f"hops: phases: {phases} do not share a hop of {network.hop} frames; nearest choice: 1")
        self.network, self.phases = network, phases
        self.axis, self.hop = network.frames.axis, network.hop // phases
        self.window: Tensor | None = None  # the ring buffer
        self.states: list[State | None] = [None] * phases
        self.count = 0  # of hops so far

    @torch.no_grad()
    def begin(self, window: Tensor) -> None:
        """Fill the ring buffer with the frames before the first hop, [N, *shape]."""
        self.window, self.states, self.count = window, [None] * self.phases, 0

    @torch.no_grad()
    def step(self, fresh: Tensor, is_open: bool = True) -> Any:
        """Take the frames of a hop [N, ...]; return the output, or None where the gate before the part is closed."""
        assert self.window is not None
        frames = self.window.shape[self.axis]
        both = torch.cat([self.window, fresh], self.axis)
        self.window = both.narrow(self.axis, both.shape[self.axis] - frames, frames)
        phase = self.count % self.phases
        self.count += 1
        if not is_open:
            self.states = [None] * self.phases
            return None
        state = self.states[phase]
        if state is None:
            output, self.states[phase] = self.network.catch_up(self.window)
            return _last_frames(output, self.network)
        new = min(self.network.hop, frames)
        output, *after = self.network(self.window.narrow(self.axis, frames - new, new), *state)
        self.states[phase] = tuple(after)
        return output


def _last_frames(output: Any, network: HopNetwork) -> Any:
    """Return the frames of a whole window's output that a hop gives."""
    frames = network.output_frames
    return output if frames is None else output.narrow(frames.axis, frames.first_fresh, frames.fresh)


def hop_networks(
    stages: Sequence[nn.Module], shape: tuple[int, ...], time_axis: int, hop: int, memory: str = WINDOW, **how: bool
) -> list[HopNetwork]:
    """Return the parts of a network that is cut behind some of its nodes, each by hops.

    Args:
        stages: in order, as :func:`gatesearch.model.split` gives them; each gives the tensor that the next one takes.
        shape, time_axis, hop, memory: of the first stage's input; see :class:`HopNetwork`.
        **how: ``recompute``; see :class:`HopNetwork`.

    Raises:
        UserError: a layer stands in the way.
    """
    parts: list[HopNetwork] = []
    axis: int | None = time_axis
    for stage in stages:
        part = HopNetwork(stage, shape, axis, hop, memory, **how)
        parts.append(part)
        with torch.no_grad():
            weight = next(stage.parameters(), torch.zeros(()))
            crossing, _ = part.catch_up(weight.new_zeros(2, *shape))
        shape, frames = tuple(crossing.shape[1:]), part.output_frames
        axis, hop = (None, 1) if frames is None else (frames.axis - 1, frames.hop)
    return parts
