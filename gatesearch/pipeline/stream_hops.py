"""Rewrites the backbone of a run so that it computes hop by hop on a stream, where its layers allow it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import fx, nn

from gatesearch._lib import console
from gatesearch.cost.model import CostModel
from gatesearch.errors import UserError
from gatesearch.frontends import Frontend
from gatesearch.graph.hops import Frames, find_obstacles, rewrite_for_hops, separate_pools
from gatesearch.graph.trace import trace
from gatesearch.plan import GatePlan

MAX_PHASES = 8  # largest number of states that take turns
HOPS, WINDOWS = "hops", "windows"


@dataclass(frozen=True, slots=True)
class StreamHops:
    """How a backbone runs by hops: at each decision it computes only the new frames of a window.

    If the strides of layers do not divide the hop, the backbone has several states (phases), which take turns.

    Args:
        frames: the time axis of the features, and the number of frames between two decisions in the same phase.
        phases: number of states that take turns.
        changes: a line for each layer that was rewritten.
    """

    frames: Frames
    phases: int = 1
    changes: tuple[str, ...] = ()

    def describe(self) -> str:
        """Return the line that says which layers were rewritten.

        >>> changes = ("layer 'a' pools 4 frames, not 9", "layer 'b' pools 2 frames, not 9")
        >>> StreamHops(Frames(axis=2, count=49, hop=2), changes=changes).describe()
        "stream: by hops of 2 frames; rewritten for it: layer 'a' pools 4 frames, not 9, and 1 more (summary.json)"
        """
        hop = self.frames.hop // self.phases
        line = f"stream: by hops of {hop} frame{'s' if hop != 1 else ''}"
        if self.phases > 1:
            line += f" in {self.phases} phases"
        if not self.changes:
            return f"{line}; no layer is rewritten"
        more = f", and {len(self.changes) - 1} more (summary.json)" if self.changes[1:] else ""
        return f"{line}; rewritten for it: {self.changes[0]}{more}"

    def summary(self) -> dict[str, Any]:
        """Return the entry ``hops`` of summary.json."""
        return {
            "by": HOPS,
            "hop_frames": self.frames.hop // self.phases,
            "phases": self.phases,
            "changes": list(self.changes),
        }


def prepare_for_hops(
    backbone: nn.Module, shape: tuple[int, ...], frontend: Frontend, hop: int
) -> tuple[nn.Module, StreamHops | None]:
    """Return a backbone that runs by hops, and a description of the way in which it runs.

    If a layer or the front end cannot run by hops, the result is the unchanged backbone and None, and a warning names
    the obstacle.

    Args:
        backbone: a network that maps windows of features [N, *shape] to one tensor; it is not changed.
        shape: shape of one window of features.
        frontend: the fitted front end.
        hop: number of samples from one decision to the next.
    """
    try:
        frames = frontend.hop_frames(hop)
        if frames is None:
            raise UserError(f"frontend.name: {frontend.name} gives whole windows, not frames")
        rewritten = rewrite_for_hops(backbone, shape, frames.axis - 1)
        separated = separate_pools(rewritten.network, shape, frames.axis - 1)
        network = trace(rewritten.network) if isinstance(rewritten.network, fx.GraphModule) else rewritten.network
        phases = _count_phases(network, shape, frames)
    except UserError as error:
        console.warn(f"stream.by: hops: {error}; the run goes on by whole windows, as with stream.by=windows")
        return backbone, None
    whole = Frames(axis=frames.axis, count=frames.count, hop=frames.hop * phases)
    return network, StreamHops(whole, phases, (*rewritten.changes, *separated))


def _count_phases(network: nn.Module, shape: tuple[int, ...], frames: Frames) -> int:
    """Return the smallest number of phases with which every stride divides the hop.

    Raises:
        UserError: a layer cannot run by hops with any number of phases.
    """
    traced, fewest = trace(network), None
    for phases in range(1, MAX_PHASES + 1):
        if phases > 1 and frames.hop * phases >= frames.count:
            break
        obstacles = find_obstacles(traced, shape, frames.axis - 1, frames.hop * phases)
        if not obstacles:
            return phases
        if fewest is None or len(obstacles) < len(fewest):
            fewest = obstacles
    assert fewest is not None
    raise UserError(fewest[0])


def late_catch_ups(cost: CostModel, plan: GatePlan) -> list[str]:
    """Return a line for each stage whose catch-up takes longer than a hop, so that its first answers come late."""
    hop_ms = cost.period_s * 1e3
    lines = []
    for k, stage in enumerate(cost.stages(plan)[1:] if cost.runs_by_hops(plan) else (), 1):
        catch_up_ms = stage.cost.total_us / 1e3
        if catch_up_ms > hop_ms:
            lines.append(
                f"stage {k} on {stage.cost.core} catches up in {catch_up_ms:.3g} ms where its gate opens, longer than "
                f"a hop of {hop_ms:g} ms: its first answers come late, and its core makes up for it at later hops"
            )
    return lines
