"""The coefficients of plans' expected times and energies, for many plans at once.

A search weighs hundreds of plans for each proposal. The cost of a stage follows from a few numbers, which most plans
share: the reading and the weights of the stage on each core. This module looks up these numbers gate by gate, and
computes the costs of all plans from them with arrays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol, cast

import numpy as np
import numpy.typing as npt

from gatesearch.cost.effort import StageEffort, StageSpan
from gatesearch.cost.layers import LayerChange, LayerChanges
from gatesearch.cost.placed_cut import CROSSING_BITS, PlacedCut, crossing_bits
from gatesearch.cost.stage import MAX_STAGES, StagePricer
from gatesearch.cost.table import Table
from gatesearch.devices.profile import Clocks, Core, Device
from gatesearch.gates import kind_of
from gatesearch.graph.sites import CutSite, find
from gatesearch.plan import GatePlan, PlacedGate

Array = npt.NDArray[np.float64]
Terms = tuple[float, float]  # microseconds and microjoules
Gates = tuple[PlacedGate, ...]
Placement = tuple[tuple[str, ...], Clocks]  # the core of each stage, and the clocks of cores


class PriceModel(Protocol):
    """The part of :class:`gatesearch.cost.model.CostModel` from which run costs follow; see there."""

    @property
    def device(self) -> Device: ...  # noqa: D102 - the cost model documents each of these
    @property
    def table(self) -> Table: ...  # noqa: D102
    @property
    def sites(self) -> tuple[CutSite, ...]: ...  # noqa: D102
    @property
    def sense_core(self) -> Core: ...  # noqa: D102
    @property
    def pricer(self) -> StagePricer: ...  # noqa: D102
    @property
    def layer_changes(self) -> LayerChanges: ...  # noqa: D102
    @property
    def input_bits(self) -> float: ...  # noqa: D102
    @property
    def every_window(self) -> Terms: ...  # noqa: D102
    @property
    def by_hop(self) -> PriceModel | None: ...  # noqa: D102
    @property
    def by_window(self) -> PriceModel: ...  # noqa: D102
    @property
    def run_costs(self) -> RunCosts: ...  # noqa: D102

    def at_clocks(self, clocks: Clocks) -> PriceModel: ...  # noqa: D102
    def runs_by_hops(self, plan: GatePlan) -> bool: ...  # noqa: D102
    def coefficients(  # noqa: D102
        self, plan: GatePlan, observed: Mapping[str, Mapping[str, float]] | None
    ) -> tuple[Terms, ...]: ...


class RunCosts:
    """Computes the coefficients of a plan's expected time and energy, as pairs of microseconds and microjoules.

    The expected costs of :meth:`gatesearch.cost.model.CostModel.price` are linear in the reach of each stage. The first
    pair is the cost of every window. Pair ``k + 1`` is the cost that a window adds if it reaches stage ``k``. A pair is
    infinite if the core cannot run the stage. A search multiplies the pairs by predicted reaches instead of pricing the
    plan again.

    If the stages run by hops, each pair is the cost of one hop. The pairs do not contain the cost of catching up when a
    gate opens, because a search cannot predict openings.

    Args:
        model: the cost model that prices the plans.
    """

    def __init__(self, model: PriceModel) -> None:
        self._model = model
        self._positions = {name: index for index, name in enumerate(model.table.sites)}
        self._cuts: dict[PlacedGate, PlacedCut | None] = {}
        self._efforts: dict[tuple[str, ...], dict[str, StageEffort]] = {}
        self._exits: dict[tuple[PlacedGate, str], Terms] = {}

    def __call__(self, plan: GatePlan, observed: Mapping[str, Mapping[str, float]] | None = None) -> tuple[Terms, ...]:
        """Return the pairs of one plan.

        Args:
            plan: gates, and a core for every stage.
            observed: by site, the shares that were measured for each layer gate; None before training.

        Raises:
            UserError: a site or core of the plan does not exist.
            ValueError: the number of cores is not the number of stages.
        """
        if observed:
            return self._price_reports(plan, observed)
        rows = self.price_many([plan.gates], [(plan.cores, plan.clocks)])[0, 0]
        return tuple((float(us), float(uj)) for us, uj in rows)

    def price_many(self, combinations: Sequence[Gates], placements: Sequence[Placement]) -> Array:
        """Return the pairs of plans before training: each combination of gates with each placement.

        Args:
            combinations: gates of plans; each combination has the same number of cut gates.
            placements: the cores and clocks of plans.

        Returns:
            The pairs, [combinations, placements, 1 + stages, 2].

        Raises:
            UserError: a site or core does not exist.
            ValueError: the number of cores is not the number of stages.
        """
        stages = 1 + sum(self._cut_of(gate) is not None for gate in combinations[0])
        for cores, _ in placements:
            if len(cores) != stages:
                raise ValueError(f"{len(cores)} cores for {stages} stages")
        costs = np.empty((len(combinations), len(placements), 1 + stages, 2))
        for clocks in dict.fromkeys(clocks for _, clocks in placements):
            own = [k for k, placement in enumerate(placements) if placement[1] == clocks]
            at_clocks = self._model.at_clocks(clocks).run_costs
            costs[:, own] = at_clocks._price_at_clocks(combinations, [placements[k][0] for k in own])
        return costs

    def _price_at_clocks(self, combinations: Sequence[Gates], placements: Sequence[Sequence[str]]) -> Array:
        """Return the pairs at the clocks of the model's device; see :meth:`price_many`."""
        model = self._model
        if model.by_hop is None:
            return self._price_windows(combinations, placements)
        costs = np.empty((len(combinations), len(placements), 1 + len(placements[0]), 2))
        by_hop = [all(self._cut_of(gate) is not None for gate in gates) for gates in combinations]
        for source, is_hop in ((model.by_hop, True), (model.by_window, False)):
            own = [k for k, one in enumerate(by_hop) if one == is_hop]
            if own:
                costs[own] = source.run_costs._price_windows([combinations[k] for k in own], placements)
        costs[:, :, 0] = model.by_hop.every_window
        return costs

    def _price_windows(self, combinations: Sequence[Gates], placements: Sequence[Sequence[str]]) -> Array:
        """Return the pairs of plans whose stages run on whole windows; see :meth:`price_many`."""
        model, stages = self._model, len(placements[0])
        names = list(dict.fromkeys(name for cores in placements for name in cores))
        place = np.array([[names.index(name) for name in cores] for cores in placements])
        cores = [model.device.core(name) for name in names]
        rows, efforts = [], []
        for gates in combinations:
            cuts, own = self._look_up(gates, cores)
            efforts += own
            rows.append(cuts)
        # The axes of ``efforts`` are combination, stage, core, and the fields of an effort.
        flow = _Flow.build(model, rows, np.array(efforts, dtype=float).reshape(len(rows), stages, len(cores), 3))
        costs = np.empty((len(rows), len(placements), 1 + stages, 2))
        costs[:, :, 0] = model.every_window
        for k in range(stages):
            steps = place[:, [k - 1, k]] if k else np.stack([np.full(len(place), -1), place[:, 0]], 1)
            for step in set(map(tuple, steps.tolist())):
                before = None if step[0] < 0 else cores[step[0]]
                same = (steps == step).all(1)
                costs[:, same, 1 + k] = self._price_stage(flow, k, before, cores[step[1]], step)[:, None]
        for i, cuts in enumerate(rows):
            for k, cut in enumerate(cuts):
                if cut.work.exit_macs:
                    terms = np.array([self._price_exit(cut, cores[c]) for c in place[:, k]])
                    # See :func:`add_exits`.
                    costs[i, :, 1 + k] += terms
                    costs[i, :, 2 + k] -= terms
        return costs

    def _price_stage(self, flow: _Flow, k: int, before: Core | None, core: Core, step: tuple[int, int]) -> Array:
        """Return the cost of stage ``k`` of each combination, [combinations, 2].

        Args:
            flow: the stages of the combinations.
            k: index of the stage.
            before: the core of the stage before; None for the first stage.
            core: the core that runs the stage.
            step: the indices of these two cores in ``flow``.
        """
        model, device = self._model, self._model.device
        reading, weight_bytes, width = flow.efforts[:, k, step[1]].T
        entering = np.ones(len(width)) if before is None else flow.efforts[:, k - 1, step[0], 2]
        values = flow.values[:, k], flow.values[:, k + 1]
        latency = core.latency_us(reading + model.pricer.loop_us(core, before, values, (entering, width)))
        us, uj = latency, device.added_uj(core, latency) + core.weights_uj(weight_bytes)
        source = before or model.sense_core
        if core.name != source.name:
            link, size = device.link(source.name, core.name), cast(float, flow.bits[:, k] * entering / CROSSING_BITS)
            us = us + (link.transfer_us(size) if link else 0.0) + core.wake_us.value
            uj = uj + (link.transfer_uj(size) if link else 0.0) + core.wake_uj.value
        return np.stack([us, uj], 1)

    def _price_exit(self, cut: PlacedCut, core: Core) -> Terms:
        """Return the cost of one run of a gate's exit on a core."""
        key = cut.placed, core.name
        if key not in self._exits:
            work = self._model.pricer.exit(core, cut)
            latency = core.latency_us(work.reading)
            uj = self._model.device.added_uj(core, latency) + core.weights_uj(work.weight_bytes)
            self._exits[key] = latency, uj
        return self._exits[key]

    def _look_up(self, gates: Gates, cores: Sequence[Core]) -> tuple[list[PlacedCut], list[StageEffort]]:
        """Return the cuts of a combination, and the effort of each of its stages on each core."""
        cuts, layer_gates = [], []
        for gate in gates:
            cut = self._cut_of(gate)
            if cut is None:
                layer_gates.append(gate)
            else:
                cuts.append(cut)
        changes = self._model.layer_changes.find(layer_gates) if layer_gates else {}
        layers = self._model.table.layers
        bounds = [*(self._positions[cut.site.name] for cut in cuts), len(self._positions)]
        efforts: list[StageEffort] = []
        first = 0
        for entering, leaving, last in zip([None, *cuts], [*cuts, None], bounds, strict=True):
            own = {
                name: change for name, change in changes.items() if first <= self._positions[layers[name].block] < last
            }
            efforts += self._efforts_of(entering, leaving, own, cores)
            first = last
        return cuts, efforts

    def _efforts_of(
        self,
        entering: PlacedCut | None,
        leaving: PlacedCut | None,
        changes: Mapping[str, LayerChange],
        cores: Sequence[Core],
    ) -> list[StageEffort]:
        """Return the effort of a stage on each core, from the cache where it is known."""
        names = [cut.cost_key if cut else "" for cut in (entering, leaving)]
        key = (*names, *[change.key or "" for change in changes.values()])
        by_core = self._efforts.get(key)
        if by_core is None:
            if len(self._efforts) >= MAX_STAGES:
                self._efforts.clear()
            by_core = self._efforts[key] = {}
        span: StageSpan | None = None
        pricer = self._model.pricer.efforts
        for core in cores:
            if core.name not in by_core:
                if span is None or pricer.depends_on_core:
                    span = pricer.span(core, entering, leaving, changes)
                by_core[core.name] = pricer.effort(core, span)
        return [by_core[core.name] for core in cores]

    def _cut_of(self, gate: PlacedGate) -> PlacedCut | None:
        """Return a gate at a cut with its site and its work; None for a gate at a layer."""
        if gate not in self._cuts:
            is_cut = kind_of(gate.kind).site_type is CutSite
            self._cuts[gate] = PlacedCut.place(gate, find(self._model.sites, gate.site)) if is_cut else None
        return self._cuts[gate]

    def _price_reports(self, plan: GatePlan, observed: Mapping[str, Mapping[str, float]]) -> tuple[Terms, ...]:
        """Return the pairs of a plan whose layer gates were measured."""
        model = self._model.at_clocks(plan.clocks)
        plan = GatePlan(plan.gates, plan.cores)
        if model.by_hop is None:
            return model.coefficients(plan, observed)
        if model.runs_by_hops(plan):
            return model.by_hop.run_costs(plan)
        return (model.by_hop.every_window, *model.by_window.coefficients(plan, observed)[1:])


