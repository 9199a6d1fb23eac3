"""Plans tried on a Ray cluster, as trials of Ray Tune whose actors stay from trial to trial."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path
from typing import Any

from gatesearch.errors import UserError
from gatesearch.plan import GatePlan
from gatesearch.search.executors.base import Asking, Evaluate, TrialFailed
from gatesearch.search.ray import GateSearcher, reported

FAILURES = 3  # nodes or workers that a trial may lose
QUIET = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the study and our own logs say it all
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is the command line's
    "TUNE_MAX_PENDING_TRIALS_PG": "",  # set for each run
    "RAY_AIR_NEW_OUTPUT": "0",  # which prints even where it is told not to
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


class Tune:
    """Ray Tune as an executor.

    A trial whose node or worker dies is tried again elsewhere. It goes on from the checkpoint that its training left in
    the run folder, where the nodes share one, else from its start.

    Args:
        evaluate: tries a plan; shipped once to each node.
        folder: where Tune keeps what it keeps, as long as it runs.
        workers: trials at a time, over all nodes.
        cpus, gpus: of a trial.
        address: of a running cluster, such as ``auto`` or ``ray://HOST:10001``; None for a Ray of its own, here.
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
        cores = os.cpu_count() or 1
        if address is None and cpus > cores:
            raise UserError(f"search.executor.cpus: {cpus:g} CPUs for a trial, and this machine has {cores}")

    def drive(self, session: Asking) -> None:
        """Let Tune run the search.

        Raises:
            UserError: there is no cluster at the address.
            TrialFailed: a trial failed again and again.
        """
        os.environ.update(QUIET | {"TUNE_MAX_PENDING_TRIALS_PG": str(self.workers)})
        import ray

        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
        ours = not ray.is_initialized()
        if ours:
            _connect(self._address)
        try:
            self._tune(session)
        finally:
            if ours:
                ray.shutdown()
            shutil.rmtree(self._folder, ignore_errors=True)

    def _tune(self, session: Asking) -> None:
        from ray import tune

        searcher = GateSearcher(session)
        threads = max(1, int(self._resources["cpu"]))
        trainable = tune.with_resources(
            tune.with_parameters(_trainable(), evaluate=self._evaluate, threads=threads), self._resources
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
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),  # what ended is in the study
                failure_config=tune.FailureConfig(max_failures=FAILURES),
                verbose=0,
            ),
        ).fit()
        if searcher.failed:
            cause = next(iter(results.errors), None)
            last = str(cause).strip().splitlines()[-1] if cause else "its nodes died"
            raise TrialFailed(f"search: a trial failed {FAILURES + 1} times on the cluster: {last}") from cause


def _connect(address: str | None) -> None:
    import ray

    try:
        ray.init(
            address=address or "local",
            logging_level=logging.ERROR,
            log_to_driver=False,
            include_dashboard=False if address is None else None,
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        line = str(error).strip().splitlines()[0]
        raise UserError(f"search.executor.address: no Ray cluster at {address!r}: {line}") from error


def _trainable() -> type:
    from ray import tune

    class PlanTrial(tune.Trainable):
        """One plan after the other, in an actor that keeps what it trains on."""

        def setup(  # type: ignore[override] # as tune.with_parameters wants it
            self, config: dict[str, Any], evaluate: Evaluate, threads: int
        ) -> None:
            import torch

            torch.set_num_threads(threads)
            self.evaluate = evaluate

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.config = new_config
            return True

        def step(self) -> dict[str, Any]:
            plan = GatePlan.from_json(self.config["plan"])
            return {**reported(self.evaluate(plan)), "done": True}

    return PlanTrial
