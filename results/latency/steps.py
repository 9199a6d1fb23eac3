"""The steps of the ``latency`` benchmark: writes bundles, fills latency tables, times the bundles."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gatesearch._lib import console, timing
from gatesearch.compile.batch_convert import one_by_one
from gatesearch.cost.frontend import FrontendWork
from gatesearch.cost.model import CostModel
from gatesearch.cost.sources.host import dispatch, executable
from gatesearch.cost.table import Table
from gatesearch.cost.table_reader import build_table, count_components
from gatesearch.devices import profile
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.plan import GatePlan
from results.latency import bundles, models

RUNS = Path("runs/bench-latency")
# First seed of each set of models. The latency model is developed on the development set. The page reports only the
# held-out set.
HELD_OUT = "held-out"
FIRST_SEEDS = {HELD_OUT: 300_000, "development": 0}
SEEDS_A_BACKBONE = 1000
TIMING_S = (3.0, 12.0)  # least and largest duration of timing the models of a backbone

Measurement = Mapping[str, Any]


def write_bundles(models_set: str, count: int, until: float) -> None:
    """Write the missing bundles of ``count`` models for each backbone.

    No bundle is started after the time ``until`` (monotonic clock, seconds).
    """
    converter = bundles.CachedConverter(RUNS / "programs")
    device = profile.load("host")
    with console.progress(count * len(models.BACKBONES), "bundles") as bar:
        for seed in range(count):
            for name in models.BACKBONES:
                folder, drawn = _folder(name, models_set), _seed(name, models_set, seed)
                if folder.read_json(f"{seed}.json") is None and time.monotonic() < until:
                    subject = models.build_subject(name)
                    plan = models.random_plan(subject, drawn)
                    observed = bundles.write(folder.path / f"{seed}", subject, plan, drawn, device, converter)
                    folder.write_json(f"{seed}.json", {"plan": plan.to_dict(), "observed": observed})
                bar.advance(note=name)


def fill_tables(until: float) -> None:
    """Fill the missing latency tables; no table is started after the time ``until`` (monotonic clock, seconds)."""
    for name in models.BACKBONES:
        folder = _folder(name)
        if _table(name) is None and time.monotonic() < until:
            subject = models.build_subject(name)
            backbone, sites, features = subject.backbone.eval(), subject.sites, subject.features
            steps = count_components(backbone, sites, features, models.GC_VARIANTS, subject.layers)
            with console.progress(steps, f"table of {name}") as bar:
                table = build_table(
                    backbone,
                    sites,
                    features,
                    profile.load("host"),
                    models.GC_VARIANTS,
                    subject.layers,
                    subject.gates(),
                    loop=dispatch.measure,
                    converter=one_by_one(bundles.CachedConverter(RUNS / "programs")),
                    on_step=bar.advance,
                )
            folder.write("table.json", table.to_json())


def time_bundles(models_set: str, count: int) -> None:
    """Time the bundles that have no time yet, and bundles whose timing was disturbed by other load."""
    with console.progress(count * len(models.BACKBONES), "times") as bar:
        for name in models.BACKBONES:
            folder = _folder(name, models_set)
            missing = [seed for seed in range(count) if _needs_time(folder, seed)]
            stages = {str(seed): bundles.load(folder.path / f"{seed}") for seed in missing}
            if stages:
                least, most = TIMING_S
                timed = executable.time_models(stages, models.build_subject(name).features[:1], most, least)
                for seed, us in timed.us.items():
                    stamp = {"noisy": seed in timed.noisy, "beat_us": timed.beat_us, "machine": timing.fingerprint()}
                    folder.write_json(f"{seed}.us.json", {"measured_us": us, **stamp})
            for _ in range(count):
                bar.advance(note=name)


def read_models(models_set: str, count: int) -> list[Measurement]:
    """Return the models of a set that have a measured time and a filled table, each with its predicted latency [us]."""
    rows: list[Measurement] = []
    for name in models.BACKBONES:
        table = _table(name)
        if table is None:
            continue
        subject, folder = models.build_subject(name), _folder(name, models_set)
        cost = CostModel(profile.load("host"), table, subject.sites, FrontendWork(0), 1.0, {}, subject.layers)
        for seed in range(count):
            model, measured = folder.read_json(f"{seed}.json"), folder.read_json(f"{seed}.us.json")
            if model is not None and measured is not None:
                stages = cost.stages(GatePlan.from_dict(model["plan"]), observed=model["observed"])
                predicted = sum(stage.cost.latency_us for stage in stages)
                rows.append({"backbone": name, **model, **measured, "predicted_us": predicted})
    return rows


def read_tables() -> dict[str, Measurement]:
    """Return the size of each backbone's table: its number of timings and of noisy timings, and their duration [s]."""
    sizes: dict[str, Measurement] = {}
    for name in models.BACKBONES:
        table = _table(name)
        if table is not None:
            native = table.native["host"]
            sizes[name] = {"timings": native.timings, "noisy": native.noisy, "seconds": native.seconds}
    return sizes


def _needs_time(folder: RunFolder, seed: int) -> bool:
    """Return whether a bundle exists and has no time, or a disturbed time."""
    measured = folder.read_json(f"{seed}.us.json")
    return folder.read_json(f"{seed}.json") is not None and (measured is None or measured["noisy"])


def _table(name: str) -> Table | None:
    path = _folder(name) / "table.json"
    return Table.from_json(path.read_text()) if path.exists() else None


def _folder(name: str, kind: str = "tables") -> RunFolder:
    return RunFolder(RUNS / kind / name.lower().replace(",", "").replace(" ", "-"))


def _seed(name: str, models_set: str, seed: int) -> int:
    return FIRST_SEEDS[models_set] + SEEDS_A_BACKBONE * list(models.BACKBONES).index(name) + seed
