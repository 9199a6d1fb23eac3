"""The price of a plan: exact in what is known before training, an expectation over the stream in what is not."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate, pairwise

from gatesearch.cost.blocks import END
from gatesearch.cost.energy import (
    StageCost,
    at_prevalence,
    expected_energy,
    expected_latency_us,
    longest_latency_us,
    reach,
)
from gatesearch.cost.kernel_costs import KernelCosts
from gatesearch.cost.layers import layer_changes
from gatesearch.cost.price import ExitEstimate, Price, StageEstimate
from gatesearch.cost.stage import CROSSING_BITS, PlacedCut, StagePricer, StageWork, crossing_bits
from gatesearch.cost.table import Table
from gatesearch.devices.profile import Core, Device
from gatesearch.gates import cut_gates, layer_gates
from gatesearch.graph.sites import CutSite, LayerSite, find
from gatesearch.plan import GatePlan, PlacedGate

Terms = tuple[float, float]  # microseconds and microjoules


@dataclass(frozen=True)
class CostModel:
    """Prices plans for one backbone on one device.

    Args:
        device: cores, links, constants.
        table: readings of this backbone's blocks.
        sites: where gates may stand, as the table was built for them.
        frontend_macs: of the front end, per window.
        period_s: seconds from window to window.
        shares: share of each kind in the stream.
        layers: where gates may stand in the place of layers.
        kernels: what the kernels of gated layers cost, by name, on cores that the table does not time itself.
    """

    device: Device
    table: Table
    sites: tuple[CutSite, ...]
    frontend_macs: int
    period_s: float
    shares: Mapping[str, float]
    layers: tuple[LayerSite, ...] = ()
    kernels: Mapping[str, KernelCosts] = field(default_factory=dict)
    # A search prices thousands of plans, which share their stages.
    _stage_terms: dict[tuple[str, str, tuple[PlacedGate, ...], int, bool], Terms] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @cached_property
    def _pricer(self) -> StagePricer:
        return StagePricer(self.table, self.layers, self.kernels)

    @property
    def sense_core(self) -> Core:
        """The core that is always awake and runs the front end."""
        return self.device.core(self.device.sense.core)

    @property
    def frontend_us(self) -> float:
        """Time of the front end, in microseconds."""
        taken = self.sense_core.timing.frontend_us(self.frontend_macs)
        assert taken is not None  # the profile was checked for it
        return taken

    def stages(
        self,
        plan: GatePlan,
        densities: Sequence[float] | None = None,
        observed: Mapping[str, Mapping[str, float]] | None = None,
    ) -> tuple[StageEstimate, ...]:
        """Estimate every stage of a plan.

        Args:
            plan: with a core for every stage.
            densities: for each gate the measured share of the site's values that are not zero behind it, suppressed
                channels being zero; before training, what the gate's parameters say.
            observed: for each gate in the place of a layer, by site, its report; before training, the least that is
                left by its parameters.

        Raises:
            UserError: a site or core of the plan does not exist.
            ValueError: not one core a stage.
        """
        cuts = self._cuts(plan)
        changes = layer_changes(layer_gates(plan), self.layers, observed or {})
        bits = [float(self.table.input_elements * CROSSING_BITS), *crossing_bits(cuts, densities)]
        estimates: list[StageEstimate] = []
        before, width = self.sense_core, 1
        for name, entering, leaving, entered in zip(plan.cores, [None, *cuts], [*cuts, None], bits, strict=True):
            core = self.device.core(name)
            work = self._pricer.stage(core, entering, leaving, changes)
            loop_us = self._pricer.loop_us(core, before if estimates else None, entering, leaving, (width, work.width))
            work = work._replace(reading=work.reading + loop_us)
            estimates.append(self._estimate(before, core, entering, leaving, work, entered * width))
            before, width = core, work.width
        return tuple(estimates)

    def _cuts(self, plan: GatePlan) -> list[PlacedCut]:
        return [PlacedCut.of(placed, find(self.sites, placed.site)) for placed in cut_gates(plan)]

    def _estimate(
        self,
        before: Core,
        core: Core,
        entering: PlacedCut | None,
        leaving: PlacedCut | None,
        work: StageWork,
        bits: float,
    ) -> StageEstimate:
        """Return the estimate of a stage that so many bits enter from the core before."""
        exit_work = self._pricer.exit(core, leaving) if leaving is not None and leaving.work.exit_macs else None
        flash, sram, leaves = work.weight_bytes, work.activation_bytes, None
        if exit_work is not None and leaving is not None:
            flash, sram = flash + exit_work.weight_bytes, max(sram, exit_work.activation_bytes)
            leaves = ExitEstimate(exit_work.macs, leaving.work.exit_params, self._cost(core, core, exit_work, 0.0))
        return StageEstimate(
            first_site=entering.site.name if entering else self.table.sites[0],
            last_site=leaving.site.name if leaving else END,
            macs=work.macs,
            flash_bytes=flash,
            sram_bytes=sram,
            cost=self._cost(before, core, work, bits),
            provenance=core.timing.provenance,
            exit=leaves,
        )

    def runs(self, plan: GatePlan, observed: Mapping[str, Mapping[str, float]] | None = None) -> tuple[Terms, ...]:
        """Return the terms of a plan's expected costs, microseconds and microjoules: see :meth:`price`.

        They are linear in the shares that reach each stage: the first pair is the cost of every window, pair ``k + 1``
        what a window that reaches stage ``k`` adds. Infinite where a core cannot run a stage.
        """
        if layer_gates(plan) or any(cut.work.exit_macs for cut in self._cuts(plan)):
            return self._terms(plan, observed)
        terms, before = [self._every_window], self.sense_core.name
        for k, core in enumerate(plan.cores):
            # A stage costs the same in any plan with these neighbours; the gate before them decides its input's width.
            first = max(0, k - 2)
            around = plan.gates[first : k + 1]
            key = (before, core, around, k - first, k < len(plan.gates))
            if key not in self._stage_terms:
                leaving = (core,) if k < len(plan.gates) else ()
                cores = (before,) * (k - first) + (core, *leaving)
                self._stage_terms[key] = self._terms(GatePlan(around, cores), observed)[k - first + 1]
            terms.append(self._stage_terms[key])
            before = core
        return tuple(terms)

    @cached_property
    def _every_window(self) -> Terms:
        """The cost of a window that reaches no stage."""
        return self._terms(GatePlan((), (self.device.core_names[0],)), None)[0]

    def _terms(self, plan: GatePlan, observed: Mapping[str, Mapping[str, float]] | None) -> tuple[Terms, ...]:
        estimates = self.stages(plan, observed=observed)
        terms = [_terms_of(estimate.cost) for estimate in estimates]
        for k, estimate in enumerate(estimates):
            if estimate.exit is not None:  # a window that leaves here reaches this stage and not the next one
                us, uj = _terms_of(estimate.exit.cost)
                terms[k] = (terms[k][0] + us, terms[k][1] + uj)
                terms[k + 1] = (terms[k + 1][0] - us, terms[k + 1][1] - uj)
        idle = math.fsum(core.idle_mw.value for core in self.device.cores) * self.period_s * 1e3
        always = self.device.sense.window_uj(self.period_s) + self.sense_core.compute_uj(self.frontend_us) + idle
        return ((self.frontend_us, always), *terms)

    def _cost(self, before: Core, core: Core, work: StageWork, bits: float) -> StageCost:
        """Price one run on a core; entering it from another one moves bits over the link between them."""
        latency = core.timing.latency_us(work.reading)
        crosses = core.name != before.name
        link = self.device.link(before.name, core.name) if crosses else None
        return StageCost(
            core=core.name,
            latency_us=latency,
            compute_uj=core.compute_uj(latency),
            weights_uj=core.weights_uj(work.weight_bytes),
            link_us=link.transfer_us(bits / 8) if link else 0.0,
            link_uj=link.transfer_uj(bits / 8) if link else 0.0,
            wake_us=core.wake_us.value if crosses else 0.0,
            wake_uj=core.wake_uj.value if crosses else 0.0,
        )

    def price(
        self,
        plan: GatePlan,
        passed: Mapping[str, Sequence[float]],
        densities: Sequence[float] | None = None,
        observed: Mapping[str, Mapping[str, float]] | None = None,
    ) -> Price:
        """Price a plan whose gates let through what was measured.

        Args:
            plan: with a core for every stage.
            passed: for each kind, the share that reaches stage k, the first entry being 1.
            densities, observed: see :meth:`stages`.
        """
        estimates = self.stages(plan, densities, observed)
        costs = [estimate.cost for estimate in estimates]
        conditional = {kind: [b / a if a else 0.0 for a, b in pairwise(row)] for kind, row in passed.items()}
        reached = reach(self.shares, conditional)
        exits = {k: estimate.exit for k, estimate in enumerate(estimates) if estimate.exit is not None}
        leaving = [reached[k] - reached[k + 1] for k in exits]
        runs = [*costs, *(exit.cost for exit in exits.values())]
        energy = expected_energy(
            runs,
            [*reached, *leaving],
            idle_mw={core.name: core.idle_mw.value for core in self.device.cores},
            period_s=self.period_s,
            sense_core=self.sense_core.name,
            sense_uj=self.device.sense.window_uj(self.period_s),
            frontend_uj=self.sense_core.compute_uj(self.frontend_us),
        )
        macs = [*(e.macs for e in estimates), *(exit.macs for exit in exits.values())]
        paths = [costs, *([*costs[: k + 1], exit.cost] for k, exit in exits.items())]
        return Price(
            reach=tuple(reached),
            expected_macs=sum(r * m for r, m in zip([*reached, *leaving], macs, strict=True)),
            expected_latency_us=expected_latency_us(runs, [*reached, *leaving], self.frontend_us),
            longest_latency_us=max(longest_latency_us(path, self.frontend_us) for path in paths),
            energy=energy,
            exits=dict(zip(exits, energy.by_stage[len(costs) :], strict=True)),
        )

    def at_prevalence(self, prevalence: float) -> CostModel:
        """Return the same model for a stream with another share of positives, the negatives mixed as before."""
        return replace(self, shares=at_prevalence(self.shares, prevalence))

    def bound(self, plan: GatePlan) -> Price:
        """Price a plan whose gates let as little go on as their parameters say: none is cheaper.

        A gate stops every negative, and of the positives those that are meant to leave through its exit.
        """
        cuts = self._cuts(plan)
        going = [1.0, *accumulate((1.0 - cut.work.leaving for cut in cuts), operator.mul)]
        stopped = [1.0] + [0.0] * len(cuts)
        return self.price(plan, {kind: going if kind == "positive" else stopped for kind in self.shares})

    def overflows(self, plan: GatePlan) -> dict[str, float]:
        """Return by how much each memory is exceeded, as a share of it; empty where all fits."""
        return self._overflows(self.stages(plan))

    def _overflows(self, estimates: Sequence[StageEstimate]) -> dict[str, float]:
        over: dict[str, float] = {}
        for core in self.device.cores:
            here = [e for e in estimates if e.cost.core == core.name]
            used = {
                "flash": sum(e.flash_bytes for e in here) / (core.memory.flash_kib * 1024),
                "sram": max((e.sram_bytes for e in here), default=0.0) / (core.memory.sram_kib * 1024),
            }
            over.update({f"{core.name}.{memory}": share - 1 for memory, share in used.items() if share > 1})
        return over

    def stage_of(self, plan: GatePlan, layer: str) -> int:
        """Return the index of the stage of a plan in which a layer lies."""
        order = self.table.sites
        block = order.index(self.table.layers[layer].block)
        return sum(order.index(gate.site) <= block for gate in cut_gates(plan))

    def violations(self, plan: GatePlan) -> dict[str, float]:
        """Return what keeps the device from running a plan, each above 0; empty where it can.

        Beside :meth:`overflows`, these are operators that a core does not have (``"npu.operators"``), layers with gates
        on a core that runs int8 programs only (``"mcu.gated layers"``), and links that the device does not have
        (``"no link mcu to app"``), the one from the front end's core counted.
        """
        estimates = self.stages(plan)
        broken = self._overflows(estimates)
        for estimate in estimates:
            if any(math.isinf(run.latency_us) for run in estimate.runs):
                broken[f"{estimate.cost.core}.operators"] = 1.0
        for gate in layer_gates(plan):
            core = plan.cores[self.stage_of(plan, gate.site)]
            if not self.device.core(core).runs_float:  # int8 programs know no gated layers
                broken[f"{core}.gated layers"] = 1.0
        for before, core in pairwise([self.sense_core.name, *plan.cores]):
            if before != core and self.device.link(before, core) is None:
                broken[f"no link {before} to {core}"] = 1.0
        return broken

    def ungated(self) -> tuple[GatePlan, Price]:
        """Return the rival: the backbone without gates, on whichever core runs it with the least energy.

        Falls back on cores that cannot run it only where none can.
        """
        plans = [GatePlan((), (name,)) for name in self.device.core_names]
        fitting = [plan for plan in plans if not self.violations(plan)] or plans
        priced = [(plan, self.price(plan, {kind: [1.0] for kind in self.shares})) for plan in fitting]
        return min(priced, key=lambda pair: pair[1].energy.total_uj)


def _terms_of(cost: StageCost) -> Terms:
    return cost.total_us, math.fsum(cost.terms.values())
