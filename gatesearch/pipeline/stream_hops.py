"""Rewrites the backbone of a run so that it computes hop by hop on a stream, where its layers allow it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from torch import fx, nn

from gatesearch._lib import console
from gatesearch.cost.model import CostModel
from gatesearch.errors import UserError
from gatesearch.frontends import Frontend
from gatesearch.graph.hops import Frames, find_obstacles, rewrite_for_hops, separate_pools
from gatesearch.graph.trace import trace
from gatesearch.plan import GatePlan

MAX_PHASES = 8  # largest number of states that take turns
ALL_STRIDES = 10_810_800  # a hop of so many frames is a multiple of nearly every product of strides
HOPS, WINDOWS = "hops", "windows"


class HopKey(NamedTuple):
    """The setting in which a user writes the hop, for errors.

    Args:
        name: the key, such as ``data.hop_ms``.
        unit: one sample in the key's unit, such as 1000 / rate for milliseconds.
    """

    name: str = "hop"
    unit: float = 1.0

    def write(self, samples: int) -> str:
        """Return a hop as the user writes it."""
        return f"{samples * self.unit:.12g}"

    def refuse(self, samples: int, reason: str, choice: int) -> UserError:
        """Build the error for a hop that does not fit; ``choice`` is the nearest hop that fits, in samples."""
        return UserError(
            f"{self.name}: {self.write(samples)}: {reason}; write {self.write(choice)}, or stream.by={WINDOWS}"
        )


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
    backbone: nn.Module, shape: tuple[int, ...], frontend: Frontend, hop: int, key: HopKey | None = None
) -> tuple[nn.Module, StreamHops | None]:
    """Return a backbone that runs by hops, and a description of the way in which it runs.

    If a layer or the front end cannot run by hops, the result is the unchanged backbone and None, and a warning names
    the obstacle.

    Args:
        backbone: a network that maps windows of features [N, *shape] to one tensor; it is not changed.
        shape: shape of one window of features.
        frontend: the fitted front end.
        hop: number of samples from one decision to the next.
        key: the setting from which the hop comes.

    Raises:
        UserError: the frames of the front end or the strides of the network do not divide the hop, but another one.
    """
    key = key or HopKey()
    frames = _read_frames(frontend, hop, key)
    if frames is None:
        return _take_windows(backbone, f"frontend.name: {frontend.name} gives whole windows, not frames")
    try:
        rewritten = rewrite_for_hops(backbone, shape, frames.axis - 1)
        separated = separate_pools(rewritten.network, shape, frames.axis - 1)
        network = trace(rewritten.network) if isinstance(rewritten.network, fx.GraphModule) else rewritten.network
        traced = trace(network)
        obstacles = cache(lambda hop: find_obstacles(traced, shape, frames.axis - 1, hop))
        phases, obstacle = _count_phases(obstacles, frames)
    except UserError as error:
        return _take_windows(backbone, error)
    if obstacle is not None:
        choice = _find_hop(obstacles, frames)
        if choice is not None:
            raise key.refuse(hop, obstacle, choice * (hop // frames.hop))
        return _take_windows(backbone, obstacle)
    whole = Frames(axis=frames.axis, count=frames.count, hop=frames.hop * phases)
    return network, StreamHops(whole, phases, (*rewritten.changes, *separated))


def _take_windows(backbone: nn.Module, reason: object) -> tuple[nn.Module, None]:
    console.warn(f"stream.by: hops: {reason}; the run goes on by whole windows, as with stream.by=windows")
    return backbone, None


def _read_frames(frontend: Frontend, hop: int, key: HopKey) -> Frames | None:
    """Return the time axis of the features; None if the front end has none.

    Raises:
        UserError: the hop is no whole number of frames.
    """
    try:
        return frontend.hop_frames(hop)
    except UserError as error:
        for distance in range(1, max(hop, *frontend.input_shape[:1])):
            for choice in (hop - distance, hop + distance):
                if _fits(frontend, choice):
                    raise key.refuse(hop, str(error).removeprefix("hops: hop: "), choice) from None
        raise


def _fits(frontend: Frontend, hop: int) -> bool:
    """Say whether a hop is a whole number of frames of a front end."""
    try:
        return hop > 0 and frontend.hop_frames(hop) is not None
    except UserError:
        return False


def _count_phases(find: Callable[[int], tuple[str, ...]], frames: Frames) -> tuple[int, str | None]:
    """Return the smallest number of phases with which every stride divides the hop, and None.

    If a layer cannot run by hops with any number of phases, the result is 0 and a line that names the layer.

    Args:
        find: function that returns a line for each layer that cannot run by hops of so many frames.
        frames: the time axis of the features.
    """
    fewest: tuple[str, ...] | None = None
    for phases in range(1, MAX_PHASES + 1):
        if phases > 1 and frames.hop * phases >= frames.count:
            break
        obstacles = find(frames.hop * phases)
        if not obstacles:
            return phases, None
        if fewest is None or len(obstacles) < len(fewest):
            fewest = obstacles
    assert fewest is not None
    return 0, fewest[0]


def _find_hop(find: Callable[[int], tuple[str, ...]], frames: Frames) -> int | None:
    """Return the nearest hop that the strides of a network divide, in frames; None if there is none."""
    if find(ALL_STRIDES):
        return None  # it is not the hop that stands in the way
    for hop in sorted(range(1, frames.count), key=lambda hop: abs(hop - frames.hop)):
        if _count_phases(find, Frames(frames.axis, frames.count, hop))[0]:
            return hop
    return None


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
