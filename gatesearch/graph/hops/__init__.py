"""Runs a network hop by hop on a stream: each hop computes only new frames, and stores a state for the next hop.

A hop is the time from one decision to the next. The network's input at a decision is a window.
"""

from gatesearch.graph.hops.frames import Frames, common_hop
from gatesearch.graph.hops.network import HopNetwork, State
from gatesearch.graph.hops.part import Part, hop_networks
from gatesearch.graph.hops.plan import find_obstacles
from gatesearch.graph.hops.rewrite import Rewritten, rewrite_for_hops
from gatesearch.graph.hops.separable import separate_pools
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
    "separate_pools",
    "work_by_hop",
]
