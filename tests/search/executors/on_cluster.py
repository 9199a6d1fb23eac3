"""A program that searches on two Ray nodes of one machine, and kills one of the nodes during the search.

Usage: python on_cluster.py FOLDER TRIALS KILL_AFTER. The node is killed half a second after the trial with which
KILL_AFTER trials have ended. test_tune.py, in the same folder, runs this program in a process of its own, with token
authentication, and reads the JSON that the program prints.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

from ray.cluster_utils import Cluster

from gatesearch.search import SearchSettings, Trial, engine
from gatesearch.search.executors.tune import RayTune
from gatesearch.search.sampler.choice import build_optuna_sampler
from tests.search.quick import Quick, price
from tests.search.small_spaces import small


def main(folder: Path, trials: int, kill_after: int) -> None:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    second = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    trial_numbers: list[int] = []
    threads = []

    def record_trial(trial: Trial) -> None:
        trial_numbers.append(trial.number)
        if len(trial_numbers) == kill_after:
            # Half a second later, the next trials run on both nodes, so the node is killed while it runs a trial.
            threads.append(threading.Timer(0.5, cluster.remove_node, (second,), {"allow_graceful": False}))
            threads[-1].start()

    evaluate = Quick(folder / "ended", 1.5, folder / "began")
    started = time.monotonic()
    settings = SearchSettings(
        journal=folder / "study.journal",
        trials=trials,
        proposals=400,
        seed=1,
        on_trial=record_trial,
        sampler=build_optuna_sampler("tpe", 1),
    )
    executor = RayTune(evaluate, folder / "ray", workers=2, address=cluster.address)
    result = engine.search(small(), price, evaluate, settings, executor)
    for thread in threads:
        thread.join()
    print(
        json.dumps(
            {
                "seconds": time.monotonic() - started,
                "complete": [trial.plan.digest for trial in result.complete],
                "states": [trial.state for trial in result.trials],
                "killed": len(threads),
            }
        )
    )
    cluster.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
