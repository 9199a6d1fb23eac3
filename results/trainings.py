"""Stores the results of a benchmark's trainings by row and seed, and loads them by protocol.

A row is one trained configuration, and one line of a table on the page. A protocol is a set of training settings.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch

from gatesearch._lib.timing import fingerprint
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.report.rows import RESULTS
from results.benchmark import Benchmark, Draw

RESULT = "result.json"
LIBRARIES = ("torch", "numpy")

Result = Mapping[str, Any]
Results = Mapping[str, Sequence[Result]]  # results by row; those of a row are in the order of seeds


class ProtocolBenchmark(Benchmark):
    """A benchmark that trains the same configurations under several protocols.

    The page has a section and a plot for each protocol. A table has a row for each configuration.

    Args:
        command: command that repeats the benchmark.
        protocol: name of the current protocol, which the page shows even without a result.
        results: folder of all benchmarks.
    """

    protocols: ClassVar[Iterable[str]]
    plot_title: ClassVar[str]  # start of the plot's title, before the name of the protocol
    draw: ClassVar[Callable[..., object]]  # draws results: takes the results, a title and the path of the plot

    def __init__(self, command: str, protocol: str, results: Path = RESULTS) -> None:
        super().__init__(command, results)
        self.protocol = protocol

    def plots(self) -> Mapping[str, Draw]:
        """Return a plot for each protocol."""
        return {
            f"{protocol}.png": partial(self.draw, results, f"{self.plot_title}, protocol {protocol}")
            for protocol, results in self.results_by_protocol().items()
        }

    def results_by_protocol(self) -> dict[str, Results]:
        """Return the results of each protocol that has results, and of the current protocol."""
        return read_protocols(self.runs().path, self.protocols, self.protocol)


def training_name(row: str, seed: int) -> str:
    """Return the name of a training's folder."""
    return f"{row}-{seed}"


def is_done(folder: RunFolder, row: str, seed: int) -> bool:
    """Return whether the result of a training is stored."""
    return (folder / f"{training_name(row, seed)}/{RESULT}").exists()


def write_result(folder: RunFolder, row: str, seed: int, result: Result) -> None:
    """Write a training's result, with its row and seed, to the training's folder."""
    folder.write_json(f"{training_name(row, seed)}/{RESULT}", {"row": row, "seed": seed, **result})


def read_rows(folder: Path) -> dict[str, list[Result]]:
    """Return the results of a folder by row, in the order of seeds."""
    results = [json.loads(path.read_text()) for path in folder.glob(f"*/{RESULT}")]
    rows: dict[str, list[Result]] = {}
    for result in sorted(results, key=lambda result: result["seed"]):
        rows.setdefault(result["row"], []).append(result)
    return rows


def read_protocols(runs: Path, protocols: Iterable[str], current: str) -> dict[str, Results]:
    """Return the results of each protocol that has results, and of the current protocol."""
    results = {protocol: read_rows(runs / protocol) for protocol in protocols if (runs / protocol).exists()}
    return {protocol: rows for protocol, rows in results.items() if rows or protocol == current}


def read_machine(accelerator: str | None = None) -> dict[str, Any]:
    """Return the name of the machine and the versions of libraries, to store with a training's result.

    Args:
        accelerator: name of the accelerator on which the training ran; None: it ran on the processor.
    """
    stamp = fingerprint()
    processor = f"{stamp['cpu']}, {torch.get_num_threads()} of {stamp['cores']} cores"
    versions = {"python": stamp["python"], **{name: stamp["versions"].get(name) for name in LIBRARIES}}
    return {"machine": accelerator or processor, "versions": versions}


def list_machines(results: Results) -> str:
    """Return the paragraph of a page that names the machines and the library versions of all trainings."""
    every = flatten(results)
    machines = {result["machine"] for result in every}
    versions = {", ".join(f"{name} {version}" for name, version in result["versions"].items()) for result in every}
    return f"Machine: {_join(machines)}. Versions: {_join(versions)}."


def flatten(results: Results) -> list[Result]:
    """Return the results of all rows as one list."""
    return [result for row in results.values() for result in row]


def _join(names: set[str]) -> str:
    return "; ".join(sorted(names)) or "none"
