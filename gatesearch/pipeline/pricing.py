"""From a setting to what plans cost: the table of the backbone's blocks, read once, and the cost model on it."""

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
from gatesearch.pipeline.problem import Setting
from gatesearch.pipeline.run_dir import RunFolder

TABLE_SAMPLES = 16


def cost_model(s: Setting, backbone: nn.Module, folder: RunFolder | None) -> CostModel:
    """Read the table of the backbone's blocks, from the run folder, from the user's cache, or anew."""
    kept = folder / "table.json" if folder is not None else None
    if kept is not None and kept.exists():
        table = tables.Table.from_json(kept.read_text())
    else:
        samples = s.features.train.features[:TABLE_SAMPLES]
        variants = s.space.variants()
        arguments = (backbone, s.space.sites, samples)
        # Without gates in the places of layers, those alone that kernels run all the same.
        layers = s.layers if s.space.layers.sites else tuple(site for site in s.layers if site.op in STEPWISE)
        count = tables.pieces_count(*arguments, variants, layers)
        with console.progress(count, "read blocks on each core") as bar, tools_in_one_line():
            cache = Path(platformdirs.user_cache_dir("gatesearch")) / "tables"
            table = tables.build(
                *(*arguments, s.device, variants, layers, s.space.layers.gates()),
                loop=dispatch.measure,
                on_step=bar.advance,
                cache=cache,
            )
        if folder is not None:
            folder.write("table.json", table.to_json())
    macs = getattr(s.frontend, "macs", lambda: 0)()
    stream = s.recipe.stream
    shares = {name: stream.shares.get(name, 0.0) for name in s.data.kind_names}
    kernels = board.kernels_of(s.device)
    return CostModel(s.device, table, s.space.sites, macs, stream.period_s, shares, s.layers, kernels)


@contextmanager
def tools_in_one_line() -> Iterator[None]:
    """Tell what a converter or compiler cannot do with the user's network as an error of one line."""
    try:
        yield
    except ToolError as error:
        raise UserError(f"backbone: {str(error).splitlines()[0]}") from error
