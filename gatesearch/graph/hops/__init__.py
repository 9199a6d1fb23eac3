"""Running a network hop by hop: each hop computes what is new in its window, and keeps the rest as state."""

from gatesearch.graph.hops.frames import Frames, common_hop
from gatesearch.graph.hops.network import HopNetwork, State
from gatesearch.graph.hops.part import Part, hop_networks
from gatesearch.graph.hops.plan import find_obstacles
from gatesearch.graph.hops.rewrite import Rewritten, rewrite_for_hops
from gatesearch.graph.hops.work import HopWork, work_by_hop

__all__ = [
    "Frames",
    "HopNetwork",
    "HopWork",
    "Part",
    "Rewritten",
    "State",
    "common_hop",
    "find_obstacles",
    "hop_networks",
    "rewrite_for_hops",
    "work_by_hop",
]
