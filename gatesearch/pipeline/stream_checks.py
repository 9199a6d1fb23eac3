"""Checks before the first training whether a run's streams and gates allow what its recipe asks for."""

from __future__ import annotations

from collections.abc import Iterable

from gatesearch._lib import console
from gatesearch.errors import UserError
from gatesearch.metrics.streams import doubt_about
from gatesearch.search.space import Space
from gatesearch.training import Features


def warn_of_short_streams(features: Features, fa_per_hour: float) -> None:
    """Print a warning for each stream that is too short to show that a detector keeps the limit on false accepts."""
    for name in ("validation", "test"):
        stream = getattr(features, name).stream
        doubt = None if stream is None else doubt_about(fa_per_hour, stream.hours)
        if doubt is not None:
            console.warn(f"{name} stream: {doubt}")


def check_sites(space: Space, kinds: Iterable[str]) -> None:
    """Refuse a space in which no gate kind fits a site, because its only plan is the ungated backbone.

    Raises:
        UserError: there is no site for a gate.
    """
    if not space.slots and (names := ", ".join(kinds)):
        raise UserError(f"space.kinds: no gate of {names} can go at a site of this network")


def check_gates_by_hops(space: Space) -> None:
    """Say which gates of a space need whole windows, although the backbone runs by hops.

    A layer with a gate computes the whole window at each hop, and so does the rest of the plan.

    Raises:
        UserError: all gates of the space need whole windows.
    """
    kinds = space.layer_kinds
    if not kinds:
        return
    names = ", ".join(f"space.kinds.{name}" for name in kinds)
    if not space.cut_slots or space.max_gates == 0:
        raise UserError(
            f"{names}: a layer with a gate needs whole windows, and stream.by=hops computes new frames alone; write "
            "stream.by=windows, or add a gate between layers, such as gc"
        )
    console.warn(
        f"{names}: a layer with a gate needs whole windows, so plans with one compute a whole window at each hop"
    )
