"""The executor that tries plans on a Ray cluster, as trials of Ray Tune.

The trials run in actors, which are Ray's worker processes. One actor runs many trials, one after the other.
"""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path
from typing import Any

from gatesearch._lib import console
from gatesearch._lib.cores import available_cores
from gatesearch.errors import UserError, first_line
from gatesearch.plan import GatePlan
from gatesearch.search.executors.base import Evaluate, ProposalSource, try_plan
from gatesearch.search.executors.ray_searcher import GateSearcher, report_outcome

LOOPBACK = "127.0.0.1"
RAY_CLUSTER_SWITCH = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
MAX_FAILURES = 3  # how many times a trial may lose its node or its worker before the trial fails
TUNE_ENVIRONMENT = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the study and the run's logs hold what these loggers would write
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # the command line handles Ctrl-C
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is reported to the makers of Ray
    "RAY_AIR_NEW_OUTPUT": "0",  # the new output prints even at verbose=0
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # for a trial without GPUs, Ray does not change CUDA_VISIBLE_DEVICES
}


class RayTune:
    """Tries plans on a Ray cluster, with Ray Tune.

    A trial whose node or worker dies is tried again on another node. If the nodes share the run folder, the trial
    continues from the checkpoint of its training in that folder. Otherwise its training starts again.

    Args:
        evaluate: the function that tries a plan; it is sent to each node once.
        folder: the folder for Tune's files; it is deleted when the search ends.
        workers: number of trials that run at the same time, on all nodes together.
        cpus, gpus: CPUs and GPUs of one trial.
        address: address of a running cluster, such as ``auto`` or ``ray://HOST:10001``; None: a new Ray on this
            machine.
    """

    def __init__(
        self,
        evaluate: Evaluate,
        folder: Path,
        *,
        workers: int,
        cpus: float = 1,
        gpus: float = 0.0,
        address: str | None = None,
    ) -> None:
        self._evaluate, self._folder, self._address = evaluate, folder.absolute(), address
        self.workers, self._resources = workers, {"cpu": cpus, "gpu": gpus}
        cores = available_cores()
        if address is None and cpus > cores:
            raise UserError(f"search.executor.cpus: {cpus:g} CPUs for a trial, and this process has {cores}")

    def run(self, session: ProposalSource) -> None:
        """Run the search with Ray Tune.

        Raises:
            UserError: there is no cluster at the address.
        """
        os.environ.update(TUNE_ENVIRONMENT | {"TUNE_MAX_PENDING_TRIALS_PG": str(self.workers)})
        import ray

        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
        is_own = not ray.is_initialized()
        if is_own:
            connect(self._address)
        try:
            self._tune(session)
        finally:
            if is_own:
                ray.shutdown()
            shutil.rmtree(self._folder, ignore_errors=True)

    def _tune(self, session: ProposalSource) -> None:
        """Run a Ray Tune job that asks the session for plans and reports outcomes to it; warn of failed trials."""
        from ray import cloudpickle, tune

        searcher = GateSearcher(session)
        threads = max(1, int(self._resources["cpu"]))
        trainable = tune.with_resources(
            tune.with_parameters(_trainable(), evaluate=cloudpickle.dumps(self._evaluate), threads=threads),
            self._resources,
        )
        results = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                num_samples=-1,
                max_concurrent_trials=self.workers,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: str(trial.trial_id),
            ),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=str(self._folder),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),  # the study holds the outcome
                failure_config=tune.FailureConfig(max_failures=MAX_FAILURES),
                verbose=0,
            ),
        ).fit()
        for line in dict.fromkeys(str(error).strip().splitlines()[-1] for error in results.errors):
            console.warn(f"search: trials that failed on the cluster: {line}")


def connect(address: str | None, cpus: int | None = None) -> None:
    """Connect to a cluster, or start a Ray that other machines cannot reach.

    Ray runs the code of anybody who can reach it. On Linux it listens on all network interfaces, as a node of a cluster
    must. Ray has a switch for Windows and macOS that restricts it to the loopback interface. This function sets that
    switch on Linux, too.

    Args:
        address: the address of the cluster; None: a new Ray on this machine.
        cpus: number of CPUs of the new Ray; None takes all CPUs of the machine.

    Raises:
        UserError: there is no cluster at the address, or the new Ray listens on other interfaces.
    """
    import ray
    from ray._private import ray_constants

    arguments: dict[str, Any] = {}
    if address is None:
        os.environ[RAY_CLUSTER_SWITCH] = "0"  # for the processes that Ray starts
        ray_constants.ENABLE_RAY_CLUSTER = False  # for this process
        arguments = {"_node_ip_address": LOOPBACK, "include_dashboard": False, "num_cpus": cpus}
    try:
        ray.init(address=address or "local", logging_level=logging.ERROR, log_to_driver=False, **arguments)
    except (ConnectionError, ValueError, RuntimeError) as error:
        line = first_line(error)
        raise UserError(f"search.executor.address: no Ray cluster at {address!r}: {line}") from error
    if address is None and ray.util.get_node_ip_address() != LOOPBACK:
        ray.shutdown()
        raise UserError(
            f"search.executor: Ray {ray.__version__} does not stay on {LOOPBACK}; start one that only you can reach, "
            "and name it: search.executor.address=auto"
        )


def _trainable() -> type:
    """Return the class that Ray Tune runs in its actors: one step tries one plan."""
    from ray import cloudpickle, tune

    class PlanTrial(tune.Trainable):
        """Tries one plan after the other, in an actor that holds the training data in memory."""

        def setup(  # type: ignore[override] # tune.with_parameters adds arguments
            self, config: dict[str, Any], evaluate: bytes, threads: int
        ) -> None:
            import torch

            torch.set_num_threads(threads)
            with console.divert_warnings() as self.warnings:  # these warnings go to the driver with the first outcome
                self.evaluate: Evaluate = cloudpickle.loads(evaluate)

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.config = new_config
            return True

        def step(self) -> dict[str, Any]:
            plan = GatePlan.from_json(self.config["plan"])
            with console.divert_warnings() as warnings:
                outcome = try_plan(self.evaluate, plan)
            report = report_outcome(outcome, [*self.warnings, *warnings])
            self.warnings = []
            return {**report, "done": True}

    return PlanTrial
