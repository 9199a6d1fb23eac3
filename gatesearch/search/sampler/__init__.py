"""GateSampler, which proposes the plan to try next, and its parts."""

from gatesearch.search.sampler.gate_sampler import GateSampler

__all__ = ["GateSampler"]
