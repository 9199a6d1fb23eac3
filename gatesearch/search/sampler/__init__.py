"""GateSampler, the Optuna sampler that proposes the next plan of a search, and its parts."""

from gatesearch.search.sampler.gate_sampler import GateSampler

__all__ = ["GateSampler"]
