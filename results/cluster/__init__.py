"""`gatesearch bench cluster`: the time that a search adds to each trial, and its efficiency with many workers.

Trials sleep for a set time instead of training. A sleeping worker needs no core, so more workers than cores are a
*simulation*: processes, messages and the driver are real, but the work of trials is not. A measurement that is stored
is not repeated.
"""

from __future__ import annotations

from gatesearch._lib import console
from gatesearch.report.rows import print_rows
from results.arguments import check_choices, read_keys
from results.benchmark import public_command, resume, revision
from results.cluster import measure
from results.cluster.page import EXECUTORS, WORKERS, Cluster

WHERE = "bench cluster"


def main(arguments: list[str]) -> None:
    """Make the missing measurements, then write results/cluster.

    Args:
        arguments: ``executors=local,ray``, or one of them; ``workers=1,2,4,8,16,32,64``, or some of these numbers.

    Raises:
        UserError: an argument is wrong, or ``executors`` names Ray, which is not installed.
    """
    values = read_keys(WHERE, arguments, ("executors", "workers"))
    executors = check_choices(WHERE, "executors", values.get("executors", ",".join(EXECUTORS)), EXECUTORS, "executor")
    counts = [str(count) for count in WORKERS]
    workers = check_choices(WHERE, "workers", values.get("workers", ",".join(counts)), counts, "number of workers")
    folder = Cluster.runs()
    measurements = {f"engine-{storage}": measure.engine_measurement(storage) for storage in measure.STORAGES}
    for name in executors:
        for count in workers:
            measurements[f"{name}-{count}"] = measure.scaling_measurement(name, int(count))
    with console.progress(len(measurements), "cluster") as steps:
        for name, measured in measurements.items():
            resume(folder, f"{name}.json", lambda m=measured: {**m(folder.path), "revision": revision()})  # type: ignore[misc]
            steps.advance(note=name)
    benchmark = Cluster(public_command("cluster", arguments, {}))
    path = benchmark.publish()
    print_rows("cluster", benchmark.rows())
    console.say(f"wrote {path}")
