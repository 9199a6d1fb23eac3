"""What a recorded supernet says beside its table: agreement, cost, and what a search over it comes to."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gatesearch._lib import console
from gatesearch.plan import GatePlan
from gatesearch.report.rows import Row, markdown_table
from gatesearch.search.engine import Trial
from gatesearch.search.evaluation import Objectives
from gatesearch.search.rank_correlation import kendall
from gatesearch.search.sampler.neighbours import Gates
from gatesearch.search.supernet.agreement import Agreement
from gatesearch.search.supernet.shortlist import sample, shortlist
from results.runs import versions
from results.search.engines import gate
from results.search.replay import Replay, volumes
from results.search.spaces import trained
from results.search.table import Table, expected

FILE = "supernet.json"
SEEDS = range(20)
EVALUATIONS = 80  # of GateSampler, at most
TRAININGS = ("recipe", "changes", "seed", "epochs", "at", "clips")
TARGETS = {"tau": ">= 0.8", "cheaper": ">= 20"}


@dataclass(frozen=True)
class Found:
    """What the recordings say, beside a table.

    Args:
        table: with what every plan came to when it was trained.
        kept: the recordings, as :func:`record` wrote them.
    """

    table: Table
    kept: Mapping[str, Any]

    @cached_property
    def gates(self) -> list[Gates]:
        """Every combination of gates."""
        return list(dict.fromkeys(plan.gates for plan in self.table.plans))

    @cached_property
    def _first(self) -> dict[Gates, int]:
        """A plan of each combination."""
        return {plan.gates: i for i, plan in reversed(list(enumerate(self.table.plans)))}

    @cached_property
    def trained(self) -> npt.NDArray[np.float64]:
        """Quality of each combination, trained on its own."""
        return np.array([1 - self.table.errors[self._first[gates], -1] for gates in self.gates])

    @cached_property
    def estimated(self) -> npt.NDArray[np.float64]:
        """Quality of each combination, by the supernet."""
        by_gates = {GatePlan.from_dict({**row, "cores": []}).gates: row["quality"] for row in self.kept["estimates"]}
        return np.array([by_gates[gates] for gates in self.gates])

    @cached_property
    def again(self) -> dict[Gates, float]:
        """Quality of those that were trained again."""
        kept, found = {row["trained"]: row for row in self.kept["again"]}, {}
        after = self.table.about["after"]
        for gates in self.gates:
            row = kept.get(_key(trained(GatePlan(gates), after)))
            chosen = [[gate[name] for name in after.get(gate.kind, ())] for gate in gates]
            if row is not None:
                found[gates] = next(r["quality"] for r in row["readings"] if r.get("after", chosen) == chosen)
        return found

    @cached_property
    def taus(self) -> dict[str, tuple[float, int]]:
        """Kendall's tau-b between qualities, and of how many combinations."""
        whole, good = np.ones(len(self.gates), bool), 1 - self.trained <= self.table.limit
        twice = np.array([gates in self.again for gates in self.gates])
        other = np.array([self.again.get(gates, math.nan) for gates in self.gates])
        pairs = {
            "supernet": (self.estimated, self.trained, whole),
            "supernet, kept constraint": (self.estimated, self.trained, good),
            "again": (other, self.trained, twice),
            "again, kept constraint": (other, self.trained, twice & good),
            "supernet, where again": (self.estimated, self.trained, twice),
            "supernet against both": (self.estimated, (self.trained + other) / 2, twice),
        }
        return {name: (kendall(one[which], two[which]), int(which.sum())) for name, (one, two, which) in pairs.items()}

    @cached_property
    def faster(self) -> float:
        """How long a training took when the supernet was recorded, as a share of what it took for the table."""
        numbers = {_key(trained(plan, self.table.about["after"])): i for i, plan in enumerate(self.table.plans)}
        then = [self.table.seconds[self.table.training[numbers[row["trained"]]], -1] for row in self.kept["again"]]
        return sum(row["seconds"] for row in self.kept["again"]) / float(sum(then))

    def seconds(self, plans: Sequence[int]) -> float:
        """Return the CPU seconds of the trainings that plans need, each combination once, as fast as it was here."""
        return self.faster * float(sum(self.table.seconds[i, -1] for i in {int(self.table.training[p]) for p in plans}))

    @property
    def shared(self) -> float:
        """CPU seconds to train the supernet and to read every combination."""
        return float(self.kept["train_seconds"] + self.kept["read_seconds"])

    @cached_property
    def runs(self) -> dict[int, Mapping[str, float]]:
        """A search over the supernet, by the seed of its sample; see :meth:`_run`."""
        return {seed: self._run(seed) for seed in SEEDS}

    def _run(self, seed: int) -> Mapping[str, float]:
        """Do what a run does: train a sample, put estimates on its scale, train a short list of their front.

        All combinations are read, so that the front is that of the estimates, without a sampler.
        """
        table, about = self.table, self.kept["about"]
        picked = [table.index[plan] for plan in sample(table.space, self._cost, about["sample"], seed)]
        known = dict(zip(self.gates, self.estimated, strict=True))
        agreement = Agreement.of(
            [known[table.plans[i].gates] for i in picked], [1 - float(table.errors[i, -1]) for i in picked]
        )
        passed = {GatePlan.from_dict({**row, "cores": []}).gates: row["passed"] for row in self.kept["estimates"]}
        believed = []
        for i, plan in enumerate(table.plans):
            quality = agreement.on_scale(known[plan.gates])
            if table.allowed[i] and 1 - quality <= table.limit:
                found = Objectives(quality, *expected(table.runs[i], passed[plan.gates], table.shares))
                believed.append(Trial(i, plan, "complete", found, True))
        listed = [table.index[plan] for plan in shortlist(believed, about["front"])]
        spent = self.seconds([*picked, *listed])
        volume = table.volume([*picked, *listed])
        replay = Replay(table, EVALUATIONS)
        gate(replay, seed)
        reached, seconds = volumes(table, replay.trace.steps), math.inf
        for k, value in enumerate(reached):
            if value >= volume:
                seconds = self.seconds([step.plan for step in replay.trace.steps[: k + 1]])
                break
        return {
            "tau": agreement.tau,
            "volume": volume,
            "seconds": self.shared + spent,
            "trainings": len({int(table.training[i]) for i in (*picked, *listed)}),
            "by_trials": seconds,
        }

    def _cost(self, plan: GatePlan) -> float:
        i = self.table.index[plan]
        return float(sum(run[1] for run in self.table.runs[i])) if self.table.allowed[i] else math.inf


