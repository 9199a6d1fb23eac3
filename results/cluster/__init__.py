"""`gatesearch bench cluster`: what the engine costs a trial, and how searches scale over workers.

Trials sleep for known lengths. A worker that sleeps needs no core, so that more workers than this machine has cores are
*simulated*: processes, messages and the driver are real, the work is not. A row that is done is not measured again.
"""

from __future__ import annotations

EXECUTORS = ("local", "ray")
WORKERS = (1, 2, 4, 8, 16, 32, 64)
KEYS = ("executors", "workers")


def main(arguments: list[str]) -> None:
    """Measure every row that is asked for and not done yet; write results/cluster.md, .json and .png.

    Args:
        arguments: ``executors=local,ray``, a choice of them; ``workers=1,2,4,8,16,32,64``, how many at a time.

    Raises:
        UserError: an argument is wrong, or Ray is asked for and not installed.
    """
    import shlex

    from gatesearch._lib import console
    from gatesearch._lib.revision import revision
    from gatesearch.errors import unknown
    from gatesearch.pipeline.run_dir import RunFolder
    from gatesearch.report.rows import show
    from results.cluster import measure, pages

    given = {key: value for key, _, value in (text.partition("=") for text in arguments)}
    for key in given:
        if key not in KEYS:
            raise unknown("bench cluster", "key", key, KEYS)
    executors = given.get("executors", ",".join(EXECUTORS)).split(",")
    for name in executors:
        if name not in EXECUTORS:
            raise unknown("bench cluster: executors", "executor", name, EXECUTORS)
    workers = given.get("workers", ",".join(map(str, WORKERS))).split(",")
    for count in workers:
        if count not in map(str, WORKERS):
            raise unknown("bench cluster: workers", "number of workers", count, map(str, WORKERS))
    folder = RunFolder(pages.RUNS)
    wanted = {f"engine-{storage}": measure.engine_of(storage) for storage in measure.STORAGES}
    wanted |= {f"{name}-{count}": measure.scaling_of(name, int(count)) for name in executors for count in workers}
    with console.progress(len(wanted), "cluster") as steps:
        for name, measured in wanted.items():
            if folder.read_json(f"{name}.json") is None:
                folder.write_json(f"{name}.json", {**measured(folder.path), "revision": revision()})
            steps.advance(note=name)
    rows, path = pages.write(folder, shlex.join(["gatesearch", "bench", "cluster", *arguments]))
    show("cluster", rows)
    console.say(f"wrote {path}")
