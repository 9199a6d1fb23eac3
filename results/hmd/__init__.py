"""`gatesearch bench hmd speech=DIR har=FILE`: hybrid matrices against their rivals on four recurrent networks.

A row that is done is not run again. Without recordings, speech and activities are synthetic, and labelled so.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from gatesearch._lib import console
from gatesearch.errors import unknown
from gatesearch.pipeline.run_dir import RunFolder
from results import arguments
from results.hmd.pages import write
from results.hmd.protocol import PROTOCOLS, Protocol
from results.hmd.rows import METHODS, SPECS, TASKS, Spec
from results.hmd.run import RUNS, Bench

WHERE = "bench hmd"
ROOTS: Mapping[str, str] = {"speech": "SPEECH_COMMANDS", "har": "har_windows.npz"}  # and what is published of them
KEYS = (*ROOTS, "protocol", "seeds", "rows")


def main(arguments: list[str]) -> None:
    """Run every row that is asked for and not done yet; write results/hmd.md, .json and plots after each task.

    Args:
        arguments: ``speech=`` and ``har=``, where recordings lie; ``protocol=short|full``; ``seeds=0,1,2``; ``rows=``
            tasks, methods or single rows, with commas between; any key of the protocol.

    Raises:
        UserError: an argument is wrong, or there are results by other settings.
    """
    given, overrides = arguments.parted(WHERE, arguments, KEYS, Protocol)
    name = arguments.one_of(WHERE, "protocol", given.get("protocol", "short"), PROTOCOLS)
    protocol = arguments.changed(WHERE, PROTOCOLS[name], overrides)
    seeds, specs = arguments.seeds(WHERE, given.get("seeds", "0")), _specs(given.get("rows", ",".join(TASKS)))
    folder = RunFolder(RUNS / name)
    roots = {key: given.get(key) for key in ROOTS}
    sources = {key: "given" if root else "synthetic" for key, root in roots.items()}
    arguments.keep(folder, {**protocol.model_dump(), **sources})
    command = shlex.join(["gatesearch", "bench", "hmd", *(arguments.public(text, ROOTS) for text in arguments)])
    bench = Bench(folder, protocol, roots)
    left = [(spec, seed) for seed in seeds for spec in specs if not bench.done(spec, seed)]
    with console.progress(len(left), "trainings") as bar:
        for spec, seed in left:
            bench.run(spec, seed)
            bar.advance()
            write(RUNS, name, command)
    for task in dict.fromkeys(spec.task for spec in specs):
        if not bench.timed(task):
            bench.time(task)
    console.say(f"wrote {write(RUNS, name, command)}")


def _specs(written: str) -> list[Spec]:
    """Return the rows of tasks or methods, or single rows, each once."""
    found: dict[str, Spec] = {}
    for name in written.split(","):
        chosen = {key: spec for key, spec in SPECS.items() if name in (key, spec.task, spec.method)}
        if not chosen:
            raise unknown(f"{WHERE}: rows", "task, method or row", name, [*TASKS, *METHODS, *SPECS])
        found |= chosen
    return [spec for spec in SPECS.values() if spec.name in found]