def beside(table: Table) -> dict[str, Any]:
    """Return what tells the trainings of a table from those of another of its name."""
    return {name: table.about[name] for name in TRAININGS if name in table.about}


def read(tables: Sequence[Table], path: Path) -> Found | None:
    """Return what was recorded, beside its table; None where either is not there."""
    if not path.exists():
        return None
    kept = json.loads(path.read_text())
    table = next((table for table in tables if table.name == kept["table"]), None)
    if table is not None and beside(table) != kept["beside"]:
        console.say(f"{path} is beside another table {table.name}: make it again: {kept['about']['command']}")
        return None
    return None if table is None else Found(table, kept)


def rows(found: Found | None, command: str) -> list[Row]:
    """Return the figures that were to be reached, and those that bound them; none where nothing was recorded."""
    if found is None:
        return []
    table, kept = found.table, found.kept
    protocol = f"table {table.name}: {len(found.gates)} combinations of gates; {kept['about']['command']}"

    def row(name: str, values: Mapping[int, float], unit: str, target: str | None, provenance: str) -> Row:
        settings = {"target": target, "provenance": provenance, "protocol": protocol, "command": command}
        return Row.summarise(f"{table.name}: {name}", values, unit, **settings)

    seed = int(table.about["seed"])
    taus = {name: {seed: tau} for name, (tau, _) in found.taus.items()}
    every = found.seconds(range(len(table.plans)))
    finite = {s: one["by_trials"] / one["seconds"] for s, one in found.runs.items() if one["by_trials"] < math.inf}
    whole = "GateSampler's seconds to that hypervolume"
    return [
        row("supernet: tau over all combinations", taus["supernet"], "tau", TARGETS["tau"], "measured"),
        row("trained again by another seed: tau", taus["again"], "tau", None, "measured"),
        row("supernet: tau against the mean of both trainings", taus["supernet against both"], "tau", None, "measured"),
        row("supernet: to read a plan, nothing kept", dict(enumerate(kept["alone_seconds"])), "s", "< 1", "measured"),
        row(
            "training every combination over training and reading the supernet",
            {seed: every / found.shared}, "x", TARGETS["cheaper"], "measured",
        ),
        row(
            "supernet: hypervolume, sample and short list trained",
            {s: one["volume"] for s, one in found.runs.items()}, "share", None, "simulated",
        ),
        *([row(f"{whole} over the supernet's with its trainings", finite, "x", None, "simulated")] if finite else []),
    ]  # fmt: skip


