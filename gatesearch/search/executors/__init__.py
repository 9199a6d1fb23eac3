"""Executors train and judge the plans of a search: in this process, in worker processes or on a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gatesearch.search.executors.base import Evaluate, Executor, Failure, InProcess, Proposal, ProposalSource, try_plan

if TYPE_CHECKING:
    from gatesearch.recipe.schema import Executor as ExecutorKeys

__all__ = ["Evaluate", "Executor", "Failure", "InProcess", "Proposal", "ProposalSource", "build", "try_plan"]


def build(keys: ExecutorKeys, evaluate: Evaluate, folder: Path) -> Executor:
    """Return the executor that a recipe's ``search.executor`` names.

    Args:
        keys: the part ``search.executor`` of the recipe.
        evaluate: the function that trains and judges a plan; it is pickled if other processes call it.
        folder: the folder for the executor's files.

    Raises:
        UserError: Ray is not installed.
    """
    return _BUILDERS[keys.name](keys, evaluate, folder)


def _build_local(keys: ExecutorKeys, evaluate: Evaluate, folder: Path) -> Executor:
    if keys.workers == 1:
        return InProcess(evaluate)
    from gatesearch.search.executors.local import LocalWorkers

    return LocalWorkers(evaluate, keys.workers, keys.cpus)


def _build_ray(keys: ExecutorKeys, evaluate: Evaluate, folder: Path) -> Executor:
    from gatesearch.search.executors.tune import RayTune

    return RayTune(evaluate, folder, workers=keys.workers, cpus=keys.cpus, gpus=keys.gpus, address=keys.address)


_BUILDERS = {"local": _build_local, "ray": _build_ray}
