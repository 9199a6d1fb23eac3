"""Records a table for the ``search`` benchmark: trains every plan of a small search space.

A table holds the quality and the costs of each plan. When a training ends, its results are written as a line of a file.
An interrupted recording continues after the last whole line.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gatesearch._lib import console
from gatesearch._lib.tensors import channels_last
from gatesearch._lib.timing import fingerprint
from gatesearch.gates import cut_gates
from gatesearch.model import GatedModel
from gatesearch.pipeline.pricing import build_cost_model
from gatesearch.pipeline.problem import Problem, load_problem
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.pipeline.training import Baseline, build_model, train_baseline, training_seed
from gatesearch.plan import GatePlan, PlacedGate
from gatesearch.recipe import to_yaml
from gatesearch.search.space import Space
from gatesearch.training import Features, fit
from gatesearch.training.calibration import calibrate_and_score
from gatesearch.training.cascade import EVALUATION_BATCH
from results.search import table
from results.search.spaces import RecordedSpace, gates_to_train

ROWS = "rows.jsonl"
DIGITS = 6
Reading = dict[str, Any]


class Recording(NamedTuple):
    """A recording: the problem (data, network, device), the baseline, and the folder."""

    problem: Problem
    baseline: Baseline
    folder: RunFolder


def record(spec: RecordedSpace, folder: RunFolder) -> Recording:
    """Train every plan that is not recorded yet.

    Args:
        spec: the search space, and how its plans are trained.
        folder: folder of the recording, with the baseline and the rows.

    Returns:
        The recording, in which every plan is trained.
    """
    recipe = spec.load()
    folder.write("recipe.yaml", to_yaml(recipe))
    problem = load_problem(recipe)
    run = Recording(problem, train_baseline(problem, folder), folder)
    features = draw_clips(problem.features, spec.clips, recipe.seed)
    done = {row["trained"] for row in rows(folder.path)}
    pending = [gates for gates in trainings(problem.space, spec) if key(gates) not in done]
    with console.progress(len(pending), "trainings") as bar, (folder / ROWS).open("a") as file:
        for gates in pending:
            row = {"trained": key(gates), **train_combination(run, spec, features, gates)}
            file.write(json.dumps(row, separators=(",", ":")) + "\n")
            file.flush()
            os.fsync(file.fileno())
            bar.advance(note=f"{row['epochs'][-1][0]['quality']:.3f}")
    return run


def rows(folder: Path) -> list[dict[str, Any]]:
    """Return the recorded trainings; an incomplete last line is removed from the file."""
    path = folder / ROWS
    if not path.exists():
        return []
    with path.open("rb+") as file:
        content = file.read()
        complete_bytes = content.rfind(b"\n") + 1
        file.truncate(complete_bytes)
    return [json.loads(line) for line in content[:complete_bytes].splitlines()]


def trainings(space: Space, spec: RecordedSpace) -> list[tuple[PlacedGate, ...]]:
    """Return the gates of every training, each combination once, ordered by the number of gates at cut sites."""
    return list(dict.fromkeys(gates_to_train(plan, spec.after) for plan in space.plans()))


def key(gates: Sequence[PlacedGate]) -> str:
    """Return the name of a training: the digest of its gates."""
    return GatePlan(tuple(gates)).digest


def train_combination(
    run: Recording, spec: RecordedSpace, features: Features, gates: Sequence[PlacedGate]
) -> dict[str, Any]:
    """Train one combination of gates and measure its quality after the epochs of ``spec.at``."""
    problem = run.problem
    plan = GatePlan(tuple(_with_all_parameters(problem.space, gate) for gate in gates))
    plan = replace(plan, cores=(problem.device.core_names[0],) * (len(cut_gates(plan)) + 1))
    model = build_model(plan, problem, run.baseline)
    epochs: list[list[Reading]] = []
    seconds, epochs_done = [0.0], 0
    started = time.process_time()

    def measure() -> None:
        nonlocal started, epochs_done
        epochs_done += 1
        if epochs_done not in spec.at:
            return
        seconds.append(seconds[-1] + time.process_time() - started)
        epochs.append(list(_readings(run, model, spec)))
        model.train()
        started = time.process_time()

    schedule = replace(problem.schedule(problem.recipe.search), epochs=spec.at[-1])
    fit(
        model,
        features,
        schedule,
        problem.gates,
        seed=training_seed(problem.recipe.seed, plan),
        goal=problem.goal,
        augment=problem.augment,
        on_epoch=measure,
    )
    return {
        "gates": [gate.to_dict() for gate in gates],
        "seconds": [round(value, 3) for value in seconds[1:]],
        "epochs": epochs,
    }


def _readings(run: Recording, model: GatedModel, spec: RecordedSpace) -> Iterator[Reading]:
    """Yield the validation quality for each combination of values of the parameters that are set after training."""
    problem, split = run.problem, run.problem.features.validation
    offered = [_choices_after_training(problem.space, gate, spec.after) for gate in cut_gates(model.plan)]
    if not any(offered):
        outcome = problem.goal.assess(model, split)
        yield _round_values({"quality": outcome.value, "passed": outcome.passed, "layers": outcome.layers})
        return
    logits, answers = _outputs(model, split.features)
    positive, names = problem.features.positive, problem.features.kind_names
    for combination in product(*(product(*choices.values()) for choices in offered)):
        for k, (values, choices) in enumerate(zip(combination, offered, strict=True)):
            for name, value in zip(choices, values, strict=True):
                setattr(model.gate(k), name, value)
        outcome = calibrate_and_score(model, logits, answers, split, positive, names)
        yield _round_values(
            {
                "after": [list(values) for values in combination],
                "quality": outcome.value,
                "passed": outcome.passed,
                "layers": {},
            }
        )


@torch.no_grad()
def _outputs(model: GatedModel, features: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logit of each gate for each sample, [N, gates], and the class that the last stage predicts, [N]."""
    model.eval()
    logits, answers = [], []
    for batch in features.split(EVALUATION_BATCH):
        output = model(channels_last(batch))
        logits.append(torch.stack([gate.logit for gate in output.gates], 1))
        answers.append(output.logits.argmax(1))
    return torch.cat(logits), torch.cat(answers)


