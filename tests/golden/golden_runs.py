"""Small complete runs of the command line, whose figures are compared with a record.

Each run is a process of its own, with one thread, one worker and one seed, on a device whose prices do not depend on a
clock. On the machine type that made a record, all figures have to equal the record. On other machine types, products
round differently and trainings drift apart. :func:`differences_elsewhere` says which figures are compared there.
"""

from __future__ import annotations

import csv
import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from tests import tones

HERE = Path(__file__).parent

TOLERANT = ("constraints.max_accuracy_drop=1.0", "verify.gate_agreement=0.0", "verify.prediction_agreement=0.0")
ON_TONES = ("data.root=tones", "data.positives=[up,down]", "augment.renditions=1", "pick.attempts=1")
SETTINGS: Mapping[str, tuple[str, ...]] = {
    "quick": (
        "recipe=digits_hybrid.yaml",
        "device=bit_serial",  # prices of the recipe's own device need timings of this host
        "backbone_args={width: 0.125, dropout: 0.0}",
        "augment=null",
        "training.epochs=3",
        "training.averaging=0.8",
        "search.trials=3",
        "search.epochs=1",
        "retrain.epochs=1",
        "pick.attempts=1",
        *TOLERANT,
        "export.formats=[tflite]",
        "space.layers.sites=[conv2.0,conv3.0]",  # few layers, because each conversion takes time
        "space.kinds={pg: {bits: [8], high_bits: [4], mask: [m1], target: [0.0]}, "
        "fbs_pg: {density: [0.5], block: [1], bits: [8], high_bits: [4], mask: [3d], target: [0.0]}}",
    ),
    "digits_hybrid": (
        "recipe=digits_hybrid.yaml",
        "device=bit_serial",  # prices of the recipe's own device need timings of this host
        "training.epochs=8",
        "search.trials=8",
        "search.epochs=1",
        "retrain.epochs=2",
        *TOLERANT,
        "constraints.max_accuracy_drop=0.1",
    ),
    "kws_clips": (
        "recipe=kws_clips.yaml",
        *ON_TONES,
        "backbone_args={width: 8, blocks: 2}",
        "training.epochs=20",
        "training.batch_size=10",
        "search.trials=5",
        "search.epochs=2",
        "retrain.epochs=4",
        "constraints.min_gate_recall=0.1",
        *TOLERANT,
        "space.sites=[blocks.0]",
        "space.gates={min: 1, max: 1}",
        # Prices of the recipe's own device need timings of this host. The file is a copy of a former shipped profile:
        # constants of shipped profiles change with what is published.
        f"device={Path(__file__).with_name('devices') / 'm55_u55.yaml'}",
        "export.formats=[tflite]",  # no core of that device runs the recipe's other format
    ),
    "kws_lstm_hmd": (
        "recipe=kws_lstm_hmd.yaml",
        *ON_TONES,
        "backbone_args={hidden: 24, depth: 1, dropout: 0.3}",
        "training.epochs=20",
        "training.batch_size=10",
        "search.trials=8",
        "search.epochs=2",
        "retrain.epochs=4",
        *TOLERANT,
        "device=cortex_a",  # prices of the recipe's own device, this host, need timings
    ),
}

# Runs without compiled kernels. Compilation takes a third of a short run, and changes none of its compared figures.
WITHOUT_KERNELS = ("quick",)

LEFT_OUT: Mapping[str, str] = {
    "seconds": "wall time",
    "search.seconds": "wall time",
    "streaming": "timed on this host",
    "data.source": "a sentence whose wording may change",
    "warnings": "some name the load and the timings of this host",
    "export.artifacts.sha256": "programs carry the names of Python modules and classes",
    "export.artifacts.bytes": "programs carry the names of Python modules and classes",
}
# Columns of trials.csv that are compared. The other columns are not: times of paths are measured on this host, and the
# digest already identifies the plan.
TRIAL_COLUMNS = ("state", "digest", "feasible", "on_front")
TRIAL_FIGURES = ("accuracy", "expected_latency_us", "expected_energy_uj")

EXACT = 1e-9  # relative, on the machine type of the record, where only the order of sums may differ
# Tolerances on other machine types. In a run on tones, a split has 25 samples, so two samples may have other answers.
# In a run on digits, a split has 359 samples, and accuracies differ by less.
ACCURACY_TOLERANCE = 0.1
PRICE_TOLERANCE = 0.1  # relative; prices depend on the pass rates of trained gates
EXACT_EVERYWHERE = (
    "recipe", "seed", "goal", "data", "baseline.macs", "baseline.params", "baseline.latency_us", "baseline.energy_uj",
    "baseline.core", "search.evaluated", "search.pruned", "search.priced_out", "search.epochs", "search.engine",
    "export.bundle", "export.parity.samples", "sensitivity.factors",
)  # fmt: skip


