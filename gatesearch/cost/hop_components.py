"""Builds the *step* of each block and gate head: the module that computes one hop of a stream.

A hop is the time from one decision to the next. Its fresh frames are the frames that the previous window did not have.
A component is a separately timed module of the backbone, such as a block. Latency sources count, compile or time a step
in the same way as the component for a whole window. A step holds its state as constants, so that it has one input, like
every other component.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gatesearch.cost.blocks import Component, ComponentKey, Components
from gatesearch.gates.gc.lowered import pool_frames_first
from gatesearch.graph.hops import Frames, HopNetwork, hop_networks
from gatesearch.graph.sites import INPUT, CutSite
from gatesearch.graph.trace import trace_program
from gatesearch.model import split


class StepComponent(nn.Module):
    """The step of a component: it maps fresh frames [N, ...] to its outputs and its next state.

    The step does not return an input that passes unchanged, because a program cannot return its input. For example, the
    head of a gate passes the gate's input unchanged.

    Args:
        network: the component as a network that runs by hops.
        window: one whole window [1, ...], from which the step's state is computed.
    """

    def __init__(self, network: HopNetwork, window: Tensor) -> None:
        super().__init__()
        self.step = network.step
        with torch.no_grad():
            _, state = network.catch_up(window)
        self.count = len(state)
        for index, tensor in enumerate(state):
            self.register_buffer(f"state_{index}", tensor.clone())

    def forward(self, fresh: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs of one hop, followed by the next state."""
        output, *after = self.step(fresh, *(getattr(self, f"state_{index}") for index in range(self.count)))
        outputs = output if isinstance(output, tuple | list) else (output,)
        return (*(each for each in outputs if each is not fresh), *after)


@dataclass(frozen=True)
class HopComponents:
    """The components of a backbone that runs by hops.

    Args:
        components: the components by key. A component whose input has no time axis is the same as for a whole window.
        states: by the name of a component, the number of values in the state that one hop passes to the next, if all
            channels remain.
    """

    components: Components
    states: Mapping[str, int]


def site_frames(
    backbone: nn.Module, sites: Sequence[CutSite], shape: tuple[int, ...], time_axis: int, hop: int
) -> dict[str, Frames | None]:
    """Return the time axis of the tensor at each site and at the input; None where the tensor has no time axis.

    Args:
        backbone: a backbone that can run by hops.
        sites: the cut sites, in order.
        shape: shape of one window.
        time_axis: index of the time axis in the shape.
        hop: number of frames between two decisions that use the same state. With several phases, this is the hop of the
            stream times the number of phases; see :class:`gatesearch.graph.hops.Part`.

    Raises:
        UserError: a layer cannot run by hops.
    """
    parts = hop_networks(split(backbone, [site.node for site in sites]), shape, time_axis, hop)
    return {name: part.frames for name, part in zip([INPUT, *(site.name for site in sites)], parts, strict=True)}


def build_hop_components(components: Components, frames: Mapping[str, Frames | None]) -> HopComponents:
    """Return the step of each block and head; exits stay unchanged, because an exit always reads a whole window.

    Args:
        components: blocks, heads and exits of whole windows, and the empty program.
        frames: the time axis at each site, see :func:`site_frames`.
    """
    steps: dict[ComponentKey, Component] = {}
    states: dict[str, int] = {}
    for key, component in components.items():
        site = key.name.partition("@")[2] if component.role == "head" else key.name
        axis = frames.get(site) if component.role in ("block", "head") else None
        if axis is not None and component.example.shape[axis.axis] != axis.count:
            axis = None  # the time axis is also the channel axis, and a cut removes some of its frames
        if axis is None or isinstance(component.module, nn.Identity):
            steps[key] = component if axis is None else component._replace(example=_fresh(component.example, axis))
            continue
        shape, module = tuple(component.example.shape[1:]), component.module
        if component.role == "head" and component.example.ndim == 4:
            module = copy.deepcopy(module)
            pool_frames_first(module, axis.axis - 1)
        network = HopNetwork(trace_program(module), shape, axis.axis - 1, axis.hop, recompute=True).eval()
        steps[key] = component._replace(
            module=StepComponent(network, component.example[:1]).eval(),
            example=_fresh(component.example, axis),
            state=network.state_elements,
            joined=sum(state.joined for state in network.states),
        )
        if key.dense:
            states[key.name] = network.state_elements
    return HopComponents(steps, states)


def _fresh(example: Tensor, frames: Frames) -> Tensor:
    return example.narrow(frames.axis, frames.first_fresh, frames.fresh)