def _choices_after_training(
    space: Space, gate: PlacedGate, after: Mapping[str, Sequence[str]]
) -> dict[str, Sequence[Any]]:
    """Return the choices of those parameters of a gate that are set after training, by name."""
    slot = next(slot for slot in space.cut_slots if slot.sites[0].name == gate.site)
    values = slot.values(gate.kind)
    return {name: values[name] for name in after.get(gate.kind, ())}


def _with_all_parameters(space: Space, gate: PlacedGate) -> PlacedGate:
    """Return a gate with all its parameters; each parameter that is set after training has its first choice."""
    slots = [slot for slot in space.cut_slots if slot.sites[0].name == gate.site and gate.kind in slot.kinds]
    missing = {name: values[0] for slot in slots for name, values in slot.values(gate.kind).items()}
    return PlacedGate.of(gate.kind, gate.site, **{**missing, **dict(gate.params)})


def draw_clips(features: Features, clips: int | None, seed: int) -> Features:
    """Return features with ``clips`` samples of the training split, drawn with the seed; None: with all samples."""
    if clips is None:
        return features
    order = torch.randperm(len(features.labels), generator=torch.Generator().manual_seed(seed))[:clips]
    return replace(features, bank=features.bank[order], labels=features.labels[order])


def _round_values(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, Mapping):
        return {name: _round_values(inner) for name, inner in value.items()}
    return [_round_values(inner) for inner in value] if isinstance(value, list | tuple) else value


def pack(spec: RecordedSpace, run: Recording, path: Path, command: str) -> None:
    """Write a finished recording as a table, with the costs of every choice of cores."""
    problem = run.problem
    cost = build_cost_model(problem, run.baseline.backbone, run.folder)
    recorded = {row["trained"]: row for row in rows(run.folder.path)}
    packed = []
    for gates in trainings(problem.space, spec):
        row = dict(recorded[key(gates)])
        del row["trained"]
        complete = tuple(_with_all_parameters(problem.space, gate) for gate in gates)
        row["cores"] = {}
        for plan in problem.space.plans_for(complete):
            costs = {"runs": _shorten(cost.run_costs(plan)), "broken": sorted(cost.violations(plan))}
            observed = [epoch[0]["layers"] for epoch in row["epochs"]]
            if any(observed):
                costs["observed"] = [_shorten(cost.run_costs(plan, layers)) for layers in observed]
            row["cores"][",".join(plan.cores)] = costs
        row["epochs"] = [[{k: v for k, v in r.items() if k != "layers"} for r in epoch] for epoch in row["epochs"]]
        packed.append(row)
    stamp = fingerprint()
    about = {
        "recipe": spec.recipe,
        "changes": list(spec.changes),
        "data": spec.data,
        "seed": problem.recipe.seed,
        "at": list(spec.at),
        "clips": spec.clips or len(problem.features.labels),
        "validation": len(problem.features.validation.labels),
        "after": {kind: list(names) for kind, names in spec.after.items()},
        "command": command,
        "machine": f"{stamp['cpu']}, 1 of {stamp['cores']} cores",
        "versions": {"python": stamp["python"], **{key: stamp["versions"].get(key) for key in ("torch", "numpy")}},
        "seconds": round(sum(row["seconds"][-1] for row in packed)),
    }
    table.write(path, problem.space, cost.shares, packed, about)


def _shorten(runs: Sequence[Sequence[float]]) -> list[list[float | None]]:
    """Return costs rounded to seven digits; an infinite cost becomes None, because JSON has no infinity."""
    return [[float(f"{value:.7g}") if math.isfinite(value) else None for value in pair] for pair in runs]
