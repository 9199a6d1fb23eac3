"""GateSampler, which proposes the plan to try next, and what it is made of."""

from gatesearch.search.sampler.gate_sampler import GateSampler

__all__ = ["GateSampler"]