def section(found: Found | None) -> str:
    """Return that part of the page; nothing where nothing was recorded."""
    if found is None:
        return ""
    table, kept, about = found.table, found.kept, found.kept["about"]
    told = {
        "supernet": "the supernet and a training, all combinations",
        "again": "a training and another by another seed",
        "supernet, where again": "the supernet and a training, the same combinations",
        "supernet against both": "the supernet and the mean of both trainings",
        "supernet, kept constraint": "the supernet and a training, those that keep the constraint",
        "again, kept constraint": "a training and another, those that keep the constraint",
    }
    lines = [[text, f"{found.taus[name][0]:.2f}", str(found.taus[name][1])] for name, text in told.items()]
    runs = list(found.runs.values())
    every = found.seconds(range(len(table.plans)))
    count = len(table.seconds)
    ratios = [one["by_trials"] / one["seconds"] for one in runs]
    below = sum(one["tau"] < about["bar"] for one in runs)

    def middle(name: str) -> float:
        return statistics.median(one[name] for one in runs)

    costs = [
        ["train the supernet", f"{kept['train_seconds']:.1f}", ""],
        [f"read all {len(found.gates)} combinations", f"{kept['read_seconds']:.1f}", ""],
        [f"train all {count} combinations", f"{every:.0f}", f"{every / found.shared:.1f}"],
        ["search over the supernet, sample and short list trained", f"{middle('seconds'):.0f}", ""],
        [
            "GateSampler, trial by trial, to the same hypervolume",
            f"{middle('by_trials'):.0f}",
            f"{statistics.median(ratios):.2f}",
        ],
    ]
    return f"""## A supernet on table {table.name}

{markdown_table(["Kendall's tau-b of qualities between", "tau", "combinations"], lines)}

{markdown_table(["CPU seconds, **measured**; the last two **simulated** from them", "s", "x the supernet's"], costs)}

One network with a gate at every site, trained for {about["epochs"]} epochs on the samples that trials are trained on
({about["plans"]} random plans a step beside no gates and all gates), then read for every combination: quality and pass
rates on the validation split, as the table's. Two trainings of the same gates from other random numbers do not agree
fully either: that bounds what any estimate of one training can reach, and the mean of two is the fairer measure. A plan
with nothing kept of others is read in {max(kept["alone_seconds"]):.2f} s at most.

A search ({len(runs)} seeds of the sample, medians) trains {about["sample"]} plans drawn evenly to measure tau, and
{about["front"]} combinations on the front of the estimates or close behind; {middle("trainings"):.0f} trainings in all,
after which it has {middle("volume"):.3f} of the true hypervolume. In {below} of {len(runs)} its tau was below the bar
of {about["bar"]:g}, where a run falls back to trials. Seconds of trainings are those of the table times
{found.faster:.2f}: so fast were {len(kept["again"])} of them when they were made again after the supernet was
recorded. Epochs and random plans a step were chosen by tau on this table and on one with shorter trainings. Made by
`{about["command"]}` on {about["machine"]}, {versions(about)}."""


def _key(gates: Gates) -> str:
    return GatePlan(gates).digest
