"""Where plans are tried: here, in worker processes of this machine, or on a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gatesearch.search.executors.base import Asked, Asking, Evaluate, Executor, Here, TrialFailed

if TYPE_CHECKING:
    from gatesearch.recipe.schema import Executor as Chosen

__all__ = ["Asked", "Asking", "Evaluate", "Executor", "Here", "TrialFailed", "build"]


def build(chosen: Chosen, evaluate: Evaluate, folder: Path) -> Executor:
    """Return what a recipe's ``search.executor`` asks for.

    Args:
        chosen: that part of the recipe.
        evaluate: tries a plan; pickled where that is done in other processes.
        folder: for what the executor keeps.

    Raises:
        UserError: Ray is not installed.
    """
    return _BUILDERS[chosen.name](chosen, evaluate, folder)


def _local(chosen: Chosen, evaluate: Evaluate, folder: Path) -> Executor:
    if chosen.workers == 1:
        return Here(evaluate)
    from gatesearch.search.executors.local import Local

    return Local(evaluate, chosen.workers, chosen.cpus)


def _ray(chosen: Chosen, evaluate: Evaluate, folder: Path) -> Executor:
    from gatesearch.search.executors.tune import Tune

    return Tune(evaluate, folder, workers=chosen.workers, cpus=chosen.cpus, gpus=chosen.gpus, address=chosen.address)


_BUILDERS = {"local": _local, "ray": _ray}
