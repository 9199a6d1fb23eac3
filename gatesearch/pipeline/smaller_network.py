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
from gatesearch.errors import UserError
from gatesearch.graph.sites import cut_sites, layer_sites
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
WIDTH_STEP_CHANNELS = 4
WIDTH_STEPS = 8  # number of steps, if the width is a factor


@dataclass(frozen=True)
class SmallerNetwork:
    """The trained network and its own cost model."""

    model: GatedModel
    cost: CostModel


class _Candidate(NamedTuple):
    """An untrained network with its width; ``hops`` says how it runs by hops, or is None for whole windows."""

    width: float
    backbone: nn.Module
    hops: StreamHops | None


def train_smaller(problem: Problem, ungated: Price, power_mw: float, folder: RunFolder) -> SmallerNetwork:
    """Train, in the same way as the baseline, the widest network that keeps a mean power.

    The width is chosen by an estimate: the energy of the backbone's stage is proportional to its multiplications, and
    all other energy stays the same. The exact price follows later from the network's own latency table.

    Args:
        problem: the problem with the backbone.
        ungated: the ungated backbone's price over the stream.
        power_mw: the mean power that the network has to keep, in milliwatts.
        folder: the folder of the run.

    Raises:
        UserError: the backbone's builder has no argument for its width.
    """
    candidate = _choose(problem, ungated, power_mw)
    small = _replace_network(problem, candidate)
    console.say(f"rival smaller_ungated: {WIDTH}={candidate.width:g}, {small.sites[0].macs_after:,} MACs a window")
    model = GatedModel(candidate.backbone, GatePlan(), small.sites, small.outputs)
    train_or_load(f"smaller_ungated-{candidate.width:g}", model, small, folder, small.schedule())
    return SmallerNetwork(model, build_cost_model(small, model.stages[0]))


def _choose(problem: Problem, ungated: Price, power_mw: float) -> _Candidate:
    """Return the widest network whose estimated power is at most ``power_mw``, or else the narrowest network."""
    budget_uj = power_mw * problem.period_s * 1e3
    work_uj = math.fsum(ungated.energy.by_stage[0].values())
    rest_uj = ungated.energy.total_uj - work_uj
    narrowest = None
    for width in narrower_widths(problem.recipe):
        try:
            narrowest = _build(problem, width)
        except UserError:
            continue  # a network may not have every width: the heads of an attention have to divide the width
        macs = cut_sites(narrowest.backbone, problem.features.train.features[:1])[0].macs_after
        if rest_uj + work_uj * macs / problem.sites[0].macs_after <= budget_uj:
            return narrowest
    if narrowest is None:
        raise UserError(f"backbone {problem.recipe.backbone} cannot be narrower")
    return narrowest


def narrower_widths(recipe: Recipe) -> Iterator[float]:
    """Yield widths below that of the recipe's backbone, the widest first.

    Raises:
        UserError: the builder has no such argument.
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
    """Return the network with a width, initialised from the recipe's seed, by hops if the run's network is by hops."""
    pl.seed_everything(problem.recipe.seed, verbose=False)
    backbone = backbones.build(
        problem.recipe.backbone,
        num_classes=len(problem.data.classes),
        input_shape=problem.features.shape,
        args={**problem.recipe.backbone_args, WIDTH: width},
    )
    stream = problem.features.validation.stream
    if problem.hops is None or stream is None:
        return _Candidate(width, backbone, None)
    return _Candidate(width, *prepare_for_hops(backbone, problem.features.shape, problem.frontend, stream.format.hop))


def _replace_network(problem: Problem, candidate: _Candidate) -> Problem:
    """Return the problem with another network and with a search space without gates."""
    example = problem.features.train.features[:1]
    sites, layers = cut_sites(candidate.backbone, example), layer_sites(candidate.backbone, example)
    space = build_space(sites, problem.device.core_names, {}, core_names=problem.recipe.space.cores, max_gates=0)
    return replace(problem, backbone=candidate.backbone, sites=sites, layers=layers, space=space, hops=candidate.hops)
