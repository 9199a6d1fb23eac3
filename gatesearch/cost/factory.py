"""Builds the cost model that prices every plan of a search, from a backbone, its sites and a device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor, nn

from gatesearch._lib import console, user_cache
from gatesearch._lib.tool_output import ToolError
from gatesearch.cost.model import CostModel
from gatesearch.cost.sources import board
from gatesearch.cost.sources.host import dispatch, profiler
from gatesearch.cost.table import Table
from gatesearch.cost.table_reader import build_table, pieces_count
from gatesearch.cost.utilisation import MAX_UTILISATION
from gatesearch.devices.profile import Device
from gatesearch.errors import UserError, first_line
from gatesearch.graph.sites import CutSite, LayerSite
from gatesearch.plan import PlacedGate

TABLE_SAMPLES = 16  # samples that calibrate the quantisation of pieces


def table_cache() -> Path:
    """Return the user's folder of latency tables."""
    return user_cache.find_folder("tables")


def build_cost_model(
    device: Device,
    sites: tuple[CutSite, ...],
    layers: tuple[LayerSite, ...],
    *,
    table: Table,
    frontend_macs: int,
    period_s: float,
    shares: Mapping[str, float],
    max_utilisation: float | None = MAX_UTILISATION,
) -> CostModel:
    """Return the cost model of a backbone on a device.

    Args:
        device: the device, with its cores, links and constants.
        sites: the cut sites for which the table was read.
        layers: every layer site of the backbone.
        table: readings of the backbone's blocks, see :func:`read_table`.
        frontend_macs: multiply-accumulates of the front end, per window.
        period_s: seconds from window to window.
        shares: share of each kind of window in the stream; they add up to 1.
        max_utilisation: see :class:`gatesearch.cost.model.CostModel`.
    """
    return CostModel(
        device=device,
        table=table,
        sites=sites,
        frontend_macs=frontend_macs,
        period_s=period_s,
        shares=shares,
        layers=layers,
        kernels=board.kernels_of(device),
        max_utilisation=max_utilisation,
    )


def read_table(
    backbone: nn.Module,
    device: Device,
    sites: Sequence[CutSite],
    layers: Sequence[LayerSite],
    features: Tensor,
    *,
    variants: Sequence[PlacedGate],
    gates: Sequence[PlacedGate] = (),
    replaces_layers: bool = False,
    timing_seconds: float = profiler.TIMING_SECONDS,
    cache: Path | None = None,
) -> Table:
    """Return the latency table of a backbone on a device, from the cache or read now, with a progress bar.

    Args:
        backbone: the backbone in evaluation mode.
        device: the device whose cores are read.
        sites: the cut sites that gates may use.
        layers: every layer site of the backbone.
        features: samples [n, *shape]; the first :data:`TABLE_SAMPLES` calibrate the quantisation of pieces.
        variants: one placed gate of each variant of cut gates.
        gates: every gate that may replace a layer.
        replaces_layers: whether gates may replace layers. If not, only recurrent layers are read by themselves, because
            kernels run them even without a gate.
        timing_seconds: seconds that timings on this host may take.
        cache: folder of tables; None reads the table anew.

    Raises:
        UserError: a converter or compiler cannot handle the backbone.
    """
    samples = features[:TABLE_SAMPLES]
    own = tuple(layers) if replaces_layers else tuple(site for site in layers if site.is_recurrent)
    count = pieces_count(backbone, sites, samples, variants, own)
    with console.progress(count, "read blocks on each core") as bar, tools_in_one_line():
        table = build_table(
            backbone,
            sites,
            samples,
            device,
            variants,
            own,
            gates,
            loop=dispatch.measure,
            on_step=bar.advance,
            cache=cache,
            timing_seconds=timing_seconds,
        )
    for line in derived_lines(table):
        console.say(line)
    return table


def derived_lines(table: Table) -> list[str]:
    """Return a line for each core of this host for which the budget was too small, so that times are interpolated."""
    return [
        f"{core}: {native.derived:.0%} of the time of operators and kernels is interpolated, the rest was timed; "
        "a larger cost.timing_seconds times more"
        for core, native in table.native.items()
        if native.derived
    ]


@contextmanager
def tools_in_one_line() -> Iterator[None]:
    """Turn the error of a converter or compiler about the user's network into an error of one line."""
    try:
        yield
    except ToolError as error:
        raise UserError(f"backbone: {first_line(error)}") from error
