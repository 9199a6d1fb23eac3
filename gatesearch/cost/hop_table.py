"""The costs of one hop of a stream: a latency table, and the sizes of the states between hops.

A hop is the time from one decision to the next. A backbone that runs by hops computes only the new frames of a window
at each decision, and passes a state to the next hop.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from gatesearch.cost.table import Table
from gatesearch.graph.hops import Frames
from gatesearch.graph.sites import CutSite


@dataclass(frozen=True)
class HopTable:
    """The costs of one hop, by block and gate head of a backbone.

    Args:
        table: latency table of one hop; blocks and heads have the same names as in the table for whole windows.
        shapes: by site, the shape of the tensor that crosses the site at a hop; it holds the new frames only.
        states: by the name of a block or head, the number of values in the state that one hop passes to the next.
        phases: number of states (*phases*) that take turns from hop to hop; above 1 if strides do not divide the hop.
    """

    table: Table
    shapes: Mapping[str, tuple[int, ...]]
    states: Mapping[str, int]
    phases: int = 1

    def sites(self, sites: Sequence[CutSite]) -> tuple[CutSite, ...]:
        """Return the sites with the shapes of the tensors that cross them at a hop."""
        return tuple(replace(site, shape=self.shapes[site.name]) for site in sites)

    def to_json(self) -> str:
        """Return the costs as JSON."""
        values = {name: getattr(self, name) for name in ("states", "phases")}
        shapes = {name: list(shape) for name, shape in self.shapes.items()}
        return json.dumps({"table": json.loads(self.table.to_json()), "shapes": shapes, **values})

    @classmethod
    def from_json(cls, text: str) -> HopTable:
        """Rebuild the costs from the JSON of :meth:`to_json`."""
        raw = json.loads(text)
        raw.pop("frontend_macs", None)  # an older version stored the MACs of the front end here
        shapes = {name: tuple(shape) for name, shape in raw.pop("shapes").items()}
        return cls(table=Table.from_json(json.dumps(raw.pop("table"))), shapes=shapes, **raw)


def fresh_shapes(sites: Sequence[CutSite], frames: Mapping[str, Frames | None]) -> dict[str, tuple[int, ...]]:
    """Return the shape of the tensor that crosses each site at a hop.

    Args:
        sites: the cut sites, in order.
        frames: by site, the time axis of its tensor (axis 0 is the batch) and the number of new frames at a hop; None
            for a tensor without time axis.
    """
    shapes = {}
    for site in sites:
        axis, shape = frames[site.name], list(site.shape)
        if axis is not None:
            shape[axis.axis - 1] = axis.fresh
        shapes[site.name] = tuple(shape)
    return shapes
