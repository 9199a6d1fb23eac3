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

from gatesearch import kernels
from gatesearch._lib import console, timing
from gatesearch.bench.latency import models, pages
from gatesearch.cost.model import CostModel
from gatesearch.cost.sources.host import dispatch, executable
from gatesearch.cost.table import Table
from gatesearch.cost.table_reader import build_table, pieces_count
from gatesearch.devices import profile
from gatesearch.errors import UserError, unknown
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.plan import GatePlan

RUNS = Path("runs/bench-latency")
# First seed of each set of models. What the model of latency lacks is looked for on the development set; the page is
# made of the held-out set alone.
HELD_OUT = "held-out"
SETS = {HELD_OUT: 300_000, "development": 0}
MODELS = 8  # a backbone
STEPS = ("bundles", "tables", "times", "page")
KEYS = ("models", "steps", "seconds", "set")
DISTURBED = {"noisy": True}  # a model that was not left in peace is timed again when the step is called again
TIMES = (3.0, 12.0)  # seconds over which the models of a backbone are timed, at least and at most


def main(arguments: list[str]) -> None:
    """Do what is not done yet and write results/latency.md, .json and .png.

    Args:
        arguments: ``models=8`` held-out models a backbone; ``steps=bundles,tables,times,page``, a choice of them;
            ``seconds=inf`` after which no further bundle or table is begun; ``set=held-out`` or ``development``.

    Raises:
        UserError: an argument is wrong, or kernels cannot be compiled.
    """
    given = dict(_parted(text) for text in arguments)
    count, seconds = _number(given, "models", MODELS), float(given.get("seconds", "inf"))
    steps = given.get("steps", ",".join(STEPS)).split(",")
    for step in steps:
        if step not in STEPS:
            raise unknown("bench latency: steps", "step", step, STEPS)
    which = given.get("set", HELD_OUT)
    if which not in SETS:
        raise unknown("bench latency: set", "set", which, tuple(SETS))
    if "page" in steps and which != HELD_OUT and "steps" in given:
        raise UserError(f"bench latency: steps=page set={which}: the page is made of the {HELD_OUT} set alone")
    if kernels.load() is None:
        raise UserError(f"bench latency: {kernels.status()}: there is nothing to measure")
    until = time.monotonic() + seconds
    torch.set_num_threads(1)
    if "bundles" in steps:
        _write_bundles(which, count, until)
    if "tables" in steps:
        _fill_tables(until)
    if "times" in steps:
        _time(which, count)
    if "page" in steps and which == HELD_OUT:
        command = [text for text in arguments if text.startswith("models=")]
        path = pages.write(
            rows(HELD_OUT, count), told(), count, shlex.join(["gatesearch", "bench", "latency", *command])
        )
        console.say(f"wrote {path}")


def rows(which: str, count: int) -> list[dict[str, Any]]:
    """Return every model of a set that is timed and whose table is filled, with its prediction in microseconds."""
    found = []
    for name in models.BACKBONES:
        table = _table(name)
        if table is None:
            continue
        chosen = models.subject(name)
        cost = CostModel(profile.load("host"), table, chosen.sites, 0, 1.0, {}, chosen.layers)
        for seed in range(count):
            kept, taken = (
                _folder(name, which).read_json(f"{seed}.json"),
                _folder(name, which).read_json(f"{seed}.us.json"),
            )
            if kept is not None and taken is not None:
                plan = GatePlan.from_dict(kept["plan"])
                stages = cost.stages(plan, observed=kept["observed"])
                found.append(
                    {"backbone": name, **kept, **taken, "predicted_us": sum(s.cost.latency_us for s in stages)}
                )
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


def _write_bundles(which: str, count: int, until: float) -> None:
    converter = models.Programs(RUNS / "programs")
    device = profile.load("host")
    with console.progress(count * len(models.BACKBONES), "bundles") as bar:
        for seed in range(count):
            for name in models.BACKBONES:
                folder, drawn = _folder(name, which), _seed(name, which, seed)
                if folder.read_json(f"{seed}.json") is None and time.monotonic() < until:
                    chosen = models.subject(name)
                    plan = models.random_plan(chosen, drawn)
                    observed = models.write(folder.path / f"{seed}", chosen, plan, drawn, device, converter)
                    folder.write_json(f"{seed}.json", {"plan": plan.to_dict(), "observed": observed})
                bar.advance(note=name)


def _fill_tables(until: float) -> None:
    for name in models.BACKBONES:
        folder = _folder(name)
        if _table(name) is None and time.monotonic() < until:
            chosen = models.subject(name)
            given = (chosen.backbone.eval(), chosen.sites, chosen.features)
            steps = pieces_count(*given, models.GC_VARIANTS, chosen.layers)
            with console.progress(steps, f"table of {name}") as bar:
                table = build_table(
                    *(*given, profile.load("host"), models.GC_VARIANTS, chosen.layers, chosen.gates()),
                    loop=dispatch.measure,
                    converter=models.Programs(RUNS / "programs"),
                    on_step=bar.advance,
                )
            folder.write("table.json", table.to_json())


def _time(which: str, count: int) -> None:
    with console.progress(count * len(models.BACKBONES), "times") as bar:
        for name in models.BACKBONES:
            folder = _folder(name, which)
            left = [seed for seed in range(count) if (folder.read_json(f"{seed}.us.json") or DISTURBED)["noisy"]]
            left = [seed for seed in left if folder.read_json(f"{seed}.json") is not None]
            bundles = {str(seed): models.load(folder.path / f"{seed}") for seed in left}
            if bundles:
                taken = executable.timed(bundles, models.subject(name).features[:1], TIMES[1], TIMES[0])
                for seed, us in taken.us.items():
                    stamp = {"noisy": seed in taken.noisy, "beat_us": taken.beat_us, "machine": timing.fingerprint()}
                    folder.write_json(f"{seed}.us.json", {"measured_us": us, **stamp})
            for _ in range(count):
                bar.advance(note=name)


def _table(name: str) -> Table | None:
    path = _folder(name) / "table.json"
    return Table.from_json(path.read_text()) if path.exists() else None


def _folder(name: str, which: str = "tables") -> RunFolder:
    return RunFolder(RUNS / which / name.lower().replace(",", "").replace(" ", "-"))


def _seed(name: str, which: str, seed: int) -> int:
    return SETS[which] + 1000 * list(models.BACKBONES).index(name) + seed


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
