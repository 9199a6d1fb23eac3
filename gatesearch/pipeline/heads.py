"""Trains the heads of gates that train alone, from which a search composes plans."""

from __future__ import annotations

from dataclasses import replace

import torch

from gatesearch.gates import trained_form, trains_alone
from gatesearch.pipeline.problem import Problem
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.pipeline.training import Baseline, build_model, train_or_load, training_seed
from gatesearch.plan import GatePlan, PlacedGate
from gatesearch.training.composition import Heads, HeadsModel


def train_heads(problem: Problem, baseline: Baseline, folder: RunFolder) -> Heads | None:
    """Return the heads of all gates of the space that train alone; None if plans are not composed.

    First, the ungated backbone trains for as long as a trial. Then all heads train together on this network, for the
    same number of epochs. So composed figures compare with those of trained trials. The run folder stores both.
    """
    gates = gates_that_train_alone(problem)
    if not problem.recipe.search.compose or not gates:
        return None
    schedule = problem.schedule(problem.recipe.search)
    ungated = build_model(GatePlan(), problem, baseline)
    train_or_load("ungated-trial", ungated, problem, folder, schedule)
    plan = GatePlan(gates)
    torch.manual_seed(training_seed(problem.recipe.seed, plan))
    model = HeadsModel(ungated.stages[0], gates, problem.sites, problem.outputs, baseline.saliency)
    with model.unchanged_network():
        settings = replace(problem.gates, independent=True)
        train_or_load(f"heads-{plan.digest}", model, problem, folder, schedule, settings)
    return Heads.record(model, problem.features.validation, problem.goal)


def gates_that_train_alone(problem: Problem) -> tuple[PlacedGate, ...]:
    """Return the gates of the space that train alone, in order of sites, each in its trained form.

    Empty if the network returns no logits, because records hold logits alone.
    """
    if len(problem.outputs) != 1:
        return ()
    return tuple(
        dict.fromkeys(
            trained_form(gate)
            for slot in problem.space.cut_slots
            for gate in slot.gates
            if trains_alone(slot.sites[0], gate)
        )
    )
