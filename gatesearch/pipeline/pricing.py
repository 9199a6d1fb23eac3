"""The cost model of a run: prices of the backbone's blocks are read once, and every plan is priced from them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs
from torch import nn

from gatesearch._lib import console
from gatesearch._lib.tool_output import ToolError
from gatesearch.cost import blocks as tables
from gatesearch.cost.layers import STEPWISE
from gatesearch.cost.model import CostModel
from gatesearch.cost.sources import board
from gatesearch.cost.sources.host import dispatch
from gatesearch.errors import UserError
from gatesearch.pipeline.problem import Problem
from gatesearch.pipeline.run_dir import RunFolder

TABLE_SAMPLES = 16


def build_cost_model(problem: Problem, backbone: nn.Module, folder: RunFolder | None = None) -> CostModel:
    """Return what plans cost on the problem's device.

    The prices of the backbone's blocks come from the run folder, from the user's cache, or are read anew.

    Args:
        problem: network, sites, device and stream.
        backbone: trained or not; prices do not depend on weights.
        folder: of the run; None where there is none.
    """
    table = _read_table(problem, backbone, folder)
    stream = problem.recipe.stream
    return CostModel(
        problem.device,
        table,
        problem.space.sites,
        getattr(problem.frontend, "macs", lambda: 0)(),
        stream.period_s,
        {name: stream.shares.get(name, 0.0) for name in problem.data.kind_names},
        problem.layers,
        board.kernels_of(problem.device),
    )


def _read_table(problem: Problem, backbone: nn.Module, folder: RunFolder | None) -> tables.Table:
    path = folder / "table.json" if folder is not None else None
    if path is not None and path.exists():
        return tables.Table.from_json(path.read_text())
    sites, space = problem.space.sites, problem.space
    samples, variants = problem.features.train.features[:TABLE_SAMPLES], space.variants()
    # Without gates in the places of layers, only layers that kernels run step by step need prices of their own.
    layers = tuple(site for site in problem.layers if space.layers.sites or site.op in STEPWISE)
    count = tables.pieces_count(backbone, sites, samples, variants, layers)
    with console.progress(count, "read blocks on each core") as bar, tools_in_one_line():
        table = tables.build(
            backbone,
            sites,
            samples,
            problem.device,
            variants,
            layers,
            space.layers.gates(),
            loop=dispatch.measure,
            on_step=bar.advance,
            cache=Path(platformdirs.user_cache_dir("gatesearch")) / "tables",
        )
    if folder is not None:
        folder.write("table.json", table.to_json())
    return table


@contextmanager
def tools_in_one_line() -> Iterator[None]:
    """Turn the failure of a converter or compiler on the user's network into an error of one line."""
    try:
        yield
    except ToolError as error:
        raise UserError(f"backbone: {str(error).splitlines()[0]}") from error