def machine() -> dict[str, str]:
    """Return what decides how sums are rounded: the processor, its instructions and the version of torch."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().split("\n\n")[0].splitlines() if cpuinfo.exists() else []
    about = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    names = [about[key] for key in ("model name", "cpu family", "model") if key in about]
    return {
        "cpu": ", ".join(names) or platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
    }


def run(name: str, folder: Path, flags: Sequence[str] = ()) -> dict[str, Any]:
    """Run one of :data:`SETTINGS` in an empty folder, and return its figures for a comparison.

    Args:
        name: name of the run.
        folder: folder for the data, the cache and the run folder.
        flags: flags of the interpreter, such as ``-O``.

    Raises:
        RuntimeError: the run failed; the message has its last lines.
    """
    if "data.root=tones" in SETTINGS[name]:
        tones.write(folder / "tones")
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    compiler = {"CC": "none"} if name in WITHOUT_KERNELS else {}
    done = subprocess.run(
        [sys.executable, *flags, "-m", "gatesearch", "run", *SETTINGS[name], "seed=0", "out=run"],
        cwd=folder,
        env={**os.environ, **threads, **compiler, "XDG_CACHE_HOME": str(folder / "cache")},
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{name}: exit status {done.returncode}: {done.stderr[-2000:]}")
    return compared_figures(folder / "run")


def compared_figures(folder: Path) -> dict[str, Any]:
    """Return the figures of a run folder that are compared: the summary without :data:`LEFT_OUT`, and the trials."""
    summary = json.loads((folder / "summary.json").read_text())
    with (folder / "trials.csv").open(newline="") as file:
        trials = [
            {column: row[column] for column in TRIAL_COLUMNS}
            | {column: float(row[column]) if row[column] else None for column in TRIAL_FIGURES}
            for row in csv.DictReader(file)
        ]
    return {"summary": _without(summary, ""), "trials": trials}


def _without(value: Any, where: str) -> Any:
    if isinstance(value, dict):
        paths = {key: f"{where}.{key}".lstrip(".") for key in value}
        return {key: _without(value[key], path) for key, path in paths.items() if path not in LEFT_OUT}
    if isinstance(value, list):
        return [_without(one, where) for one in value]
    return value


def differences(now: Any, recorded: Any, where: str = "", tolerance: float = EXACT) -> list[str]:
    """Return a line for each figure that differs from the recorded one; new keys are no difference."""
    if isinstance(recorded, dict) and isinstance(now, dict):
        missing = [f"{where}.{key}: missing" for key in recorded if key not in now]
        shared = [key for key in recorded if key in now]
        return missing + [
            text for key in shared for text in differences(now[key], recorded[key], f"{where}.{key}", tolerance)
        ]
    if isinstance(recorded, list) and isinstance(now, list):
        if len(now) != len(recorded):
            return [f"{where}: {len(now)} entries, recorded {len(recorded)}"]
        pairs = enumerate(zip(now, recorded, strict=True))
        return [text for i, (a, b) in pairs for text in differences(a, b, f"{where}.{i}", tolerance)]
    if _number(recorded) and _number(now):
        same = math.isclose(now, recorded, rel_tol=tolerance, abs_tol=tolerance)
    else:
        same = type(now) is type(recorded) and now == recorded
    return [] if same else [f"{where.lstrip('.')}: {now!r}, recorded {recorded!r}"]


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def differences_elsewhere(now: Mapping[str, Any], recorded: Mapping[str, Any]) -> list[str]:
    """Return a line for each figure that differs too much from the record of another machine type.

    Figures that do not depend on training have to be equal (:data:`EXACT_EVERYWHERE`). Accuracies may differ by
    :data:`ACCURACY_TOLERANCE` and prices by the share :data:`PRICE_TOLERANCE`. Accuracies and prices are compared for
    each plan that both runs tried. They are also compared for the best plan, if both runs picked the same one.
    """
    here, there = now["summary"], recorded["summary"]
    result: list[str] = []
    for path in EXACT_EVERYWHERE:
        result += differences(_at(here, path), _at(there, path), path)
    result += differences(
        here["baseline"]["accuracy"], there["baseline"]["accuracy"], "baseline.accuracy", ACCURACY_TOLERANCE
    )
    result += [f"best.{key}: missing" for key in there["best"] if key not in here["best"]]
    if here["best"]["digest"] == there["best"]["digest"]:
        result += differences(here["best"]["accuracy"], there["best"]["accuracy"], "best.accuracy", ACCURACY_TOLERANCE)
        for key in ("expected_macs", "expected_latency_us", "expected_energy_uj", "gain_end_to_end"):
            result += differences(here["best"][key], there["best"][key], f"best.{key}", PRICE_TOLERANCE)
    trials = {trial["digest"]: trial for trial in recorded["trials"] if trial["state"] == "complete"}
    for trial in now["trials"]:
        if trial["state"] == "complete" and trial["digest"] in trials:
            for figure in TRIAL_FIGURES:
                tolerance = ACCURACY_TOLERANCE if figure == "accuracy" else PRICE_TOLERANCE
                where = f"trial {trial['digest']}.{figure}"
                result += differences(trial[figure], trials[trial["digest"]][figure], where, tolerance)
    return result


def _at(summary: Any, path: str) -> Any:
    for key in path.split("."):
        summary = summary[key]
    return summary


def record_path(name: str) -> Path:
    """Return the path of a run's record."""
    return HERE / f"run_{name}.json"


def write(name: str, folder: Path) -> None:
    """Run one of :data:`SETTINGS` and write its record."""
    command = f"python tests/golden/update_golden.py {name}"
    record = {"command": command, "machine": machine(), "left_out": dict(LEFT_OUT), **run(name, folder)}
    record_path(name).write_text(json.dumps(record, indent=1) + "\n")
