"""`gatesearch bench hmd speech=DIR har=FILE`: compressed matrices in recurrent networks.

Hybrid matrices (HMD, hybrid matrix decomposition) are compared with other compressed matrices in four networks. A row
of the page is one network with one kind of matrix and one compression factor. It is trained once for each seed. A
finished row is not trained again. Without recordings, speech and activities are synthetic, and the page says so.
"""

from __future__ import annotations

from gatesearch._lib import console
from gatesearch.errors import unknown
from gatesearch.pipeline.run_dir import RunFolder
from results.arguments import change_protocol, check_choice, lock_settings, read_seeds, split_protocol
from results.benchmark import public_command
from results.hmd.page import HybridMatrices
from results.hmd.protocol import DATA_SETS, PROTOCOLS, Protocol
from results.hmd.rows import METHODS, SPECS, TASKS, Spec
from results.hmd.run import Bench

WHERE = "bench hmd"
KEYS = (*DATA_SETS, "protocol", "seeds", "rows")


def main(arguments: list[str]) -> None:
    """Train every requested row that has no result yet; write results/hmd after each row; time the networks.

    Args:
        arguments: ``speech=DIR`` and ``har=FILE``, the paths of recordings; ``protocol=short|full``; ``seeds=0,1,2``;
            ``rows=NAME,NAME``, names of tasks, methods or single rows; any key of the protocol.

    Raises:
        UserError: an argument is wrong, or the folder holds results of other settings.
    """
    values, overrides = split_protocol(WHERE, arguments, KEYS, Protocol)
    name = check_choice(WHERE, "protocol", values.get("protocol", "short"), PROTOCOLS)
    protocol = change_protocol(WHERE, PROTOCOLS[name], overrides)
    seeds, specs = read_seeds(WHERE, values.get("seeds", "0")), _specs(values.get("rows", ",".join(TASKS)))
    folder = RunFolder(HybridMatrices.runs() / name)
    roots = {key: values.get(key) for key in DATA_SETS}
    sources = {key: "given" if root else "synthetic" for key, root in roots.items()}
    lock_settings(folder, {**protocol.model_dump(), **sources})
    bench, benchmark = Bench(folder, protocol, roots), HybridMatrices(public_command("hmd", arguments, DATA_SETS), name)
    missing = [(spec, seed) for seed in seeds for spec in specs if not bench.done(spec, seed)]
    with console.progress(len(missing), "trainings") as bar:
        for spec, seed in missing:
            bench.run(spec, seed)
            bar.advance()
            benchmark.publish()
    for task in dict.fromkeys(spec.task for spec in specs):
        if not bench.timed(task):
            bench.time(task)
    console.say(f"wrote {benchmark.publish()}")


def _specs(written: str) -> list[Spec]:
    """Return the rows that an argument lists as names of tasks, methods or rows, in the order of :data:`SPECS`."""
    chosen: set[str] = set()
    for name in written.split(","):
        matching = [key for key, spec in SPECS.items() if name in (key, spec.task, spec.method)]
        if not matching:
            raise unknown(f"{WHERE}: rows", "task, method or row", name, [*TASKS, *METHODS, *SPECS])
        chosen.update(matching)
    return [spec for spec in SPECS.values() if spec.name in chosen]
