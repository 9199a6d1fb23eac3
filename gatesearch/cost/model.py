"""The cost model: it computes the price of a plan from a latency table and from pass rates.

The cost of each stage follows exactly from the table, before any training. The price of a window is an expectation over
the stream: it also needs the share of windows that reaches each stage, which is measured after training.
:meth:`CostModel.run_costs` and :meth:`CostModel.bound` do without that measurement.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, wraps
from itertools import accumulate, pairwise
from typing import Concatenate, ParamSpec, TypeVar

from gatesearch.cost import feasibility
from gatesearch.cost.blocks import END
from gatesearch.cost.energy import StageCost, expected_energy, expected_latency_us, longest_latency_us
from gatesearch.cost.frontend import FrontendWork
from gatesearch.cost.hop_table import HopTable
from gatesearch.cost.kernel_costs import KernelCosts
from gatesearch.cost.layers import LayerChange, LayerChanges, layer_changes
from gatesearch.cost.placed_cut import CROSSING_BITS, PlacedCut, crossing_bits
from gatesearch.cost.price import ExitEstimate, Price, StageEstimate
from gatesearch.cost.run_costs import RunCosts, Terms, add_exits
from gatesearch.cost.signal_gate import signal_gate_us
from gatesearch.cost.stage import StagePricer, StageWork
from gatesearch.cost.stage_keys import StageKeys
from gatesearch.cost.stream_memory import with_hop_memory
from gatesearch.cost.stream_price import WindowAndHop, price_by_hops
from gatesearch.cost.stream_shares import reach, shift_prevalence
from gatesearch.cost.table import Table
from gatesearch.cost.utilisation import MAX_UTILISATION, mean_utilisation, worst_utilisation
from gatesearch.devices.profile import Clocks, Core, Device, clock_choices, list_clock_slots
from gatesearch.gates import cut_gates, layer_gates
from gatesearch.gates.level import SignalFormat
from gatesearch.graph.sites import CutSite, LayerSite, find
from gatesearch.metrics.streams.activity import STEADY, Activity
from gatesearch.plan import GatePlan, PlacedGate

Gates = tuple[PlacedGate, ...]
MAX_KEYS = 256  # largest number of gate combinations for which the keys of stages are cached
_Options = ParamSpec("_Options")
_Result = TypeVar("_Result")


def _at_clocks_of_plan(
    method: Callable[Concatenate[CostModel, GatePlan, _Options], _Result],
) -> Callable[Concatenate[CostModel, GatePlan, _Options], _Result]:
    """Make a method of :class:`CostModel` compute with the device at the clocks of its plan."""

    @wraps(method)
    def compute(cost: CostModel, plan: GatePlan, *args: _Options.args, **kwargs: _Options.kwargs) -> _Result:
        if plan.clocks:
            cost, plan = cost.at_clocks(plan.clocks), replace(plan, clocks=())
        return method(cost, plan, *args, **kwargs)

    return compute


@dataclass(frozen=True)
class CostModel:
    """Prices plans for one backbone on one device.

    Args:
        device: the device, with its cores, links and constants.
        table: the latency table of this backbone's blocks.
        sites: the cut sites for which the table was built.
        frontend: the work of the front end per window.
        period_s: seconds from window to window.
        shares: share of each kind of window in the stream.
        layers: sites at which a gate may replace a layer.
        kernels: kernel costs by core, for cores whose kernels the table does not contain.
        max_utilisation: bound on the share of a period for which a core is busy when every window takes the path that
            is worst for the core. With None, only the mean over the stream has to stay within the period.
        hops: the costs of one hop; None without a stream, or if each hop runs a whole window.
        frontend_hop: the work of the front end per hop; None if ``hops`` is None.
        signal_forms: by statistic, the format of the signal that a gate before the front end reads; empty if no such
            gate is possible.
    """

    device: Device
    table: Table
    sites: tuple[CutSite, ...]
    frontend: FrontendWork
    period_s: float
    shares: Mapping[str, float]
    layers: tuple[LayerSite, ...] = ()
    kernels: Mapping[str, KernelCosts] = field(default_factory=dict)
    max_utilisation: float | None = MAX_UTILISATION
    hops: HopTable | None = None
    frontend_hop: FrontendWork | None = None
    signal_forms: Mapping[str, SignalFormat] = field(default_factory=dict)
    # Caches: a search prices thousands of plans that have most of their stages in common.
    _key_cache: dict[Gates, list[str]] = field(default_factory=dict, init=False, repr=False, compare=False)
    _placed_cuts: dict[PlacedGate, PlacedCut] = field(default_factory=dict, init=False, repr=False, compare=False)
    _by_clocks: dict[Clocks, CostModel] = field(default_factory=dict, init=False, repr=False, compare=False)

    @cached_property
    def _stage_keys(self) -> StageKeys:
        return StageKeys(self.table.sites, self.layers, self.table.layers)

    @cached_property
    def layer_changes(self) -> LayerChanges:
        """The changes that gates make to layers before training."""
        return LayerChanges(self.layers)

    @cached_property
    def pricer(self) -> StagePricer:
        """The work of stages."""
        return StagePricer(self.table, self.layers, self.kernels)

    @property
    def sense_core(self) -> Core:
        """The core that is always awake and runs the front end."""
        return self.device.core(self.device.sense.core)

    @property
    def frontend_us(self) -> float:
        """Time of the front end, in microseconds."""
        return self.frontend.latency_us(self.sense_core)

    @_at_clocks_of_plan
    def stages(
        self,
        plan: GatePlan,
        densities: Sequence[float] | None = None,
        observed: Mapping[str, Mapping[str, float]] | None = None,
    ) -> tuple[StageEstimate, ...]:
        """Estimate every stage of a plan.

        Args:
            plan: gates, and a core for every stage.
            densities: for each cut gate, the measured share of the site's values that are not zero behind the gate;
                suppressed channels count as zero. None before training: the gate's parameters then imply the share.
            observed: by site, the shares that were measured for each layer gate (its report). Before training there is
                no report: the gate then has the least work that its parameters allow.

        Raises:
            UserError: a site or core of the plan does not exist.
            ValueError: the number of cores is not the number of stages.
        """
        cuts = self._cuts(plan)
        gates = layer_gates(plan)
        changes = layer_changes(gates, self.layers, observed) if observed else self.layer_changes.find(gates)
        bits = [self.input_bits, *crossing_bits(cuts, densities)]
        keys = [None] * len(bits) if observed else self._keys(plan)
        estimates: list[StageEstimate] = []
        before, width = None, 1
        ends = zip([None, *cuts], [*cuts, None], strict=True)
        for name, (entering, leaving), entered, key in zip(plan.cores, ends, bits, keys, strict=True):
            core = self.device.core(name)
            estimate, width = self._stage(before, core, entering, leaving, changes, width, entered, key)
            estimates.append(estimate)
            before = core
        return tuple(estimates)

    def _stage(
        self,
        before: Core | None,
        core: Core,
        entering: PlacedCut | None,
        leaving: PlacedCut | None,
        changes: Mapping[str, LayerChange],
        width: int,
        entered: float,
        key: str | None = None,
    ) -> tuple[StageEstimate, int]:
        """Return the estimate of a stage, and the bytes of a value of its output.

        Args:
            before: the core of the stage before; None for the first stage.
            core: the core that runs the stage.
            entering: the cut at which the stage begins; None for the input.
            leaving: the cut at which it ends; None for the output.
            changes: changes that gates make to layers, by site.
            width: bytes of one value that the stage before passes on.
            entered: bits that enter the stage if each value has 8 bits.
            key: the stage's key in caches; None if the changes also depend on measured reports of layer gates.
        """
        work = self.pricer.stage(core, entering, leaving, changes, key)
        values = self._values_at(entering), 0.0 if leaving is None else float(leaving.work.elements)
        loop_us = float(self.pricer.loop_us(core, before, values, (width, work.width)))
        work = work._replace(reading=work.reading + loop_us)
        estimate = self._estimate(before or self.sense_core, core, entering, leaving, work, entered * width)
        return estimate, work.width

    def _cuts(self, plan: GatePlan) -> list[PlacedCut]:
        cuts = []
        for placed in cut_gates(plan):
            cut = self._placed_cuts.get(placed)
            if cut is None:
                cut = self._placed_cuts[placed] = PlacedCut.place(placed, find(self.sites, placed.site))
            cuts.append(cut)
        return cuts

    def _values_at(self, entering: PlacedCut | None) -> float:
        """Return the number of values that enter a stage; None stands for the input."""
        return float(self.table.input_elements if entering is None else entering.work.elements)

    @cached_property
    def input_bits(self) -> float:
        """The bits of one input sample with 8 bits for each value."""
        return float(self.table.input_elements * CROSSING_BITS)

    def _estimate(
        self,
        before: Core,
        core: Core,
        entering: PlacedCut | None,
        leaving: PlacedCut | None,
        work: StageWork,
        bits: float,
    ) -> StageEstimate:
        """Return the estimate of a stage; ``bits`` enter it from the core of the stage before."""
        exit_work = self.pricer.exit(core, leaving) if leaving is not None and leaving.work.exit_macs else None
        (flash, sram), exit_estimate = work.memory_bytes(core), None
        if exit_work is not None and leaving is not None:
            exit_flash, exit_sram = exit_work.memory_bytes(core)
            flash, sram = flash + exit_flash, max(sram, exit_sram)
            exit_estimate = ExitEstimate(
                macs=exit_work.macs,
                params=leaving.work.exit_params,
                cost=self._cost(core, core, exit_work, 0.0),
            )
        return StageEstimate(
            first_site=entering.site.name if entering else self.table.sites[0],
            last_site=leaving.site.name if leaving else END,
            macs=work.macs,
            flash_bytes=flash,
            sram_bytes=sram,
            cost=self._cost(before, core, work, bits),
            provenance=core.provenance,
            exit=exit_estimate,
            width=work.width,
        )

    @cached_property
    def run_costs(self) -> RunCosts:
        """The coefficients of plans' expected times and energies; see :class:`gatesearch.cost.run_costs.RunCosts`."""
        return RunCosts(self)

    def _keys(self, plan: GatePlan) -> list[str]:
        """Return the key of each stage of a plan.

        Keys are cached, because a sampler tries all choices of cores for the same gates.
        """
        keys = self._key_cache.get(plan.gates)
        if keys is None:
            if len(self._key_cache) >= MAX_KEYS:
                self._key_cache.clear()
            keys = self._key_cache[plan.gates] = self._stage_keys.build(self._cuts(plan), layer_gates(plan))
        return keys

    @cached_property
    def every_window(self) -> Terms:
        """The cost of a window that reaches no stage."""
        return self.coefficients(GatePlan((), (self.device.core_names[0],)), None)[0]

    def coefficients(self, plan: GatePlan, observed: Mapping[str, Mapping[str, float]] | None) -> tuple[Terms, ...]:
        """Return the coefficients of a plan from the estimates of its stages; see :attr:`run_costs`."""
        estimates = self.stages(plan, observed=observed)
        terms = [_terms_of(estimate.cost) for estimate in estimates]
        exits = [(k, _terms_of(each.exit.cost)) for k, each in enumerate(estimates) if each.exit is not None]
        idle = math.fsum(self.device.resting_mw.values()) * self.period_s * 1e3
        frontend_uj = self.device.added_uj(self.sense_core, self.frontend_us)
        always = self.device.sense.window_uj(self.period_s) + frontend_uj + idle
        return ((self.frontend_us, always), *add_exits(terms, exits))

    def _cost(self, before: Core, core: Core, work: StageWork, bits: float) -> StageCost:
        """Return the cost of one run on a core; if ``before`` is another core, ``bits`` cross their link."""
        latency = core.latency_us(work.reading)
        crosses = core.name != before.name
        link = self.device.link(before.name, core.name) if crosses else None
        return StageCost(
            core=core.name,
            latency_us=latency,
            compute_uj=self.device.added_uj(core, latency),
            weights_uj=core.weights_uj(work.weight_bytes),
            link_us=link.transfer_us(bits / 8) if link else 0.0,
            link_uj=link.transfer_uj(bits / 8) if link else 0.0,
            wake_us=core.wake_us.value if crosses else 0.0,
            wake_uj=core.wake_uj.value if crosses else 0.0,
        )

    @_at_clocks_of_plan
    def price(
        self,
        plan: GatePlan,
        passed: Mapping[str, Sequence[float]],
        densities: Sequence[float] | None = None,
        observed: Mapping[str, Mapping[str, float]] | None = None,
    ) -> Price:
        """Return the price of a plan at measured pass rates.

        Args:
            plan: gates, and a core for every stage.
            passed: for each kind of window, the share of its windows that reaches each stage; the first entry is 1.
                These shares do not say how often gates open. If stages run by hops, the price therefore lacks the cost
                of catching up; see :meth:`price_stream`.
            densities: see :meth:`stages`.
            observed: see :meth:`stages`.
        """
        if self.hops is not None:
            reached = [Activity(share, 0.0) for share in self._reach(passed)]
            return self.price_stream(plan, [STEADY, *reached], densities, observed)
        return self._total(self.stages(plan, densities, observed), passed)

    def _reach(self, passed: Mapping[str, Sequence[float]]) -> list[float]:
        """Return the share of the stream's windows that reaches each stage."""
        conditional = {kind: [b / a if a else 0.0 for a, b in pairwise(row)] for kind, row in passed.items()}
        return reach(self.shares, conditional)

    @_at_clocks_of_plan
    def price_stream(
        self,
        plan: GatePlan,
        activities: Sequence[Activity],
        densities: Sequence[float] | None = None,
        observed: Mapping[str, Mapping[str, float]] | None = None,
        signal: str | None = None,
    ) -> Price:
        """Return the price of a plan over a stream; without a hop table, a hop costs as much as a whole window.

        Args:
            plan: gates, and a core for every stage.
            activities: the activity of the front end, followed by that of each stage.
            densities: see :meth:`stages`.
            observed: see :meth:`stages`.
            signal: statistic of the gate before the front end; None without such a gate. The gate runs at every hop,
                and its energy counts as energy of the front end.
        """
        windows = self.stages(plan, densities, observed)
        price = price_by_hops(
            windows,
            self._hop_stages(plan, windows, densities),
            activities,
            device=self.device,
            frontend_us=WindowAndHop(window=self.frontend_us, hop=(self.by_hop or self).frontend_us),
            period_s=self.period_s,
            phases=self.hops.phases if self.hops is not None and self.runs_by_hops(plan) else 1,
        )
        if signal is None:
            return price
        return replace(price, energy=price.energy.add("frontend", self.sense_core.name, self.signal_gate_uj(signal)))

    def signal_gate_uj(self, statistic: str) -> float:
        """Return the energy of a gate before the front end at each hop, in microjoules."""
        us = signal_gate_us(self.sense_core, self.kernels.get(self.sense_core.name), self.signal_forms[statistic])
        return self.device.added_uj(self.sense_core, us)

    def at_clocks(self, clocks: Clocks) -> CostModel:
        """Return the cost model of the device at the clocks of a plan; without clocks, return this model.

        Raises:
            UserError: the device has no such core, or the core has no such clock.
        """
        if not clocks:
            return self
        model = self._by_clocks.get(clocks)
        if model is None:
            model = self._by_clocks[clocks] = replace(self, device=self.device.at_clocks(clocks))
        return model

    @cached_property
    def by_hop(self) -> CostModel | None:
        """The cost model of a single hop; None if the costs of a hop are not available."""
        if self.hops is None:
            return None
        assert self.frontend_hop is not None  # the caller gives frontend_hop together with hops
        return replace(
            self,
            table=self.hops.table,
            sites=self.hops.sites(self.sites),
            frontend=self.frontend_hop,
            layers=(),
            kernels={},
            hops=None,
        )

    @cached_property
    def by_window(self) -> CostModel:
        """The cost model in which each hop runs a whole window."""
        return replace(self, hops=None)

    def runs_by_hops(self, plan: GatePlan) -> bool:
        """Return whether the stages of a plan run by hops; a gated layer prevents this, as it needs whole windows."""
        return self.hops is not None and not layer_gates(plan)

    def _hop_stages(
        self, plan: GatePlan, windows: Sequence[StageEstimate], densities: Sequence[float] | None = None
    ) -> tuple[StageEstimate, ...]:
        """Return each stage of a plan for a hop: on the new frames, or on the whole window if it needs less energy."""
        if self.by_hop is None or not self.runs_by_hops(plan):
            return tuple(windows)
        steps = self.by_hop.stages(plan, densities)
        pairs = zip(steps, windows, strict=True)
        return tuple(min(pair, key=lambda estimate: math.fsum(estimate.cost.terms.values())) for pair in pairs)

    def _stream_bound(self, plan: GatePlan) -> Price:
        """Return a lower bound of a plan's price over a stream: all gates stay closed."""
        return self.price_stream(plan, [STEADY, STEADY, *[Activity(0.0, 0.0)] * len(cut_gates(plan))])

    def _memory(self, plan: GatePlan) -> tuple[StageEstimate, ...]:
        """Return the stages of a plan with the memory that they take over a stream."""
        windows = self.stages(plan)
        if self.hops is None or self.by_hop is None or not self.runs_by_hops(plan):
            return windows
        crossing = [cut.site.elements for cut in self._cuts(plan)]
        return with_hop_memory(windows, self.by_hop.stages(plan), self.hops, cut_gates(plan), crossing)

    def _total(self, estimates: Sequence[StageEstimate], passed: Mapping[str, Sequence[float]]) -> Price:
        """Return the price of stages; ``passed`` holds, by kind, the share of windows that reaches each stage."""
        costs = [estimate.cost for estimate in estimates]
        reached = self._reach(passed)
        exits = {k: estimate.exit for k, estimate in enumerate(estimates) if estimate.exit is not None}
        # An exit is priced like another stage, which runs for the windows that reach its stage and not the next one.
        run_shares = [*reached, *(reached[k] - reached[k + 1] for k in exits)]
        runs = [*costs, *(exit.cost for exit in exits.values())]
        energy = expected_energy(
            runs,
            run_shares,
            idle_mw=self.device.resting_mw,
            period_s=self.period_s,
            sense_core=self.sense_core.name,
            sense_uj=self.device.sense.window_uj(self.period_s),
            frontend_uj=self.device.added_uj(self.sense_core, self.frontend_us),
        )
        macs = [*(e.macs for e in estimates), *(exit.macs for exit in exits.values())]
        period_us, always = self.period_s * 1e6, {self.sense_core.name: self.frontend_us}
        paths = [costs, *([*costs[: k + 1], exit.cost] for k, exit in exits.items())]
        return Price(
            reach=tuple(reached),
            expected_macs=sum(share * count for share, count in zip(run_shares, macs, strict=True)),
            expected_latency_us=expected_latency_us(runs, run_shares, self.frontend_us),
            longest_latency_us=max(longest_latency_us(path, self.frontend_us) for path in paths),
            energy=energy,
            exits=dict(zip(exits, energy.by_stage[len(costs) :], strict=True)),
            utilisation=mean_utilisation(runs, run_shares, period_us, always),
            worst_utilisation=worst_utilisation(paths, period_us, always),
        )

    def shift_prevalence(self, prevalence: float) -> CostModel:
        """Return the model for a stream with another share of positives; the mixture of negatives does not change."""
        return replace(self, shares=shift_prevalence(self.shares, prevalence))

    @_at_clocks_of_plan
    def bound(self, plan: GatePlan) -> Price:
        """Return a lower bound of a plan's price: its price at the lowest pass rates that its gates' parameters allow.

        At these rates every gate stops all negatives. A gate with an exit also stops the share of positives that the
        exit is meant to answer. If the stages run by hops, every gate stays closed.
        """
        if self.hops is not None:
            return self._stream_bound(plan)
        return self._total(self.stages(plan), self._lowest_rates(plan))

    def _lowest_rates(self, plan: GatePlan) -> dict[str, Sequence[float]]:
        cuts = self._cuts(plan)
        positives = [1.0, *accumulate((1.0 - cut.work.leaving for cut in cuts), operator.mul)]
        negatives = [1.0] + [0.0] * len(cuts)
        return {kind: positives if kind == "positive" else negatives for kind in self.shares}

    def overflows(self, plan: GatePlan) -> dict[str, float]:
        """Return the excess of each memory that is too small for a plan, as a share of its size; empty if all fits.

        See :func:`gatesearch.cost.feasibility.memory_overflows` for the keys.
        """
        return feasibility.memory_overflows(self.device, self._memory(replace(plan, clocks=())))

    def memory_bytes(self, plan: GatePlan) -> dict[str, dict[str, float]]:
        """Return the bytes of ``"flash"`` and of ``"sram"`` that a plan takes on each of its cores."""
        return feasibility.memory_bytes(self._memory(replace(plan, clocks=())))

    @_at_clocks_of_plan
    def violations(self, plan: GatePlan) -> dict[str, float]:
        """Return every reason why the device cannot run a plan, each with a number above 0; empty if it can.

        See :func:`gatesearch.cost.feasibility.violations` and :func:`gatesearch.cost.feasibility.overloads` for the
        reasons.
        """
        gated_cores = [plan.cores[self.stage_of(plan, gate.site)] for gate in layer_gates(plan)]
        cores = [self.sense_core.name, *plan.cores]
        estimates, bound = self._memory(plan), self.bound(plan)
        return feasibility.violations(self.device, estimates, cores, gated_cores) | feasibility.overloads(
            bound.utilisation, bound.worst_utilisation, self.max_utilisation
        )

    def block_us(self, core: Core, block: str) -> float:
        """Return the microseconds that a core takes for a block with all its channels."""
        row = self.table.blocks[block]
        values = row["values"](1.0, 1.0) if "values" in row else 0.0
        return core.latency_us(row[core.name](1.0, 1.0) + core.cost_per_value * values)

    def stage_of(self, plan: GatePlan, layer: str) -> int:
        """Return the index of the stage of a plan that contains a layer."""
        order = self.table.sites
        block = order.index(self.table.layers[layer].block)
        return sum(order.index(gate.site) <= block for gate in cut_gates(plan))

    def ungated_plans(self) -> list[GatePlan]:
        """Return the plan without gates on each core and clock that can run it, or on all of them if none can."""
        slots = list_clock_slots(self.device)
        plans = [
            GatePlan((), (name,), clocks) for name in self.device.core_names for clocks in clock_choices(slots, [name])
        ]
        return [plan for plan in plans if not self.violations(plan)] or plans

    def ungated(self) -> tuple[GatePlan, Price]:
        """Return the plan without gates that needs the least energy, over all cores and clocks, and its price."""
        priced = [(plan, self.price_stream(plan, [STEADY, STEADY])) for plan in self.ungated_plans()]
        return min(priced, key=lambda pair: pair[1].energy.total_uj)


def _terms_of(cost: StageCost) -> Terms:
    return cost.total_us, math.fsum(cost.terms.values())
