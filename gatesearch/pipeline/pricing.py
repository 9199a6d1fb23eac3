"""The cost model of a run: the backbone's latency table, from the run folder or read anew, and the stream's figures."""

from __future__ import annotations

from torch import nn

from gatesearch._lib import console
from gatesearch.cost import factory
from gatesearch.cost.model import CostModel
from gatesearch.cost.table import Table
from gatesearch.cost.utilisation import describe_overload
from gatesearch.pipeline.problem import Problem
from gatesearch.pipeline.run_dir import RunFolder

TABLE_FILE = "table.json"


def build_cost_model(problem: Problem, backbone: nn.Module, folder: RunFolder | None = None) -> CostModel:
    """Return what plans cost on the problem's device.

    Args:
        problem: network, sites, device and stream.
        backbone: trained or not; prices do not depend on weights.
        folder: of the run, which keeps the latency table; None where there is none.
    """
    shares = problem.recipe.stream.shares
    cost = factory.build_cost_model(
        problem.device,
        problem.space.cut_sites,
        problem.layers,
        table=_read_table(problem, backbone, folder),
        frontend_macs=problem.frontend.macs(),
        period_s=problem.recipe.stream.period_s,
        shares={name: shares.get(name, 0.0) for name in problem.data.kind_names},
        max_utilisation=problem.recipe.constraints.max_utilisation,
    )
    worst = cost.ungated()[1].worst_utilisation
    if max(worst.values()) > 1:
        period_us = cost.period_s * 1e6
        console.warn(f"the ungated network cannot follow the stream: {describe_overload(worst, period_us)}")
    return cost


def _read_table(problem: Problem, backbone: nn.Module, folder: RunFolder | None) -> Table:
    """Return the latency table of the run folder, or read it from the user's cache or anew."""
    if folder is not None:
        stored = folder.load(TABLE_FILE, lambda text: Table.from_json(text.decode()), "the blocks are read again")
        if stored is not None:
            return stored
    table = factory.read_table(
        backbone,
        problem.device,
        problem.space.cut_sites,
        problem.layers,
        problem.features.train.features,
        variants=problem.space.variants(),
        gates=problem.space.layer_gates,
        replaces_layers=bool(problem.space.layer_sites),
        timing_seconds=problem.recipe.cost.timing_seconds,
        cache=factory.table_cache(),
    )
    if folder is not None:
        folder.write(TABLE_FILE, table.to_json())
    return table
