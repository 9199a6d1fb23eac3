"""`gatesearch bench kernels`: what gated kernels gain, beside dense ones of our own and of the usual libraries.

Every ratio is between calls that took turns in one run, on one thread. A case that is done is not measured again.
"""

from __future__ import annotations

import dataclasses
import shlex
from typing import Any

import torch

from gatesearch import kernels
from gatesearch._lib import console
from gatesearch._lib.timing import fingerprint, interleaved
from gatesearch.errors import UserError, unknown
from gatesearch.pipeline.run_dir import RunFolder
from results import runs
from results.kernels import cases, pages, roofline, streams
from results.kernels.pages import RUNS

ROUNDS = 100
SAMPLES = 5  # of a turn
GROUPS = ("dense", "fbs", "pg", "rnn", "stream", roofline.GROUP)
KEYS = ("groups", "rounds", "spotters", "data.root")


def main(arguments: list[str]) -> None:
    """Measure every case that is asked for and not done yet; write results/kernels.md, .json and .png.

    Args:
        arguments: ``groups=dense,fbs,pg,rnn,stream,roofline``, a choice of them; ``rounds=100``, turns of each call;
            ``spotters=DS-CNN,KWT,DS-CNN-L``, those that listen; ``data.root=DIR``, real speech for them, synthetic
            where it is not given.

    Raises:
        UserError: an argument is wrong, or kernels cannot be compiled.
    """
    given = dict(_parted(text) for text in arguments)
    groups = given.get("groups", ",".join(GROUPS)).split(",")
    for group in groups:
        if group not in GROUPS:
            raise unknown("bench kernels: groups", "group", group, GROUPS)
    spotters = given.get("spotters", ",".join(streams.SPOTTERS)).split(",")
    for name in spotters:
        if name not in streams.SPOTTERS:
            raise unknown("bench kernels: spotters", "spotter", name, streams.SPOTTERS)
    rounds = _rounds(given.get("rounds", str(ROUNDS)))
    library = kernels.load()
    if library is None:
        raise UserError(f"bench kernels: {kernels.status()}: there is nothing to measure")
    built = {"instructions": library.instructions, "kernels": library.path.parent.name}
    settings = {"rounds": rounds, **built}
    folder, wanted = RunFolder(RUNS), [case for case in _cases() if case.group in groups]
    with console.progress(len(wanted), "kernels") as steps:
        for case in wanted:
            kept = folder.read_json(file_of(case))
            if kept is None or kept["settings"] != settings:
                folder.write_json(file_of(case), _measured(case, rounds, settings))
            steps.advance(note=f"{case.group}, {case.name}")
    data = [f"data.root={given['data.root']}"] if "data.root" in given else []
    if "stream" in groups:
        for name in spotters:
            for seed in streams.SPOTTERS[name].seeds if data else (0,):
                _listened(folder, name, seed, data, built)
    found = {case: folder.read_json(file_of(case)) for case in _cases()}
    command = shlex.join(["gatesearch", "bench", "kernels", *map(runs.public, arguments)])
    listened: dict[str, dict[int, Any]] = {}
    for name, spotter in streams.SPOTTERS.items():
        for seed in spotter.seeds:
            if (kept := folder.read_json(_file_of_stream(name, seed, data))) is not None:
                listened.setdefault(name, {})[seed] = kept
    rows, path = pages.write(found, listened, not data, command)
    shown = [(row.name, f"{row.value:.3g} {row.unit}", row.target or "") for row in rows if row.target]
    console.table("kernels", ("figure", "value", "target"), shown)
    console.say(f"wrote {path}")


def _cases() -> list[cases.Case]:
    return [*cases.all_cases(), cases.Case(roofline.NAME, roofline.GROUP, roofline.calls)]


def _listened(folder: RunFolder, spotter: str, seed: int, data: list[str], settings: dict[str, Any]) -> None:
    kept = folder.read_json(_file_of_stream(spotter, seed, data))
    if kept is None or kept["settings"] != settings:
        found = streams.measured(spotter, data, seed)
        folder.write_json(_file_of_stream(spotter, seed, data), {"settings": settings, **found})


def _file_of_stream(spotter: str, seed: int, data: list[str]) -> str:
    return f"stream-{spotter.lower()}-{'real' if data else 'synthetic'}-{seed}.json"


def file_of(case: cases.Case) -> str:
    """Return the name of the file that holds the timings of a case."""
    return f"{case.group}-{'-'.join(case.name.replace(',', '').split())}.json"


def _measured(case: cases.Case, rounds: int, settings: dict[str, Any]) -> dict[str, Any]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            calls = (
                {**case.calls(), **roofline.calls(roofline.BESIDE)} if case.group != roofline.GROUP else case.calls()
            )
            timings = interleaved(calls, rounds, samples=SAMPLES)
    finally:
        torch.set_num_threads(threads)
    times = {name: dataclasses.asdict(timing) for name, timing in timings.items()}
    return {"settings": settings, "machine": fingerprint(), "times": times}


def _parted(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    if key not in KEYS:
        raise unknown("bench kernels", "key", key, KEYS)
    return key, value


def _rounds(written: str) -> int:
    if not written.isdigit() or not int(written):
        raise UserError(f"bench kernels: rounds={written}: not a whole number from 1")
    return int(written)
