"""`gatesearch bench search record=supernet`: what a supernet says of every plan of a recorded table, beside the table.

Three recordings, each left alone where it is there: the supernet trained and every combination of gates read; some of
the table's trainings made again from other random numbers, which bounds what any estimate can agree to; all else
follows from these and the table.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import torch

from gatesearch._lib import console
from gatesearch._lib.timing import fingerprint
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.pipeline.steps import Run
from gatesearch.recipe import load
from gatesearch.search.supernet.network import Supernet
from gatesearch.search.supernet.reader import Reader
from gatesearch.search.supernet.train import SupernetTask
from gatesearch.training import fit
from results.search.record import DIGITS, drawn, key, trained_row, trainings
from results.search.spaces import RECORDED, Recorded
from results.search.supernet_page import beside
from results.search.table import Table

SETTINGS = {"epochs": 8}  # an epoch of these few samples is a dozen steps
TABLE = "kws16"  # the recorded table whose gates share weights
AGAIN = 30  # trainings that are made again
OTHER_SEED = 1
ALONE = 5  # plans that are read with nothing kept


def record(table: Table, folder: RunFolder, path: Path, command: str) -> None:
    """Train and read the supernet of a table's space, train some of it again, and write what came out.

    Args:
        table: that it is compared with.
        folder: of the table's recording, where its baseline is.
        path: of the JSON.
        command: that the user gave.
    """
    spec = RECORDED[table.name]
    recipe = load(spec.recipe, [*spec.changes, *(f"search.supernet.{key}={value}" for key, value in SETTINGS.items())])
    run = Run(recipe, folder)
    # Before fewer samples are drawn: where all trainings start, and what each channel matters.
    assert run.baseline and run.saliency
    calibration = run.calibration
    run.setting = replace(run.setting, features=drawn(run.setting.features, spec.clips, recipe.seed))
    read = folder.read_json("supernet-read.json")
    if read is None:
        read = _read(run, spec, table, calibration)
        folder.write_json("supernet-read.json", read)
    chosen = recipe.search.supernet
    stamp = fingerprint()
    about = {
        "epochs": chosen.epochs,
        "plans": chosen.plans,
        "front": chosen.front,
        "sample": chosen.sample,
        "bar": chosen.tau,
        "command": command,
        "machine": f"{stamp['cpu']}, 1 of {stamp['cores']} cores",
        "versions": {"python": stamp["python"], **{k: stamp["versions"].get(k) for k in ("torch", "numpy")}},
    }
    again = _again(run, spec, table, folder)
    kept = {"table": table.name, "beside": beside(table), "about": about, **read, "again": again}
    path.write_text(json.dumps(kept, separators=(",", ":")) + "\n")


def _read(run: Run, spec: Recorded, table: Table, calibration: torch.Tensor) -> dict[str, Any]:
    """Train the supernet on what trials are trained on; read every combination of gates, in the table's order."""
    s, chosen = run.setting, run.recipe.search.supernet
    torch.manual_seed(run.recipe.seed)
    net = Supernet(run.backbone, s.space, s.outputs, run.saliency)
    schedule = s.schedule(run.recipe.training.updated(run.recipe.search).updated(chosen))
    steps = partial(SupernetTask, space=s.space, plans=chosen.plans, seed=run.recipe.seed)
    with console.progress(schedule.epochs, "train supernet") as bar:
        started = time.process_time()
        fit(
            net,
            s.features,
            schedule,
            s.gates,
            seed=run.recipe.seed,
            goal=s.goal,
            augment=s.augment,
            on_epoch=bar.advance,
            task=steps,
        )
        seconds = time.process_time() - started
    f = s.features
    arguments = (net, f.validation, f.positive, f.kind_names, calibration)
    reader, every = Reader(*arguments), list(dict.fromkeys(plan.gates for plan in table.plans))
    started, found = time.process_time(), []
    with console.progress(len(every), "read plans") as bar:
        for gates in every:
            figures = reader(gates)
            passed = {kind: [round(share, DIGITS) for share in row] for kind, row in figures.passed.items()}
            quality = round(figures.value, DIGITS)
            found.append({"gates": [g.to_dict() for g in gates], "quality": quality, "passed": passed})
            bar.advance()
    reading = time.process_time() - started
    alone = []
    for gates in Random(0).sample(every, ALONE):
        begun = time.process_time()
        Reader(*arguments, memory=0)(gates)
        alone.append(time.process_time() - begun)
    return {"train_seconds": seconds, "read_seconds": reading, "alone_seconds": alone, "estimates": found}


def _again(run: Run, spec: Recorded, table: Table, folder: RunFolder) -> list[dict[str, Any]]:
    """Make some trainings of the table again, by another seed: gates' beginnings, batches, renditions."""
    found: list[dict[str, Any]] = folder.read_json("supernet-again.json") or []
    every = trainings(table.space, spec)
    run.recipe = run.recipe.model_copy(update={"seed": OTHER_SEED})
    with console.progress(min(AGAIN, len(every)), "train again", done=len(found)) as bar:
        for gates in Random(0).sample(every, min(AGAIN, len(every)))[len(found) :]:
            row = trained_row(run, spec, run.setting.features, gates)
            kept = [{k: v for k, v in reading.items() if k != "layers"} for reading in row["epochs"][-1]]
            found.append({"trained": key(gates), "seconds": row["seconds"][-1], "readings": kept})
            folder.write_json("supernet-again.json", found)
            bar.advance()
    return found
