"""Where plans are tried: here, in worker processes of this machine, or on a cluster."""

from __future__ import annotations

from gatesearch.search.executors.base import Asked, Executor, Here, TrialFailed

__all__ = ["Asked", "Executor", "Here", "TrialFailed"]
