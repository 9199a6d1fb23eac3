"""The price of a plan: exact in what is known before training, an expectation over the stream in what is not."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from itertools import accumulate, groupby, pairwise
from typing import NamedTuple

from gatesearch.compile.number_format import BYTES, FLOAT, PLAIN, arithmetic, neediest
from gatesearch.cost.blocks import END, Native, Table, exit_of, in_float_on, variant_of
from gatesearch.cost.energy import (
    EnergyBreakdown,
    StageCost,
    at_prevalence,
    expected_energy,
    expected_latency_us,
    link_bits,
    longest_latency_us,
    reach,
)
from gatesearch.cost.kernel_costs import KernelCosts
from gatesearch.cost.layers import STEPWISE, LayerChange, dense_by_kernel, layer_changes
from gatesearch.devices.profile import Core, Device
from gatesearch.gates import CutWork, cut_gates, layer_gates, work_of
from gatesearch.graph.sites import CutSite, LayerSite, find
from gatesearch.plan import GatePlan, PlacedGate

LITTLE_US = 0.3  # what is left of a block that was one gated layer
PRECISION = 8  # bits of an activation that crosses from a stage in int8


@dataclass(frozen=True, slots=True)
class StageEstimate:
    """One stage of a plan on its core.

    Args:
        first_site, last_site: where it begins and ends; the last stage ends at ``"output"``.
        macs: per sample, gate head included.
        flash_bytes, sram_bytes: weights; activations alive at once.
        cost: time and energy of one run.
        provenance: how the time is known.
        exit: what a sample costs that leaves through the exit of the stage's gate, beside the stage; None where it has
            none. Its bytes are in those of the stage: both wait in the same memory.
    """

    first_site: str
    last_site: str
    macs: float
    flash_bytes: float
    sram_bytes: float
    cost: StageCost
    provenance: str
    exit: ExitEstimate | None = None


@dataclass(frozen=True, slots=True)
class ExitEstimate:
    """An exit on the core of its stage: MACs a sample that leaves, parameters, time and energy of one run."""

    macs: float
    params: int
    cost: StageCost


@dataclass(frozen=True, slots=True)
class Price:
    """What a plan costs over the stream, per window.

    ``reach`` is the share of the windows that reaches each stage; ``exits`` is, for each exit by the index of its
    stage, the energy by term, weighted by the share of the windows that leaves there.
    """

    reach: tuple[float, ...]
    expected_macs: float
    expected_latency_us: float
    longest_latency_us: float
    energy: EnergyBreakdown
    exits: Mapping[int, Mapping[str, float]] = field(default_factory=dict)


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
    _known: dict[tuple[str, PlacedGate | None, PlacedGate | None], _Used] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _priced: dict[tuple[str, str, tuple[PlacedGate, ...], int, bool], tuple[float, float]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

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
        cuts = [_Cut.of(placed, find(self.sites, placed.site)) for placed in cut_gates(plan)]
        changes = layer_changes(layer_gates(plan), self.layers, observed or {})
        bits = [float(self.table.input_elements * PRECISION), *_crossing_bits(cuts, densities)]
        estimates: list[StageEstimate] = []
        before, width = self.sense_core, 1
        for name, entering, leaving, entered in zip(plan.cores, [None, *cuts], [*cuts, None], bits, strict=True):
            core = self.device.core(name)
            used = self._used(core, entering, leaving, changes)
            around = self._around(core, before if estimates else None, entering, leaving, (width, used.width))
            used = used._replace(reading=used.reading + around)
            light = self._exit(core, leaving) if leaving is not None and leaving.work.exit_macs else None
            entering_bits, width = entered * width, used.width
            estimates.append(
                StageEstimate(
                    first_site=entering.site.name if entering else self.table.sites[0],
                    last_site=leaving.site.name if leaving else END,
                    macs=used.macs,
                    flash_bytes=used.weight_bytes + (light.weight_bytes if light else 0.0),
                    sram_bytes=max(used.activation_bytes, light.activation_bytes if light else 0.0),
                    cost=self._cost(before, core, used, entering_bits),
                    provenance=core.timing.provenance,
                    exit=ExitEstimate(light.macs, leaving.work.exit_params, self._cost(core, core, light, 0.0))
                    if leaving is not None and light is not None
                    else None,
                )
            )
            before = core
        return tuple(estimates)

    def runs(
        self, plan: GatePlan, observed: Mapping[str, Mapping[str, float]] | None = None
    ) -> tuple[tuple[float, float], ...]:
        """Return what a plan's expected costs are made of, microseconds and microjoules: see :meth:`price`.

        They are linear in who comes how far: the first pair is what every window costs, pair ``k + 1`` what one that
        reaches stage ``k`` adds. Infinite where a core cannot run a stage.
        """
        if layer_gates(plan) or any(_Cut.of(p, find(self.sites, p.site)).work.exit_macs for p in cut_gates(plan)):
            return self._linear(plan, observed)
        found, before = [self._every_window], self.sense_core.name
        for k, core in enumerate(plan.cores):
            # A stage costs the same in any plan with these neighbours; from the gate before them on, its input's width.
            first = max(0, k - 2)
            around = plan.gates[first : k + 1]
            key = (before, core, around, k - first, k < len(plan.gates))
            if key not in self._priced:
                leaving = (core,) if k < len(plan.gates) else ()
                cores = (before,) * (k - first) + (core, *leaving)
                self._priced[key] = self._linear(GatePlan(around, cores), observed)[k - first + 1]
            found.append(self._priced[key])
            before = core
        return tuple(found)

    @cached_property
    def _every_window(self) -> tuple[float, float]:
        """What a window costs that reaches no stage."""
        return self._linear(GatePlan((), (self.device.core_names[0],)), None)[0]

    def _linear(
        self, plan: GatePlan, observed: Mapping[str, Mapping[str, float]] | None
    ) -> tuple[tuple[float, float], ...]:
        estimates = self.stages(plan, observed=observed)
        spent = [(e.cost.total_us, math.fsum(e.cost.terms.values())) for e in estimates]
        for k, estimate in enumerate(estimates):
            if estimate.exit is not None:  # whoever leaves reached this stage and not the next
                left = (estimate.exit.cost.total_us, math.fsum(estimate.exit.cost.terms.values()))
                spent[k] = (spent[k][0] + left[0], spent[k][1] + left[1])
                spent[k + 1] = (spent[k + 1][0] - left[0], spent[k + 1][1] - left[1])
        idle = math.fsum(core.idle_mw.value for core in self.device.cores) * self.period_s * 1e3
        always = self.device.sense.window_uj(self.period_s) + self.sense_core.compute_uj(self.frontend_us) + idle
        return ((self.frontend_us, always), *spent)

    def _used(
        self, core: Core, entering: _Cut | None, leaving: _Cut | None, changes: Mapping[str, LayerChange]
    ) -> _Used:
        """Return what a stage takes on a core; without gated layers, as it was worked out before."""
        if changes:
            return self._added_up(core, entering, leaving, changes)
        key = (core.name, entering and entering.placed, leaving and leaving.placed)
        if key not in self._known:
            self._known[key] = self._added_up(core, entering, leaving, changes)
        return self._known[key]

    def _added_up(
        self, core: Core, entering: _Cut | None, leaving: _Cut | None, changes: Mapping[str, LayerChange]
    ) -> _Used:
        """Add up the blocks from one cut to the next, what gated layers change, and the gate head that ends them."""
        order = self.table.sites
        first = order.index(entering.site.name) if entering else 0
        last = order.index(leaving.site.name) if leaving else len(order)
        rows = []
        need = neediest(self.table.needs.get(name, PLAIN) for name in order[first:last])
        native = self.table.native.get(core.name)
        changes = {**self._dense_by_kernel(native), **changes}
        here = {name for name in changes if first <= order.index(self.table.layers[name].block) < last}
        if native is not None and any(changes[name].work is not None for name in here):
            need = FLOAT  # a stage with gated layers is in float as a whole
        width = BYTES[arithmetic(need, core)]
        timed = self._reading_name(core, need)
        costs = self.kernels.get(core.name) if native is None else native.kernels
        turns = _Turns()
        for b in range(first, last):
            kept_in = entering.share if entering and b == first else 1.0
            kept_out = leaving.share if leaving and b + 1 == last else 1.0
            block = self.table.blocks[order[b]]
            rows.append({name: surface(kept_in, kept_out) for name, surface in block.items()})
            rows[-1][core.name] = rows[-1][timed]
            for name, change in changes.items():
                if self.table.layers[name].block == order[b]:
                    layer = self.table.layers[name]
                    dense, thin = layer.readings[timed], layer.left(kept_in, kept_out)
                    there = layer.left(kept_in, block[timed].filled(kept_out))  # of its time in the block
                    if math.isfinite(dense):  # else the block is not, either
                        by_kernel = bool(change.kernels) and native is not None
                        taken = change.reading(dense, core, costs)
                        # A kernel has all channels of its layer, also where a cut thins out what is around it.
                        rows[-1][core.name] += taken - there * dense if by_kernel else there * (taken - dense)
                        if by_kernel:
                            turns.kernel(name, layer.behind)
                    rows[-1]["macs"] += thin * change.saved_macs
                    rows[-1]["weight_bytes"] += change.params
            if rows[-1][core.name] > self.table.overhead[core.name] + LITTLE_US:
                turns.stretch()
        empty = self.table.overhead[core.name]
        used = _Used(
            reading=sum(row[core.name] for row in rows) + (turns.programs - max(1, len(rows))) * empty,
            macs=sum(row["macs"] for row in rows),
            weight_bytes=sum(row["weight_bytes"] for row in rows) * width,
            activation_bytes=max((row["activation_bytes"] for row in rows), default=0.0) * width,
            width=width,
        )
        if leaving is None:
            return used
        head = self.table.heads[f"{variant_of(leaving.placed)}@{leaving.site.name}"]
        return _Used(
            reading=used.reading + max(0.0, head[timed](1.0, 1.0) - empty) * leaving.share + (0.0 if rows else empty),
            macs=used.macs + leaving.work.macs,
            weight_bytes=used.weight_bytes + width * leaving.work.params + (4 - width),  # the bias is one int32
            activation_bytes=used.activation_bytes if rows else float(leaving.site.elements),
            width=width,
        )

    def _dense_by_kernel(self, native: Native | None) -> dict[str, LayerChange]:
        """Return the recurrent layers that a core's kernels run where no gate stands in their place."""
        sites = (site for site in self.layers if site.op in STEPWISE and site.name in self.table.layers)
        changes = {} if native is None else {site.name: dense_by_kernel(site) for site in sites}
        return {name: c for name, c in changes.items() if native and c.by_kernels(native.kernels) is not None}

    def _reading_name(self, core: Core, need: str) -> str:
        """Return which reading of its blocks a stage of some need has on a core."""
        in_float = core.name in self.table.native and arithmetic(need, core) == "float32"
        name = in_float_on(core.name)
        return name if in_float and name in self.table.blocks[self.table.sites[0]] else core.name

    def _around(
        self,
        core: Core,
        before: Core | None,
        entering: _Cut | None,
        leaving: _Cut | None,
        widths: tuple[int, int],
    ) -> float:
        """Return what the host's loop takes around a stage, entered from another stage or, with None, from outside."""
        native = self.table.native.get(core.name)
        if native is None:
            return 0.0
        elements = [float(self.table.input_elements) if entering is None else float(entering.work.elements)]
        elements += [] if leaving is None else [float(leaving.work.elements)]
        taken = native.loop.byte * sum(elements) * widths[1]
        if before is None or before.name != core.name:
            return taken + native.loop.run
        if widths[0] != widths[1]:
            names = {width: form for form, width in BYTES.items()}
            crossing = f"{names[widths[0]]} {names[widths[1]]}"
            taken += native.loop.crossing + elements[0] * native.loop.crossings.get(crossing, 0.0)
        return taken + native.loop.stage

    def _exit(self, core: Core, leaving: _Cut) -> _Used:
        """Return what one run of the exit of a gate takes."""
        name = exit_of(leaving.placed, leaving.site.name)
        row, width = self.table.heads[name], BYTES[arithmetic(self.table.needs.get(name, PLAIN), core)]
        return _Used(
            reading=row[core.name](1.0, 1.0),
            macs=float(leaving.work.exit_macs),
            weight_bytes=row["weight_bytes"](1.0, 1.0) * width,
            activation_bytes=row["activation_bytes"](1.0, 1.0) * width,
            width=width,
        )

    def _cost(self, before: Core, core: Core, used: _Used, bits: float) -> StageCost:
        """Price one run on a core, entered from another with so many bits, or from itself for nothing."""
        latency = core.timing.latency_us(used.reading)
        crosses = core.name != before.name
        link = self.device.link(before.name, core.name) if crosses else None
        return StageCost(
            core=core.name,
            latency_us=latency,
            compute_uj=core.compute_uj(latency),
            weights_uj=core.weights_uj(used.weight_bytes),
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
        cuts = [_Cut.of(placed, find(self.sites, placed.site)) for placed in cut_gates(plan)]
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
            runs = [estimate.cost, *([estimate.exit.cost] if estimate.exit else [])]
            if any(math.isinf(run.latency_us) for run in runs):
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


class _Turns:
    """Plain stretches and kernels as they take turns in a stage."""

    def __init__(self) -> None:
        self._seen: list[bool] = []  # True for a stretch
        self._kernels: set[str] = set()

    def kernel(self, layer: str, behind: str | None) -> None:
        if behind is not None and behind not in self._kernels:
            self._seen.append(True)
        self._seen.append(False)
        self._kernels.add(layer)

    def stretch(self) -> None:
        self._seen.append(True)

    @property
    def programs(self) -> int:
        """How many programs there are: the last one, which has the gate's head or the answer, in any case."""
        return sum(stretch for stretch, _ in groupby([*self._seen, True]))


class _Used(NamedTuple):
    """What one run of a stage takes: a reading of the core's kind, MACs, bytes; ``width`` is that of a value."""

    reading: float
    macs: float
    weight_bytes: float
    activation_bytes: float
    width: int


class _Cut(NamedTuple):
    """A placed gate, its site and the work that it leaves."""

    placed: PlacedGate
    site: CutSite
    work: CutWork

    @classmethod
    @lru_cache(maxsize=10_000)  # a search prices thousands of plans of some dozens of gates
    def of(cls, placed: PlacedGate, site: CutSite) -> _Cut:
        return cls(placed, site, work_of(site, placed))

    @property
    def share(self) -> float:
        """Of the site's channels, those that are kept."""
        return self.work.kept_channels / self.site.channels


def _crossing_bits(cuts: Sequence[_Cut], densities: Sequence[float] | None) -> list[float]:
    nonzeros = [cut.work.density * cut.work.elements for cut in cuts]
    if densities is not None:
        nonzeros = [density * cut.site.elements for density, cut in zip(densities, cuts, strict=True)]
    kept = [cut.work.elements for cut in cuts]
    return [link_bits(of, full, of, PRECISION) for of, full in zip(kept, nonzeros, strict=True)]
