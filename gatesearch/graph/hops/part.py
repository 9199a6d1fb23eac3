"""Runs one part of a plan on a stream, at every hop or on demand, with its ring buffer and state.

A hop is the step from one decision to the next. On demand means that a part runs only while the gate before it is open.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gatesearch.errors import UserError
from gatesearch.graph.hops.call import WINDOW
from gatesearch.graph.hops.network import HopNetwork, State


class Part:
    """Runs a network by hops over one or several streams and stores its state; the reference for device programs.

    A steady part runs at every hop. A part on demand runs only at the hops at which the gate before it is open. If the
    part did not run at the hop before, it catches up: it computes the whole window from its ring buffer.

    A stride in time that does not divide the hop needs several *phases*. Behind a stride of 2, for example, windows
    that begin at an odd frame share no frame with windows that begin at an even frame. The part then has one state for
    each phase, and each hop uses the state of its phase; see :func:`~gatesearch.graph.hops.frames.common_hop`.

    Args:
        network: a network by hops; its hop is ``phases`` times the hop of the stream.
        phases: number of phases, each with a state of its own.

    Raises:
        UserError: the network has no time axis, or its hop is no multiple of the number of phases.
    """

    def __init__(self, network: HopNetwork, phases: int = 1) -> None:
        if network.frames is None or network.hop % phases:
            raise UserError(f"hops: phases: {phases} do not share a hop of {network.hop} frames; nearest choice: 1")
        self.network, self.phases = network, phases
        self.axis, self.hop = network.frames.axis, network.hop // phases
        self.window: Tensor | None = None  # the ring buffer
        self.states: list[State | None] = [None] * phases
        self.count = 0  # number of hops so far

    @torch.no_grad()
    def begin(self, window: Tensor) -> None:
        """Fill the ring buffer with the frames before the first hop, [N, *shape]."""
        self.window, self.states, self.count = window, [None] * self.phases, 0

    @torch.no_grad()
    def step(self, fresh: Tensor, is_open: bool = True) -> Any:
        """Run a hop with its new frames [N, ...]; return the output, or None if the gate before the part is closed."""
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
    """Return those frames of a whole window's output that a hop would output."""
    frames = network.output_frames
    return output if frames is None else output.narrow(frames.axis, frames.first_fresh, frames.fresh)


def hop_networks(
    stages: Sequence[nn.Module], shape: tuple[int, ...], time_axis: int, hop: int, memory: str = WINDOW, **how: bool
) -> list[HopNetwork]:
    """Return the stages of a cut network as networks by hops.

    Args:
        stages: the stages in order, from :func:`gatesearch.model.split`; each outputs the input of the next one.
        shape: shape of one window of the first stage's input.
        time_axis: which axis of ``shape`` is time.
        hop: number of input frames from one decision to the next.
        memory: ``"window"`` or ``"stream"``; see :class:`HopNetwork`.
        **how: ``recompute``; see :class:`HopNetwork`.

    Raises:
        UserError: a layer cannot run by hops.
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
