"""The seam of two neighbouring blocks: the bytes by which their joint program differs from the sum of their programs.

Each block is estimated as a program of its own. Such a program transposes an input sequence [C, T] to a channel-last
map, and transposes its output back. In the program of a stage, the two transpositions between neighbouring blocks
cancel. So a seam is usually negative. A seam counts bytes of the file's tables and of the arena's tables
(:data:`OVERHEADS`).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from torch import nn

from gatesearch.compile.number_format import FLOAT
from gatesearch.cost.blocks import ComponentKey, Components, named
from gatesearch.cost.table import OVERHEADS
from gatesearch.graph.footprint import Footprint, program_footprint

MAP_NDIM = 4  # a map is channel-last in every program, so that nothing cancels


def measure_seams(components: Components, counts: Mapping[ComponentKey, Footprint]) -> dict[str, dict[str, float]]:
    """Return the bytes to add for each pair of neighbouring blocks in a program, by second block and name of the bytes.

    Args:
        components: the components of a backbone. Blocks that compute one hop of a stream have no seam.
        counts: the footprint of each component.
    """
    seams: dict[str, dict[str, float]] = {}
    for first, second in pairwise(named(components, "block")):
        before, after = components[ComponentKey(first)], components[ComponentKey(second)]
        x = before.example[:1]
        if after.example.ndim == MAP_NDIM or before.state or after.state:
            continue
        in_float = FLOAT in (before.need, after.need)
        pair = program_footprint(nn.Sequential(before.module, after.module), x, in_float=in_float)
        single = [counts[ComponentKey(name)] for name in (first, second)]
        seams[second] = {name: getattr(pair, name) - sum(getattr(each, name) for each in single) for name in OVERHEADS}
    return seams
