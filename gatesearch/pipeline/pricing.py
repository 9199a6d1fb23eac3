"""The cost model of a run: the backbone's latency table, from the run folder or read anew, and the stream's figures."""

from __future__ import annotations

from torch import nn

from gatesearch.cost.factory import build_cost_model, read_table, table_cache
from gatesearch.cost.model import CostModel
from gatesearch.cost.table import Table
from gatesearch.pipeline.problem import Setting
from gatesearch.pipeline.run_dir import RunFolder


def cost_model(s: Setting, backbone: nn.Module, folder: RunFolder | None) -> CostModel:
    """Read the table of the backbone's blocks, from the run folder, from the user's cache, or anew."""
    stored = folder / "table.json" if folder is not None else None
    if stored is not None and stored.exists():
        table = Table.from_json(stored.read_text())
    else:
        table = read_table(
            backbone,
            s.device,
            s.space.sites,
            s.layers,
            s.features.train.features,
            variants=s.space.variants(),
            gates=s.space.layers.gates(),
            replaces_layers=bool(s.space.layers.sites),
            timing_seconds=s.recipe.cost.timing_seconds,
            cache=table_cache(),
        )
        if folder is not None:
            folder.write("table.json", table.to_json())
    return build_cost_model(
        s.device,
        s.space.sites,
        s.layers,
        table=table,
        frontend_macs=getattr(s.frontend, "macs", lambda: 0)(),
        period_s=s.recipe.stream.period_s,
        shares={name: s.recipe.stream.shares.get(name, 0.0) for name in s.data.kind_names},
    )
