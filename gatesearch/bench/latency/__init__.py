"""`gatesearch bench latency`: what the latency tables predict beside what whole gated bundles take.

Three steps, each resumable: bundles of random held-out models are written, each backbone's table is filled, and every
bundle is timed end to end. The last two want a quiet machine.
"""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import Any

import torch

from gatesearch import console
from gatesearch.bench.latency import models, pages
from gatesearch.errors import UserError, unknown
from gatesearch.export import assembled, dispatch
from gatesearch.folder import RunFolder
from gatesearch.hardware import kernels, profile, timing
from gatesearch.hardware import table as tables
from gatesearch.hardware.cost import CostModel
from gatesearch.plan import GatePlan

RUNS = Path("runs/bench-latency")
PROGRAMS = models.Programs(RUNS / "programs")
MODELS = 8  # a backbone
STEPS = ("bundles", "tables", "times", "page")
KEYS = ("models", "steps", "seconds")
ROUNDS = 100


def main(arguments: list[str]) -> None:
    """Do what is not done yet and write results/latency.md, .json and .png.

    Args:
        arguments: ``models=8`` held-out models a backbone; ``steps=bundles,tables,times,page``, a choice of them;
            ``seconds=inf`` after which no further bundle or table is begun.

    Raises:
        UserError: an argument is wrong, or kernels cannot be compiled.
    """
    given = dict(_parted(text) for text in arguments)
    count, seconds = _number(given, "models", MODELS), float(given.get("seconds", "inf"))
    steps = given.get("steps", ",".join(STEPS)).split(",")
    for step in steps:
        if step not in STEPS:
            raise unknown("bench latency: steps", "step", step, STEPS)
    if kernels.load() is None:
        raise UserError(f"bench latency: {kernels.status()}: there is nothing to measure")
    until = time.monotonic() + seconds
    torch.set_num_threads(1)
    if "bundles" in steps:
        _write_bundles(count, until)
    if "tables" in steps:
        _fill_tables(until)
    if "times" in steps:
        _time(count)
    if "page" in steps:
        command = [text for text in arguments if text.startswith("models=")]
        path = pages.write(rows(count), told(), count, shlex.join(["gatesearch", "bench", "latency", *command]))
        console.say(f"wrote {path}")


def rows(count: int) -> list[dict[str, Any]]:
    """Return every held-out model that is timed and whose table is filled, with its prediction in microseconds."""
    found = []
    for name in models.BACKBONES:
        table = _table(name)
        if table is None:
            continue
        chosen = models.subject(name)
        cost = CostModel(profile.load("host"), table, chosen.sites, 0, 1.0, {}, chosen.layers)
        for seed in range(count):
            kept = _folder(name).read_json(f"{seed}.json")
            if kept is not None and "measured_us" in kept:
                plan = GatePlan.from_dict(kept["plan"])
                stages = cost.stages(plan, observed=kept["observed"])
                found.append({"backbone": name, **kept, "predicted_us": sum(s.cost.latency_us for s in stages)})
    return found


def told() -> dict[str, dict[str, Any]]:
    """Return of each backbone's table how many timings it has, how many are noisy, and what they took."""
    found = {}
    for name in models.BACKBONES:
        table = _table(name)
        if table is not None:
            native = table.native["host"]
            found[name] = {"timings": native.timings, "noisy": native.noisy, "seconds": native.seconds}
    return found


def _write_bundles(count: int, until: float) -> None:
    device = profile.load("host")
    with console.progress(count * len(models.BACKBONES), "bundles") as bar:
        for seed in range(count):
            for name in models.BACKBONES:
                folder = _folder(name)
                if folder.read_json(f"{seed}.json") is None and time.monotonic() < until:
                    chosen = models.subject(name)
                    plan = models.random_plan(chosen, _seed(name, seed))
                    observed = models.write(folder.path / f"{seed}", chosen, plan, _seed(name, seed), device, PROGRAMS)
                    folder.write_json(f"{seed}.json", {"plan": plan.to_dict(), "observed": observed})
                bar.advance(note=name)


def _fill_tables(until: float) -> None:
    for name in models.BACKBONES:
        folder = _folder(name)
        if _table(name) is None and time.monotonic() < until:
            chosen = models.subject(name)
            given = (chosen.backbone.eval(), chosen.sites, chosen.features)
            steps = tables.pieces_count(*given, models.GC_VARIANTS, chosen.layers)
            with console.progress(steps, f"table of {name}") as bar:
                table = tables.build(
                    *(*given, profile.load("host"), models.GC_VARIANTS, chosen.layers, chosen.gates()),
                    loop=dispatch.measure,
                    converter=PROGRAMS,
                    on_step=bar.advance,
                )
            folder.write("table.json", table.to_json())


def _time(count: int) -> None:
    with console.progress(count * len(models.BACKBONES), "times") as bar:
        for name in models.BACKBONES:
            folder = _folder(name)
            for seed in range(count):
                kept = folder.read_json(f"{seed}.json")
                if kept is not None and "measured_us" not in kept:
                    folder.write_json(f"{seed}.json", kept | _timed(folder.path / f"{seed}", name))
                bar.advance(note=name)


def _timed(path: Path, name: str) -> dict[str, Any]:
    """Time one bundle end to end; every gate lets the window pass."""
    taken = assembled.timed(models.load(path), models.subject(name).features[:1], seconds=1.0, rounds=ROUNDS)
    return {"measured_us": taken.minimum_us["run"], "noisy": bool(taken.noisy), "machine": timing.fingerprint()}


def _table(name: str) -> tables.Table | None:
    path = _folder(name) / "table.json"
    return tables.Table.from_json(path.read_text()) if path.exists() else None


def _folder(name: str) -> RunFolder:
    return RunFolder(RUNS / name.lower().replace(",", "").replace(" ", "-"))


def _seed(name: str, seed: int) -> int:
    return 1000 * list(models.BACKBONES).index(name) + seed


def _parted(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    if key not in KEYS:
        raise unknown("bench latency", "key", key, KEYS)
    return key, value


def _number(given: dict[str, str], key: str, default: int) -> int:
    written = given.get(key, str(default))
    if not written.isdigit() or not int(written):
        raise UserError(f"bench latency: {key}={written}: not a whole number from 1")
    return int(written)
