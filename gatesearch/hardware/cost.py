"""The price of a plan: exact in what is known before training, an expectation over the stream in what is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from gatesearch.gates import kind_of
from gatesearch.hardware.energy import (
    EnergyBreakdown,
    StageCost,
    expected_energy,
    expected_latency_us,
    link_bits,
    longest_latency_us,
    reach,
)
from gatesearch.hardware.profile import Core, Device
from gatesearch.hardware.table import END, Table, variant_of
from gatesearch.plan import GatePlan
from gatesearch.sites import CutSite, find

PRECISION = 8  # bits of an activation that crosses


@dataclass(frozen=True, slots=True)
class StageEstimate:
    """One stage of a plan on its core.

    Args:
        first_site, last_site: where it begins and ends; the last stage ends at ``"output"``.
        macs: per sample, gate head included.
        flash_bytes, sram_bytes: int8 weights; activations alive at once.
        cost: time and energy of one run.
        provenance: how the time is known.
    """

    first_site: str
    last_site: str
    macs: float
    flash_bytes: float
    sram_bytes: float
    cost: StageCost
    provenance: str


@dataclass(frozen=True, slots=True)
class Price:
    """What a plan costs over the stream, per window."""

    reach: tuple[float, ...]
    expected_macs: float
    expected_latency_us: float
    longest_latency_us: float
    energy: EnergyBreakdown


@dataclass(frozen=True)
class CostModel:
    """Prices plans for one backbone on one device.

    Args:
        device: cores, links, constants.
        table: readings of this backbone's blocks.
        sites: those of the table, in order.
        frontend_macs: of the front end, per window.
        period_s: seconds from window to window.
        shares: share of each kind in the stream.
    """

    device: Device
    table: Table
    sites: tuple[CutSite, ...]
    frontend_macs: int
    period_s: float
    shares: Mapping[str, float]

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

    def stages(self, plan: GatePlan, densities: Sequence[float] | None = None) -> tuple[StageEstimate, ...]:
        """Estimate every stage of a plan.

        Args:
            plan: with a core for every stage.
            densities: measured share of non-zero values of what crosses each gate; before training, what the gate's
                parameters say.
        """
        places = [find(self.sites, gate.site) for gate in plan.gates]
        works = [kind_of(gate.kind).work(site, gate) for gate, site in zip(plan.gates, places, strict=True)]
        order = [site.name for site in self.sites]
        estimates = []
        before = self.sense_core
        for k, core_name in enumerate(plan.cores):
            core = self.device.core(core_name)
            first = order.index(places[k - 1].name) if k else 0
            last = order.index(places[k].name) if k < len(places) else len(order)
            entering = works[k - 1].kept_channels / places[k - 1].channels if k else 1.0
            leaving = works[k].kept_channels / places[k].channels if k < len(places) else 1.0
            rows = []
            for b in range(first, last):
                shares = (entering if b == first else 1.0, leaving if b + 1 == last else 1.0)
                rows.append({name: surface(*shares) for name, surface in self.table.blocks[order[b]].items()})
            reading = sum(row[core_name] for row in rows) - max(0, len(rows) - 1) * self.table.overhead[core_name]
            macs = sum(row["macs"] for row in rows)
            weights = sum(row["weight_bytes"] for row in rows)
            if k < len(places):
                head = self.table.heads[f"{variant_of(plan.gates[k])}@{places[k].name}"]
                dense, empty = head[core_name](1.0, 1.0), self.table.overhead[core_name]
                reading += max(0.0, dense - empty) * leaving + (0.0 if rows else empty)
                macs += works[k].macs
                weights += works[k].params + 3
            alive = max(
                [row["activation_bytes"] for row in rows],
                default=float(places[k].elements if k < len(places) else 0),
            )
            if k:
                density = works[k - 1].density if densities is None else densities[k - 1]
                kept = works[k - 1].elements
                bits = link_bits(kept, density * kept, kept, PRECISION)
            else:
                bits = float(self.sites[0].elements * PRECISION)
            latency = core.timing.latency_us(reading)
            crossing = core_name != before.name
            link = self.device.link(before.name, core_name) if crossing else None
            cost = StageCost(
                core=core_name,
                latency_us=latency,
                compute_uj=core.compute_uj(latency),
                weights_uj=core.weights_uj(weights),
                link_us=link.transfer_us(bits / 8) if link else 0.0,
                link_uj=link.transfer_uj(bits / 8) if link else 0.0,
                wake_us=core.wake_us.value if crossing else 0.0,
                wake_uj=core.wake_uj.value if crossing else 0.0,
            )
            estimates.append(
                StageEstimate(
                    places[k - 1].name if k else order[0],
                    places[k].name if k < len(places) else END,
                    macs,
                    weights,
                    alive,
                    cost,
                    core.timing.provenance,
                )
            )
            before = core
        return tuple(estimates)

    def price(
        self, plan: GatePlan, passed: Mapping[str, Sequence[float]], densities: Sequence[float] | None = None
    ) -> Price:
        """Price a plan whose gates let through what was measured.

        Args:
            plan: with a core for every stage.
            passed: for each kind, the share that reaches stage k, the first entry being 1.
            densities: see :meth:`stages`.
        """
        estimates = self.stages(plan, densities)
        costs = [estimate.cost for estimate in estimates]
        conditional = {kind: [b / a if a else 0.0 for a, b in pairwise(row)] for kind, row in passed.items()}
        reached = reach(self.shares, conditional)
        energy = expected_energy(
            costs,
            reached,
            idle_mw={core.name: core.idle_mw.value for core in self.device.cores},
            period_s=self.period_s,
            sense_core=self.sense_core.name,
            sense_uj=self.device.sense.window_uj(self.period_s),
            frontend_uj=self.sense_core.compute_uj(self.frontend_us),
        )
        return Price(
            reach=tuple(reached),
            expected_macs=sum(r * e.macs for r, e in zip(reached, estimates, strict=True)),
            expected_latency_us=expected_latency_us(costs, reached, self.frontend_us),
            longest_latency_us=longest_latency_us(costs, self.frontend_us),
            energy=energy,
        )

    def bound(self, plan: GatePlan) -> Price:
        """Price a plan whose gates stop every negative and no positive: no training can make it cheaper."""
        stages = len(plan.cores)
        return self.price(
            plan,
            {kind: [1.0] * stages if kind == "positive" else [1.0] + [0.0] * (stages - 1) for kind in self.shares},
        )

    def overflows(self, plan: GatePlan) -> dict[str, float]:
        """Return by how much each memory is exceeded, as a share of it; empty where all fits."""
        over: dict[str, float] = {}
        estimates = self.stages(plan)
        for core in self.device.cores:
            here = [e for e in estimates if e.cost.core == core.name]
            used = {
                "flash": sum(e.flash_bytes for e in here) / (core.memory.flash_kib * 1024),
                "sram": max((e.sram_bytes for e in here), default=0.0) / (core.memory.sram_kib * 1024),
            }
            over.update({f"{core.name}.{memory}": share - 1 for memory, share in used.items() if share > 1})
        return over

    def ungated(self) -> tuple[GatePlan, Price]:
        """Return the rival: the backbone without gates, on whichever core runs it with the least energy.

        Falls back on cores whose memory it exceeds only where it fits none.
        """
        plans = [GatePlan((), (name,)) for name in self.device.core_names]
        fitting = [plan for plan in plans if not self.overflows(plan)] or plans
        priced = [(plan, self.price(plan, {kind: [1.0] for kind in self.shares})) for plan in fitting]
        return min(priced, key=lambda pair: pair[1].energy.total_uj)
