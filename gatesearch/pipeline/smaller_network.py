"""Trains a smaller ungated backbone: the same network with fewer channels, at about a target mean power."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import pytorch_lightning as pl
from torch import nn

from gatesearch import backbones
from gatesearch._lib import console
from gatesearch._lib.plugins import load_plugin, parameters_of
from gatesearch.backbones.build import GROUP
from gatesearch.cost.model import CostModel
from gatesearch.cost.price import Price
from gatesearch.devices.profile import list_clock_slots
from gatesearch.errors import UserError
from gatesearch.graph.sites import cut_sites, layer_sites
from gatesearch.metrics.streams import STEADY
from gatesearch.model import GatedModel
from gatesearch.pipeline.pricing import build_cost_model
from gatesearch.pipeline.problem import Problem
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.pipeline.stream_hops import StreamHops, prepare_for_hops
from gatesearch.pipeline.training import train_or_load
from gatesearch.plan import GatePlan
from gatesearch.recipe import Recipe
from gatesearch.search.space_builder import build_space

WIDTH = "width"
"""The argument of a backbone's builder that scales its channels."""
TOLERANCE = 0.05  # share by which the mean power may exceed its target
MAX_TABLES = 3  # largest number of networks whose latency tables are built in order to come near the target
WIDTH_STEP_CHANNELS = 4  # step from width to width, if the width is a number of channels
WIDTH_STEPS = 8  # number of steps, if the width is a factor


@dataclass(frozen=True)
class SmallerNetwork:
    """The trained network and its own cost model."""

    model: GatedModel
    cost: CostModel


class _Candidate(NamedTuple):
    """An untrained network: its width, how it runs by hops (None for whole windows), and its MACs per window."""

    width: float
    backbone: nn.Module
    hops: StreamHops | None
    macs: int


def train_smaller(problem: Problem, ungated: Price, power_mw: float, folder: RunFolder) -> SmallerNetwork:
    """Train the widest network whose mean power is at most about the target, in the same way as the baseline.

    Args:
        problem: the run's problem, with the backbone at full width.
        ungated: the ungated backbone's price over the stream.
        power_mw: the target of the mean power, in milliwatts.
        folder: the folder of the run.

    Raises:
        UserError: the backbone's builder has no argument for its width.
    """
    candidate, small, cost = _choose(problem, ungated, power_mw)
    console.say(f"rival smaller_ungated: {WIDTH}={candidate.width:g}, {small.sites[0].macs_after:,} MACs a window")
    small = replace(small, features=small.features.before_mining())  # trains from scratch, as the baseline did
    model = GatedModel(candidate.backbone, GatePlan(), small.sites, small.outputs)
    train_or_load(f"smaller_ungated-{candidate.width:g}", model, small, folder, small.schedule())
    return SmallerNetwork(model, cost)


def _choose(problem: Problem, ungated: Price, power_mw: float) -> tuple[_Candidate, Problem, CostModel]:
    """Return the widest network that keeps the power within :data:`TOLERANCE`, or else the narrowest.

    The first estimate of a network's energy scales the energy of the ungated backbone's stage with the MACs, and leaves
    the remaining energy unchanged. The network's own latency table may give more energy. Then a narrower network is
    tried, and the ratio multiplies the stage's energy in the next estimates.

    Returns:
        The network, the problem with this network, and its cost model.
    """
    budget_uj = power_mw * problem.period_s * 1e3
    work_uj = math.fsum(ungated.energy.by_stage[0].values())
    rest_uj = ungated.energy.total_uj - work_uj
    candidates = _list_candidates(problem)
    if not candidates:
        raise UserError(f"backbone {problem.recipe.backbone} cannot be narrower")
    excess = 1.0  # ratio of the energy of a network's stage to its estimate
    for _ in range(MAX_TABLES):
        shares = {each.width: each.macs / problem.sites[0].macs_after for each in candidates}
        fitting = [each for each in candidates if rest_uj + excess * work_uj * shares[each.width] <= budget_uj]
        chosen = fitting[0] if fitting else candidates[-1]
        small = _replace_network(problem, chosen)
        cost = build_cost_model(small, chosen.backbone)
        spent_uj = min(cost.price_stream(plan, [STEADY, STEADY]).energy.total_uj for plan in cost.ungated_plans())
        if spent_uj <= (1 + TOLERANCE) * budget_uj or chosen is candidates[-1]:
            break
        excess = (spent_uj - rest_uj) / (work_uj * shares[chosen.width])
        candidates = candidates[candidates.index(chosen) + 1 :]
    return chosen, small, cost


def _list_candidates(problem: Problem) -> list[_Candidate]:
    """Return the narrower networks that can be built, the widest first."""
    candidates = []
    for width in narrower_widths(problem.recipe):
        try:
            candidates.append(_build(problem, width))
        except UserError:
            continue  # some widths cannot be built: the number of attention heads must divide the width
    return candidates


def narrower_widths(recipe: Recipe) -> Iterator[float]:
    """Yield widths below the width of the recipe's backbone, the widest first.

    Raises:
        UserError: the backbone's builder has no argument for its width.
    """
    parameters = parameters_of(load_plugin(GROUP, recipe.backbone, "backbone"))
    if WIDTH not in parameters:
        raise UserError(f"backbone {recipe.backbone} has no argument {WIDTH!r}, so that it cannot be made smaller")
    full = recipe.backbone_args.get(WIDTH, parameters[WIDTH].default)
    if isinstance(full, int):
        yield from range((full - 1) // WIDTH_STEP_CHANNELS * WIDTH_STEP_CHANNELS, 0, -WIDTH_STEP_CHANNELS)
    elif isinstance(full, float):
        yield from (full * k / WIDTH_STEPS for k in range(WIDTH_STEPS - 1, 0, -1))


def _build(problem: Problem, width: float) -> _Candidate:
    """Return the network of a width, initialised from the recipe's seed; it runs by hops if the run's network does."""
    pl.seed_everything(problem.recipe.seed, verbose=False)
    backbone = backbones.build(
        problem.recipe.backbone,
        num_classes=len(problem.data.classes),
        input_shape=problem.features.shape,
        args={**problem.recipe.backbone_args, WIDTH: width},
    )
    stream, hops = problem.features.validation.stream, None
    if problem.hops is not None and stream is not None:
        backbone, hops = prepare_for_hops(backbone, problem.features.shape, problem.frontend, stream.format.hop)
    macs = cut_sites(backbone, problem.features.train.features[:1])[0].macs_after
    return _Candidate(width, backbone, hops, macs)


def _replace_network(problem: Problem, candidate: _Candidate) -> Problem:
    """Return the problem with another network and with a search space without gates."""
    example = problem.features.train.features[:1]
    sites, layers = cut_sites(candidate.backbone, example), layer_sites(candidate.backbone, example)
    space = build_space(
        sites,
        problem.device.core_names,
        {},
        core_names=problem.recipe.space.cores,
        clocks=list_clock_slots(problem.device),
        max_gates=0,
    )
    return replace(problem, backbone=candidate.backbone, sites=sites, layers=layers, space=space, hops=candidate.hops)