class _Flow(NamedTuple):
    """The stages of some combinations of gates, and what passes between them.

    Args:
        efforts: the reading, the bytes of weights and the bytes of a value of each stage on each core,
            [combinations, stages, cores, 3].
        values: number of values that enter each stage, followed by a zero, [combinations, stages + 1].
        bits: bits that enter each stage if each value has 8 bits, [combinations, stages].
    """

    efforts: Array
    values: Array
    bits: Array

    @classmethod
    def build(cls, model: PriceModel, rows: Iterable[Sequence[PlacedCut]], efforts: Array) -> _Flow:
        """Return the flow of combinations with these cuts."""
        values = [[model.table.input_elements, *(cut.work.elements for cut in cuts), 0.0] for cuts in rows]
        bits = [[model.input_bits, *crossing_bits(cuts, None)] for cuts in rows]
        return cls(efforts, np.array(values, dtype=float), np.array(bits, dtype=float))


def add_exits(terms: Sequence[Terms], exits: Sequence[tuple[int, Terms]]) -> list[Terms]:
    """Return the costs that a window adds at each stage that it reaches, with the costs of exits included.

    R_k is the share of windows that reach stage k. A window takes the exit behind stage k if it reaches stage k but not
    stage k + 1. So the exit runs for the share R_k - R_(k+1) of all windows. The function therefore adds the exit's
    cost at stage k and subtracts it at stage k + 1.
    """
    added = list(terms)
    for k, (us, uj) in exits:
        added[k] = (added[k][0] + us, added[k][1] + uj)
        added[k + 1] = (added[k + 1][0] - us, added[k + 1][1] - uj)
    return added
