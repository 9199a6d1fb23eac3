"""`gatesearch bench kernels`: compares the times of C kernels for gated layers with those of dense kernels.

The dense kernels are those of gatesearch and of other libraries. Every ratio is between calls that took turns in one
process, on one thread. A case is not measured again if a measurement with the same settings is stored. The benchmark
also times keyword spotters with gates on a stream of windows.
"""

from __future__ import annotations

from typing import Any

from gatesearch import kernels
from gatesearch._lib import console
from gatesearch.errors import UserError
from gatesearch.report.rows import print_rows
from results.arguments import check_choices, read_count, read_keys
from results.benchmark import public_command, resume_same
from results.kernels import cases, networks, roofline, streams
from results.kernels.case_timing import file_name, time_case
from results.kernels.page import Kernels
from results.kernels.spotters import SPOTTERS
from results.whole_runs import SPEECH

WHERE = "bench kernels"
ROUNDS = 100
GROUPS = ("dense", "fbs", "pg", networks.GROUP, "rnn", "stream", roofline.GROUP)


def main(arguments: list[str]) -> None:
    """Measure every requested case that is not measured yet, then write results/kernels.

    Args:
        arguments: ``groups=dense,fbs,pg,network,rnn,stream,roofline``, or some of these; ``rounds=100``, the number
            of turns of each call; ``spotters=DS-CNN,KWT,DS-CNN-L``, the keyword spotters for the streams;
            ``data.root=DIR``, a folder of real speech for the streams (default: synthetic speech).

    Raises:
        UserError: an argument is wrong, or kernels cannot be compiled.
    """
    values = read_keys(WHERE, arguments, ("groups", "rounds", "spotters", "data.root"))
    groups = check_choices(WHERE, "groups", values.get("groups", ",".join(GROUPS)), GROUPS, "group")
    spotters = check_choices(WHERE, "spotters", values.get("spotters", ",".join(SPOTTERS)), SPOTTERS, "spotter")
    rounds = read_count(WHERE, "rounds", values.get("rounds", str(ROUNDS)))
    library = kernels.load()
    if library is None:
        raise UserError(f"{WHERE}: {kernels.status()}: there is nothing to measure")
    build = {"instructions": library.instructions, "kernels": library.path.parent.name}
    folder, every_case = Kernels.runs(), [*cases.all_cases(), roofline.CASE]
    chosen = [case for case in every_case if case.group in groups]
    with console.progress(len(chosen), "kernels") as steps:
        for case in chosen:
            resume_same(folder, file_name(case), {"rounds": rounds, **build}, lambda c=case: time_case(c, rounds))  # type: ignore[misc]
            steps.advance(note=f"{case.group}, {case.name}")
    data = [f"data.root={values['data.root']}"] if "data.root" in values else []
    if "stream" in groups:
        for name in spotters:
            for seed in SPOTTERS[name].seeds if data else (0,):
                file = _stream_file(name, seed, bool(data))
                resume_same(folder, file, build, lambda n=name, s=seed: streams.measure(n, data, s))  # type: ignore[misc]
    streams_by_spotter: dict[str, dict[int, Any]] = {}
    for name, spotter in SPOTTERS.items():
        for seed in spotter.seeds:
            if (stream := folder.read_json(_stream_file(name, seed, bool(data)))) is not None:
                streams_by_spotter.setdefault(name, {})[seed] = stream
    measured = {case: folder.read_json(file_name(case)) for case in every_case}
    benchmark = Kernels(public_command("kernels", arguments, SPEECH), measured, streams_by_spotter, synthetic=not data)
    path = benchmark.publish()
    print_rows("kernels", [row for row in benchmark.rows() if row.target])
    console.say(f"wrote {path}")


def _stream_file(spotter: str, seed: int, real: bool) -> str:
    return f"stream-{spotter.lower()}-{'real' if real else 'synthetic'}-{seed}.json"
