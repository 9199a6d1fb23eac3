"""The space of plans that a search may propose: slots with choices of gates, cores for the stages, clocks of cores."""

from __future__ import annotations

import math
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, chain, combinations, combinations_with_replacement, pairwise, product
from typing import Any

from gatesearch.devices.profile import Clocks, ClockSlot, clock_choices
from gatesearch.gates import kind_of
from gatesearch.graph.sites import CutSite, LayerSite, Site
from gatesearch.plan import GatePlan, PlacedGate, Scalar
from gatesearch.search.slots import Gates, Slot, merge_values
from gatesearch.search.trial_protocol import CategoricalTrial, ReplayTrial

MAX_READ = 20_000  # largest number of plans that a space caches by their parameters


@dataclass(frozen=True)
class Space:
    """All plans that a search may propose. A plan takes one choice of each slot and one core for each stage.

    Args:
        slots: the slots of cut sites, followed by the slots of layer sites, each in the order in which data pass.
        cores: the cores in order of rising cost. No stage of a plan runs on an earlier core than the stage before it.
        min_gates, max_gates: smallest and largest number of cut slots that have a gate in a plan.
        clocks: the cores with several clock points. A plan chooses a clock for each of these cores that runs one of its
            stages or the front end.

    >>> [str(plan) for plan in Space((), ("mcu", "npu"), 0, 0).plans()]
    ['no gates on mcu', 'no gates on npu']
    """

    slots: tuple[Slot, ...]
    cores: tuple[str, ...]
    min_gates: int = 0
    max_gates: int = 3
    clocks: tuple[ClockSlot, ...] = ()

    @cached_property
    def cut_slots(self) -> tuple[Slot, ...]:
        """The slots whose gates end a stage."""
        return tuple(slot for slot in self.slots if slot.is_cut)

    @cached_property
    def layer_slots(self) -> tuple[Slot, ...]:
        """The slots whose gates replace layers."""
        return tuple(slot for slot in self.slots if not slot.is_cut)

    @cached_property
    def _cut_slot_of(self) -> dict[PlacedGate, int]:
        """The index of the cut slot that each gate fills."""
        return {gate: k for k, slot in enumerate(self.cut_slots) for gate in slot.gates}

    @cached_property
    def _plans_by_params(self) -> dict[frozenset[tuple[str, Any]], GatePlan | None]:
        """The plans that :meth:`read` returned, by parameters."""
        return {}

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_plans_by_params"}

    @property
    def cut_sites(self) -> tuple[CutSite, ...]:
        """The sites where a gate may end a stage, in the order in which data pass these sites."""
        return tuple(site for slot in self.cut_slots for site in slot.sites if isinstance(site, CutSite))

    @property
    def layer_sites(self) -> tuple[LayerSite, ...]:
        """The layers that a gate may replace, in the order in which data pass these layers."""
        return tuple(site for slot in self.layer_slots for site in slot.sites if isinstance(site, LayerSite))

    @property
    def layer_kinds(self) -> tuple[str, ...]:
        """The kinds of gates that may replace a layer."""
        return tuple(dict.fromkeys(kind for slot in self.layer_slots for kind in slot.kinds))

    @property
    def layer_gates(self) -> list[PlacedGate]:
        """Every gate that may replace a layer, site by site."""
        gates: list[PlacedGate] = []
        for slot in self.layer_slots:
            for site in slot.sites:
                gates += slot.gates_at(site)
        return gates

    def kinds_at(self, site: Site) -> list[str]:
        """Return the kinds of gates that may stand at a site; empty if the site is not searched."""
        slots = [slot for slot in self.slots if site in slot.sites]
        return list(dict.fromkeys(gate.kind for slot in slots for gate in slot.gates_at(site)))

    def plans_for(self, gates: Gates) -> list[GatePlan]:
        """Return every plan that has these gates: all choices of cores for its stages and of clocks for its cores."""
        filled = {self._cut_slot_of[gate] for gate in gates if gate in self._cut_slot_of}
        return [GatePlan(gates, cores, clocks) for cores, clocks in self.placements(1 + len(filled))]

    def placements(self, stages: int) -> list[tuple[tuple[str, ...], Clocks]]:
        """Return every choice of cores for a number of stages, each with every choice of clocks for these cores."""
        return [
            (cores, clocks)
            for cores in combinations_with_replacement(self.cores, stages)
            for clocks in clock_choices(self.clocks, cores)
        ]

    def propose(self, trial: CategoricalTrial) -> GatePlan:
        """Return the plan that a trial suggests.

        The trial first suggests the number of cut gates, from min_gates to max_gates. It then suggests that many sites.
        So every plan keeps these two limits, although the sampler does not know them.
        """
        filled = self._pick_cut_sites(trial)
        gates: list[PlacedGate] = []
        for gate_slot in self.slots:
            if not gate_slot.is_cut or gate_slot.sites[0].name in filled:
                gates += gate_slot.suggest(trial)
        cores = [str(trial.suggest_categorical(f"core_{k}", list(self.cores))) for k in range(len(filled) + 1)]
        clocks = []
        for slot in self._clock_slots(cores):
            point = str(trial.suggest_categorical(f"clock_{slot.core}", list(slot.points)))
            if point != slot.points[0]:
                clocks.append((slot.core, point))
        return GatePlan(tuple(gates), tuple(sorted(cores, key=self.cores.index)), tuple(sorted(clocks)))

    def describe(self, plan: GatePlan) -> dict[str, Scalar]:
        """Return the trial parameters, by name, with which :meth:`propose` returns a plan."""
        choices = [(slot, slot.choice_in(plan.gates)) for slot in self.slots]
        filled = [slot.sites[0].name for slot, choice in choices if slot.is_cut and choice]
        params: dict[str, Scalar] = {"gates": len(filled)}
        params |= {f"site_{k}": name for k, name in enumerate(filled)}
        for slot, choice in choices:
            if choice or not slot.is_cut:
                params |= slot.describe(choice)
        params |= {f"core_{k}": core for k, core in enumerate(plan.cores)}
        points = dict(plan.clocks)
        return params | {
            f"clock_{clock.core}": points.get(clock.core, clock.points[0]) for clock in self._clock_slots(plan.cores)
        }

    def read(self, params: Mapping[str, Any]) -> GatePlan | None:
        """Return the plan that a trial's parameters describe; None if the parameters belong to another space."""
        # The plans are cached, because a search that goes on reads each stored trial in several places.
        try:
            key = frozenset((name, value) for name, value in params.items() if name in self.param_names)
        except TypeError:  # a value that cannot be hashed is no choice of this space
            return None
        plans = self._plans_by_params
        if key in plans:
            return plans[key]
        try:
            plan = self.propose(ReplayTrial(params))
        except KeyError:
            plan = None
        if len(plans) < MAX_READ:
            plans[key] = plan
        return plan

    def param_choices(self, plan: GatePlan) -> dict[str, tuple[Scalar, ...]]:
        """Return, for each trial parameter of a plan (see :meth:`describe`), the choices that a trial has."""
        trial = ReplayTrial(self.describe(plan))
        self.propose(trial)
        return trial.choices

    @cached_property
    def param_names(self) -> frozenset[str]:
        """The names of all parameters that a trial may have in this space."""
        names = {"gates", *(f"site_{k}" for k in range(self.max_gates))}
        names |= {f"core_{k}" for k in range(self.max_gates + 1)}
        names |= {f"clock_{slot.core}" for slot in self.clocks}
        return frozenset(names.union(*(slot.param_names for slot in self.slots)))

    def plans(self) -> Iterator[GatePlan]:
        """Yield each plan once, those with few gates first."""
        layer_choices = [tuple(chain.from_iterable(row)) for row in product(*(s.choices for s in self.layer_slots))]
        for count in range(self.min_gates, self.max_gates + 1):
            for slots in combinations(self.cut_slots, count):
                for row in product(*(slot.choices[1:] for slot in slots)):
                    cut_gates = tuple(chain.from_iterable(row))
                    for plan, layer_gates in product(self.plans_for(cut_gates), layer_choices):
                        yield replace(plan, gates=(*cut_gates, *layer_gates))

    def variants(self) -> list[PlacedGate]:
        """Return one cut gate for each combination of parameter values that results in a different program."""
        gates: dict[str, list[PlacedGate]] = {}
        for slot in self.cut_slots:
            for gate in slot.gates:
                gates.setdefault(gate.kind, []).append(gate)
        variants = []
        for kind, same_kind in gates.items():
            new_programs = kind_of(kind).Params.new_programs()
            values = {name: row for name, row in merge_values(same_kind).items() if name in new_programs}
            for row in product(*values.values()):
                variants.append(PlacedGate.of(kind, "any", **dict(zip(values, row, strict=True))))
        return variants

    def __contains__(self, plan: GatePlan) -> bool:
        choices = [(slot, slot.choice_in(plan.gates)) for slot in self.slots]
        filled = sum(1 for slot, choice in choices if slot.is_cut and choice)
        return (
            self.min_gates <= filled <= self.max_gates
            and all(choice in slot.choices for slot, choice in choices)
            and tuple(chain.from_iterable(choice for _, choice in choices)) == plan.gates
            and plan in self.plans_for(plan.gates)
        )

    def __len__(self) -> int:
        """Number of different plans, or ``sys.maxsize`` where there are more."""
        # ways[n] counts the ways to fill n of the cut slots so far. The loop adds one slot at a time. The added slot
        # stays empty, or one of its gates fills it.
        ways = [1] + [0] * self.max_gates
        for slot in self.cut_slots:
            gates = len(slot.choices) - 1
            ways = [ways[0], *(same + gates * fewer for fewer, same in pairwise(ways))]
        total = 0
        for count in range(self.min_gates, self.max_gates + 1):
            total += ways[count] * self._count_placements(count + 1)
        return min(total * math.prod(len(slot.choices) for slot in self.layer_slots), sys.maxsize)

    def _count_placements(self, stages: int) -> int:
        """Return the number of choices of cores and clocks for a number of stages."""
        always = math.prod(len(slot.points) for slot in self.clocks if slot.always)
        points = {slot.core: len(slot.points) for slot in self.clocks if not slot.always}
        # ways[n] counts the choices for the first n stages with the cores so far. The loop adds one core at a time.
        # Stages run on cores in order, so the added core runs none of the n stages, or the last ones. If it runs any,
        # its clock is chosen once.
        ways = [1] + [0] * stages
        for core in self.cores:
            before = list(accumulate(ways))
            ways = [1, *(ways[n] + points.get(core, 1) * before[n - 1] for n in range(1, stages + 1))]
        return always * ways[stages]

    def _clock_slots(self, cores: Collection[str]) -> list[ClockSlot]:
        """Return the cores whose clocks a plan with these cores chooses."""
        return [slot for slot in self.clocks if slot.matters(cores)]

    def _pick_cut_sites(self, trial: CategoricalTrial) -> list[str]:
        """Return the names of the cut sites at which a trial suggests a gate.

        If a trial suggests a site twice, the second suggestion stands for the next free site. So the plan has as many
        gates as the trial suggests.
        """
        names = [slot.sites[0].name for slot in self.cut_slots]
        count = int(trial.suggest_categorical("gates", list(range(self.min_gates, self.max_gates + 1))))  # type: ignore[arg-type]
        filled: list[str] = []
        for k in range(count):
            first = names.index(str(trial.suggest_categorical(f"site_{k}", names)))
            filled.append(next(name for name in names[first:] + names[:first] if name not in filled))
        return filled
