"""`gatesearch bench boards`: compares prices with the published latencies and energies of microcontroller boards.

The networks are the references of MLPerf Tiny. A price is the instructions of a network, from the core's kernel table,
times one factor for each part. The factor is fitted to three networks and tested on the fourth. The benchmark also
compares the mean power of the streaming wake word. It counts the instructions of every kernel call in QEMU, and counts
them again only if the kernels or the tools have changed.
"""

from __future__ import annotations

from collections.abc import Mapping

from gatesearch._lib import console
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.report.rows import print_rows
from results.arguments import check_choices, read_keys
from results.benchmark import public_command
from results.boards import counting, cycles, ethos_u, mnemonics, published
from results.boards.instructions import TABLES, CoreInstructions, core_instructions, distinct_calls
from results.boards.page import Boards

WHERE = "bench boards"


def main(arguments: list[str]) -> None:
    """Count what is not counted yet, then write results/boards.

    Args:
        arguments: ``cores=cortex_m4,cortex_m55``, or some of the emulated cores; by default, all with a kernel table.

    Raises:
        UserError: an argument is wrong, or a tool is missing.
    """
    values = read_keys(WHERE, arguments, ("cores",))
    cores = check_choices(WHERE, "cores", values.get("cores", ",".join(TABLES)), TABLES, "core")
    folder = Boards.runs()
    cores_by_name = {}
    with console.progress(len(cores), "boards") as steps:
        for core in cores:
            counts = counting.count(folder, core, distinct_calls())
            cores_by_name[core] = core_instructions(core, counts, counting.sources(folder, core))
            steps.advance(note=core)
    outcomes = _cycle_outcomes(folder, cores_by_name)
    npu_times = ethos_u.estimate(folder, published.load().npus)
    benchmark = Boards(
        public_command("boards", arguments, {}), cores_by_name, published.load(), outcomes=outcomes, npu_times=npu_times
    )
    path = benchmark.publish()
    print_rows("boards", [row for row in benchmark.rows() if row.target])
    console.say(f"wrote {path}")


def _cycle_outcomes(folder: RunFolder, cores_by_name: Mapping[str, CoreInstructions]) -> list[cycles.Outcome]:
    """Return the comparison of cycles and instructions; empty without all cores, or without the list of cycles."""
    if not cycles.is_installed():
        console.warn(f"bench boards: no comparison with cycles: {cycles.PACKAGE} of the extra 'bench' is not installed")
        return []
    if not set(cycles.VARIANTS) <= set(cores_by_name):
        return []
    executed = {core: mnemonics.count(folder, core, distinct_calls()) for core in cycles.VARIANTS}
    return cycles.outcomes(published.load(), cores_by_name, executed)
