"""Builds the cost model of a run from the backbone's latency table and the shares of the stream."""

from __future__ import annotations

from itertools import islice

from torch import nn

from gatesearch._lib import console
from gatesearch.cost import factory
from gatesearch.cost.frontend import FrontendWork
from gatesearch.cost.hop_table import HopTable
from gatesearch.cost.model import CostModel
from gatesearch.cost.sources import board
from gatesearch.cost.table import TABLE_VERSION, Table
from gatesearch.cost.utilisation import describe_overload
from gatesearch.errors import UserError
from gatesearch.graph.plain_weights import copy_network
from gatesearch.pipeline.constraints import price_violations
from gatesearch.pipeline.problem import Problem
from gatesearch.pipeline.run_dir import RunFolder

TABLE_FILE = "table.json"
HOP_TABLE_FILE = "hop_table.json"
MAX_PLANS = 2000  # largest space whose plans are all priced in advance; the search itself checks larger spaces


def build_cost_model(problem: Problem, backbone: nn.Module, folder: RunFolder | None = None) -> CostModel:
    """Return the cost model of the problem's device.

    Args:
        problem: network, sites, device and stream.
        backbone: the backbone, trained or not, because prices do not depend on weights; it is not changed.
        folder: the folder of the run, which stores the latency table; None to store nothing.
    """
    stream = problem.features.validation.stream
    table, hops = _read_table(problem, backbone, folder), _read_hop_table(problem, backbone, folder)
    cost = factory.build_cost_model(
        problem.device,
        problem.space.cut_sites,
        problem.layers,
        table=table,
        frontend=frontend_work(problem),
        period_s=problem.period_s,
        shares=problem.shares,
        max_utilisation=problem.recipe.constraints.max_utilisation,
        hops=hops,
        frontend_hop=None if hops is None or stream is None else frontend_work(problem, stream.format.hop),
        signal_forms=None if stream is None else stream.signal_forms,
    )
    worst = cost.ungated()[1].worst_utilisation
    if max(worst.values()) > 1:
        period_us = cost.period_s * 1e6
        console.warn(f"the ungated network cannot follow the stream: {describe_overload(worst, period_us)}")
    return cost


def check_prices(problem: Problem, cost: CostModel) -> None:
    """Refuse a device on which every plan breaks a constraint on its price.

    A space of more than :data:`MAX_PLANS` plans is not checked. A search of such a space prices each proposal before
    its training, and proposes the simplest plans first.

    Raises:
        UserError: every plan breaks a constraint on its price.
    """
    if len(problem.space) > MAX_PLANS:
        return
    broken: dict[str, float] = {}  # by constraint, the smallest excess of all plans
    for plan in islice(problem.space.plans(), MAX_PLANS):
        own = {name: excess for name, excess in price_violations(problem.recipe, cost, plan).items() if excess > 0}
        if not own:
            return
        broken |= {name: min(excess, broken.get(name, excess)) for name, excess in own.items()}
    excesses = ", ".join(_describe_excess(*each) for each in sorted(broken.items()))
    raise UserError(
        f"search: none of {len(problem.space):,} plans keeps the constraints on price ({excesses}); "
        "relax constraints or take a larger device"
    )


def _describe_excess(name: str, excess: float) -> str:
    """Return the name of a constraint; with the excess, where it is a share of a memory or of the time of a hop.

    >>> _describe_excess("mcu.sram", 0.25), _describe_excess("mcu.operators", 1.0)
    ('mcu.sram exceeded by at least 25%', 'mcu.operators')
    """
    is_share = name.endswith((".flash", ".sram", "utilisation"))
    return f"{name} exceeded by at least {excess:.0%}" if is_share else name


def frontend_work(problem: Problem, hop: int | None = None) -> FrontendWork:
    """Return the work of the front end per window, or per hop of ``hop`` samples, on the core that runs it.

    A warning says if the core's kernel table does not have the front end. The warning appears once, for the window.
    """
    core = problem.device.core(problem.device.sense.core)
    work = FrontendWork.on_core(problem.frontend, core, hop)
    if hop is None and work.macs and work.reading is None and board.table_of(core) is not None:
        console.warn(
            f"frontend.name: {problem.recipe.frontend.name} has no kernel in the table of core {core.name}; its "
            f"{work.macs:,} MACs are priced at the rate in the profile of {problem.device.name}"
        )
    return work


def _read_table(problem: Problem, backbone: nn.Module, folder: RunFolder | None) -> Table:
    """Return the latency table from the run folder or the user's cache, or else build a new one."""
    if folder is not None:
        stored = folder.load(TABLE_FILE, lambda text: Table.from_json(text.decode()), "the table is built again")
        if stored is not None and not (missing := stored.lacks(problem.device)):
            _warn_of_older(TABLE_FILE, stored)
            return stored
        if stored is not None:
            console.warn(f"{TABLE_FILE}: an older version wrote it, without {', '.join(missing)}; it is built again")
    table = factory.read_table(
        copy_network(backbone).eval(),
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


def _warn_of_older(file: str, table: Table) -> None:
    """Print a warning if an older version of gatesearch wrote the table that the run continues to use.

    Earlier trials of the run were priced with its readings. Prices from new readings could not be compared with theirs.
    """
    if table.version < TABLE_VERSION:
        console.warn(
            f"{file}: an older version wrote it (version {table.version} of {TABLE_VERSION}); prices and memory are "
            "estimates of that version; a new run measures the blocks again"
        )


def _read_hop_table(problem: Problem, backbone: nn.Module, folder: RunFolder | None) -> HopTable | None:
    """Return the costs of a hop, stored or newly measured; None if each hop runs a whole window."""
    stream, hops = problem.features.validation.stream, problem.hops
    if stream is None or hops is None:
        return None
    if folder is not None:
        stored = folder.load(HOP_TABLE_FILE, lambda text: HopTable.from_json(text.decode()), "the table is built again")
        if stored is not None:
            _warn_of_older(HOP_TABLE_FILE, stored.table)
            return stored
    table = factory.read_hop_table(
        copy_network(backbone).eval(),
        problem.device,
        problem.space.cut_sites,
        problem.features.train.features,
        frames=hops.frames,
        phases=hops.phases,
        variants=problem.space.variants(),
        timing_seconds=problem.recipe.cost.timing_seconds,
        cache=factory.table_cache(),
    )
    if folder is not None:
        folder.write(HOP_TABLE_FILE, table.to_json())
    return table
