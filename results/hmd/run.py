"""Runs a row of the ``hmd`` benchmark (builds, trains and tests a network), and times the networks of a task."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import torch
from torch import nn

from gatesearch._lib import console
from gatesearch._lib.timing import fingerprint
from gatesearch.gates.matrices import Factors, PrunedMatrix
from gatesearch.graph.sites import layer_sites
from gatesearch.kernels import status
from gatesearch.model import GatedModel
from gatesearch.pipeline.run_dir import RunFolder
from results.hmd import latency
from results.hmd.protocol import Protocol
from results.hmd.rows import SPECS, Spec
from results.hmd.tasks import Task, load
from results.hmd.train import score, train
from results.trainings import is_done, read_machine, training_name, write_result


@dataclass
class Bench:
    """Runs the rows of one protocol, which share a folder and the loaded tasks.

    Args:
        folder: folder of the protocol, with a folder for each row and seed.
        protocol: settings of the training.
        roots: paths of the recordings, by kind of data; see :func:`results.hmd.tasks.load`.
    """

    folder: RunFolder
    protocol: Protocol
    roots: Mapping[str, str | None]
    _tasks: dict[str, Task] = field(default_factory=dict)

    def done(self, spec: Spec, seed: int) -> bool:
        """Return whether the result of a row is stored."""
        return is_done(self.folder, spec.name, seed)

    def run(self, spec: Spec, seed: int) -> None:
        """Train a row, test it, and write its result."""
        task, started = self.task(spec.task), time.monotonic()
        model = self.model(spec, seed)
        best = train(model, task, self.protocol, seed)
        test = score(model, task, "test")
        if spec.method == "dense":
            self.folder.write(f"{training_name(spec.name, seed)}/model.pt", _bytes(model.stages[0]))
        matrices = [matrix for layer in latency.recurrent(model) for matrix in layer.matrices()]
        stored = sum(map(_stored, matrices))
        write_result(
            self.folder,
            spec.name,
            seed,
            {
                "quality": test.quality,
                "f1": test.f1,
                "validation": score(model, task, "validation").quality,
                "best_check": best,
                "matrix_params": stored,
                "params": sum(p.numel() for p in model.parameters()) - sum(map(_held, matrices)) + stored,
                "source": task.source,
                "synthetic": task.synthetic,
                "seconds": time.monotonic() - started,
                "date": f"{datetime.now(UTC):%Y-%m-%d}",
                **read_machine(),
            },
        )
        console.say(f"{training_name(spec.name, seed)}: {test.quality:.4f}, {time.monotonic() - started:.0f} s")

    def time(self, task: str) -> None:
        """Time one step of the network of every row of a task, and write the latencies; the networks are untrained."""
        networks = {spec.name: self.model(spec, 0, trained=False) for spec in SPECS.values() if spec.task == task}
        runtime = latency.runtime()
        timings = latency.measure(networks, runtime)
        stamp = fingerprint()
        latencies = self.folder.read_json(latency.LATENCIES) or {}
        latencies[task] = {
            "runtime": runtime,
            "kernels": status(),
            "date": f"{datetime.now(UTC):%Y-%m-%d}",
            "machine": stamp["cpu"],
            "versions": {key: stamp["versions"].get(key) for key in ("numpy",)},
            "rounds": latency.ROUNDS,
            "rows": {name: {"minimum_us": t.minimum_us, "median_us": t.median_us} for name, t in timings.items()},
        }
        self.folder.write_json(latency.LATENCIES, latencies)

    def timed(self, task: str) -> bool:
        """Return whether latencies of a task are stored for the runtime of this machine."""
        timing = (self.folder.read_json(latency.LATENCIES) or {}).get(task, {})
        return bool(timing.get("runtime") == latency.runtime())

    def task(self, name: str) -> Task:
        """Return a task; the first call loads it."""
        if name not in self._tasks:
            self._tasks[name] = load(name, self.protocol, self.roots)
        return self._tasks[name]

    def model(self, spec: Spec, seed: int, trained: bool = True) -> GatedModel:
        """Return the network of a row, before its training.

        Args:
            spec: the row.
            seed: seed of the initial weights.
            trained: True: compressed layers start from the trained dense network if the protocol has
                ``start: trained``. False: they do not, for uses in which only the shapes matter.
        """
        task = self.task(spec.task)
        torch.manual_seed(seed)
        units = max(4, round(self.protocol.width * task.hidden))
        net = task.build(units, self.protocol.dropout)
        if spec.method == "smaller":
            most = _matrix_params(net) / spec.factor
            net = task.build(_units(task, units, most), self.protocol.dropout)
        sites = layer_sites(net, task.example)
        fitted = trained and self.protocol.start == "trained" and spec.is_layer_kind
        if fitted:
            dense = Spec(spec.task, "dense")
            if not self.done(dense, seed):
                self.run(dense, seed)
            weights = self.folder / f"{training_name(dense.name, seed)}/model.pt"
            net.load_state_dict(torch.load(weights, weights_only=True))
            torch.manual_seed(seed)
        return GatedModel(net, spec.plan(sites, fitted), (), 1, layers=sites)


def _units(task: Task, most_units: int, params: float) -> int:
    """Return the largest number of units below ``most_units`` with at most ``params`` parameters in the matrices."""
    fitting = [units for units in range(1, most_units) if _matrix_params(task.build(units, 0.0)) <= params]
    return max(fitting, default=1)


def _matrix_params(net: nn.Module) -> int:
    return sum(_held(matrix) for layer in latency.recurrent(net) for matrix in layer.matrices())


def _held(matrix: Factors) -> int:
    return sum(p.numel() for p in matrix.parameters())


def _stored(matrix: Factors) -> int:
    """Return the number of parameters of a matrix; for a pruned matrix, the number of its nonzero elements."""
    if isinstance(matrix, PrunedMatrix):
        return int(matrix.eval().dense().count_nonzero())
    return _held(matrix)


def _bytes(module: nn.Module) -> bytes:
    buffer = io.BytesIO()
    torch.save(module.state_dict(), buffer)
    return buffer.getvalue()
