"""Cache keys of a plan's stages: two stages with equal keys cost the same on the same cores.

A search prices tens of thousands of plans that have most of their stages in common. It looks up the cost of a stage by
the stage's key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from gatesearch.cost.placed_cut import PlacedCut
from gatesearch.cost.table import LayerReading
from gatesearch.graph.sites import LayerSite
from gatesearch.plan import PlacedGate


class StageKeys:
    """Builds a key for each stage from everything that determines its cost, except the core.

    Args:
        blocks: the first site of every block, in execution order.
        sites: layer sites, at which a gate may replace a layer.
        layers: the reading of each layer, by layer site; a reading names the block that contains the layer.
    """

    def __init__(self, blocks: Sequence[str], sites: Sequence[LayerSite], layers: Mapping[str, LayerReading]) -> None:
        self._positions = {name: index for index, name in enumerate(blocks)}
        # A gate changes its own layer and the layers that read this layer's channels, which may be in a later stage.
        changed: dict[str, set[int]] = {}
        for site in sites:
            position = self._positions[layers[site.name].block] if site.name in layers else None
            for name in (site.name, site.source):
                if name is not None and position is not None:
                    changed.setdefault(name, set()).add(position)
        self._changed = changed
        self._texts: dict[PlacedGate, str] = {}

    def build(self, cuts: Sequence[PlacedCut], gates: Sequence[PlacedGate]) -> list[str]:
        """Return one key per stage. Keys are strings, because Python caches a string's hash.

        Args:
            cuts: the cuts between the stages, in order.
            gates: the gates that replace layers.
        """
        names = ["", *(cut.cost_key for cut in cuts), ""]
        if not gates:
            return [f"{entering}|{leaving}" for entering, leaving in pairwise(names)]
        bounds = [0, *(self._positions[cut.site.name] for cut in cuts), len(self._positions)]
        keys = []
        for (first, last), (entering, leaving) in zip(pairwise(bounds), pairwise(names), strict=True):
            inside = (gate for gate in gates if any(first <= k < last for k in self._changed.get(gate.site, ())))
            keys.append(f"{entering}|{leaving}|{''.join(map(self._describe, inside))}")
        return keys

    def _describe(self, gate: PlacedGate) -> str:
        text = self._texts.get(gate)
        if text is None:
            text = self._texts[gate] = f"{gate!r}"
        return text
