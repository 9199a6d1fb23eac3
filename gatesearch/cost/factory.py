"""Builds the cost model that prices every plan of a search, from a backbone, its sites and a device.

A hop is the time from one decision on a stream to the next. A network that runs by hops computes only the new frames of
a window at each decision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from torch import Tensor, nn

from gatesearch._lib import console, user_cache
from gatesearch._lib.tool_output import ToolError
from gatesearch.cost.blocks import Components
from gatesearch.cost.frontend import FrontendWork
from gatesearch.cost.hop_components import build_hop_components, site_frames
from gatesearch.cost.hop_table import HopTable, fresh_shapes
from gatesearch.cost.model import CostModel
from gatesearch.cost.sources import board
from gatesearch.cost.sources.host import dispatch, profiler
from gatesearch.cost.table import Table
from gatesearch.cost.table_reader import build_table, count_components
from gatesearch.cost.utilisation import MAX_UTILISATION
from gatesearch.devices.profile import Device
from gatesearch.errors import UserError, first_line
from gatesearch.gates.level import SignalFormat
from gatesearch.graph.hops import Frames
from gatesearch.graph.sites import INPUT, CutSite, LayerSite
from gatesearch.plan import PlacedGate

TABLE_SAMPLES = 16  # samples that calibrate the quantisation of separately timed modules (*components*)


def table_cache() -> Path:
    """Return the user's folder of latency tables."""
    return user_cache.find_folder("tables")


def build_cost_model(
    device: Device,
    sites: tuple[CutSite, ...],
    layers: tuple[LayerSite, ...],
    *,
    table: Table,
    frontend: FrontendWork,
    period_s: float,
    shares: Mapping[str, float],
    max_utilisation: float | None = MAX_UTILISATION,
    hops: HopTable | None = None,
    frontend_hop: FrontendWork | None = None,
    signal_forms: Mapping[str, SignalFormat] | None = None,
) -> CostModel:
    """Return the cost model of a backbone on a device.

    Args:
        device: the device, with its cores, links and constants.
        sites: the cut sites for which the table was built.
        layers: every layer site of the backbone.
        table: the latency table of the backbone's blocks, see :func:`read_table`.
        frontend: the work of the front end, per window.
        period_s: seconds from window to window.
        shares: share of each kind of window in the stream; they add up to 1.
        max_utilisation: bound on the share of time for which a core is busy, see
            :class:`gatesearch.cost.model.CostModel`.
        hops: the costs of one hop, see :func:`read_hop_table`; None if each hop runs a whole window.
        frontend_hop: the work of the front end, per hop; None if ``hops`` is None.
        signal_forms: for each statistic that a gate before the front end may compute, the format of the signal; None
            if no such gate is possible.
    """
    return CostModel(
        device=device,
        table=table,
        sites=sites,
        frontend=frontend,
        period_s=period_s,
        shares=shares,
        layers=layers,
        kernels=board.kernels_of(device),
        max_utilisation=max_utilisation,
        hops=hops,
        frontend_hop=frontend_hop,
        signal_forms=signal_forms or {},
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
    take_steps: Callable[[Components], Components] | None = None,
) -> Table:
    """Return the latency table of a backbone on a device; build it with a progress bar if the cache has none.

    Args:
        backbone: the backbone in evaluation mode.
        device: the device on whose cores the backbone is timed or estimated.
        sites: the cut sites that gates may use.
        layers: every layer site of the backbone.
        features: samples [n, *shape]; the first :data:`TABLE_SAMPLES` calibrate the quantisation.
        variants: one placed gate for each variant of cut gates.
        gates: every gate that may replace a layer.
        replaces_layers: whether gates may replace layers. If not, only recurrent layers are timed by themselves,
            because kernels run them even without a gate.
        timing_seconds: seconds that timings on this host may take.
        cache: folder of cached tables; None builds the table anew.
        take_steps: function that replaces modules for a whole window by modules for a hop; None for whole windows.

    Raises:
        UserError: a converter or compiler cannot handle the backbone.
    """
    samples = features[:TABLE_SAMPLES]
    own = tuple(layers) if replaces_layers else tuple(site for site in layers if site.is_recurrent)
    count = count_components(backbone, sites, samples, variants, own)
    with console.progress(count, "measure or estimate blocks on each core") as bar, tools_in_one_line():
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
            take_steps=take_steps,
        )
    for line in derived_lines(table):
        console.say(line)
    return table


def read_hop_table(
    backbone: nn.Module,
    device: Device,
    sites: Sequence[CutSite],
    features: Tensor,
    *,
    frames: Frames,
    phases: int,
    variants: Sequence[PlacedGate],
    timing_seconds: float = profiler.TIMING_SECONDS,
    cache: Path | None = None,
) -> HopTable:
    """Return the costs of one hop for each block and gate head of a backbone, on each core of a device.

    The step of a block is the module that computes the frames that are new at a hop. The same latency sources time or
    estimate steps and whole windows.

    Args:
        backbone: the backbone in evaluation mode, which can run by hops.
        device: the device on whose cores the steps are timed or estimated.
        sites: cut sites that gates may use.
        features: samples [n, *shape]; the first :data:`TABLE_SAMPLES` calibrate the quantisation.
        frames: the time axis of the features, and the number of frames between two decisions in the same phase.
        phases: number of states (*phases*) that take turns from hop to hop; above 1 if strides do not divide the hop.
        variants: one placed gate for each variant of cut gates.
        timing_seconds: seconds that timings on this host may take.
        cache: folder of cached tables; None builds the table anew.

    Raises:
        UserError: a layer cannot run by hops, or a converter or compiler cannot handle the backbone.
    """
    shape = tuple(features.shape[1:])
    axes = site_frames(backbone, sites, shape, frames.axis - 1, frames.hop)
    states: dict[str, int] = {}

    def take_steps(components: Components) -> Components:
        steps = build_hop_components(components, axes)
        states.update(steps.states)
        return steps.components

    table = read_table(
        backbone,
        device,
        sites,
        (),
        features,
        variants=variants,
        timing_seconds=timing_seconds,
        cache=cache,
        take_steps=take_steps,
    )
    first = axes[INPUT]
    assert first is not None
    fresh_elements = table.input_elements // first.count * first.fresh
    return HopTable(
        table=replace(table, input_elements=fresh_elements),
        shapes=fresh_shapes(sites, axes),
        states=states,
        phases=phases,
    )


def derived_lines(table: Table) -> list[str]:
    """Return a line for each core of this host with interpolated times, because the time budget was too small."""
    return [
        f"{core}: {native.derived:.0%} of the time of operators and kernels is interpolated, the rest was timed; "
        "a larger cost.timing_seconds allows more timings"
        for core, native in table.native.items()
        if native.derived
    ]


@contextmanager
def tools_in_one_line() -> Iterator[None]:
    """Turn the error of a converter or compiler about the user's network into an error message of one line."""
    try:
        yield
    except ToolError as error:
        raise UserError(f"backbone: {first_line(error)}") from error
