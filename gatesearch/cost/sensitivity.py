"""Sensitivity analysis: how much a run's result depends on the assumed constants of a device.

The assumed powers, wake-ups and links of a profile are accurate only to an order of magnitude. A claim should also hold
on a device whose constants are half as large, or one and a half times as large. The analysis multiplies each assumed
constant, and groups of these constants, by both factors. It prices the plan and its baseline again, and says how the
gain and the choice of the plan change.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from pydantic import BaseModel

from gatesearch.cost.energy import gain_end_to_end
from gatesearch.cost.model import CostModel
from gatesearch.devices.profile import Constant, Device, list_constants, path_segment
from gatesearch.metrics.streams import STEADY, Activity
from gatesearch.plan import GatePlan

FACTORS = (0.5, 1.5)
GROUPS: Mapping[str, tuple[str, ...]] = {
    "all powers": ("active_mw", "idle_mw", "floor_mw", "sensor_mw"),
    "all wake-ups": ("wake_us", "wake_uj"),
    "all links": ("nj_per_byte", "mb_per_s"),
}


class MeasuredPlan(NamedTuple):
    """A plan and the measurements of its gates, from which a cost model computes the plan's price.

    The fields are the arguments of :meth:`gatesearch.cost.model.CostModel.price` or, if there are activities, of
    :meth:`gatesearch.cost.model.CostModel.price_stream`. These methods compute the price and explain their arguments.
    """

    plan: GatePlan
    passed: Mapping[str, Sequence[float]]
    densities: Sequence[float] | None = None
    observed: Mapping[str, Mapping[str, float]] | None = None
    activities: Sequence[Activity] = ()
    signal: str | None = None

    def energies_uj(self, model: CostModel) -> tuple[float, float]:
        """Return the energy of the plan and the energy of the ungated backbone, at the prices of a cost model."""
        ungated, price = model.ungated()
        if not self.activities:
            own = model.price(self.plan, self.passed, self.densities, self.observed)
            return own.energy.total_uj, price.energy.total_uj
        own = model.price_stream(self.plan, self.activities, self.densities, self.observed, self.signal)
        return own.energy.total_uj, model.price_stream(ungated, (STEADY, STEADY)).energy.total_uj


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a run for one choice of the constants' values.

    Args:
        energy_uj: energy of the plan, in microjoules per window.
        ungated_uj: energy of the baseline: the ungated backbone on the core that needs the least energy for it. A
            changed constant may make another core the cheapest.
        picked: the plan that the recipe's rule picks; None if there are no trials to pick from.
    """

    energy_uj: float
    ungated_uj: float
    picked: GatePlan | None

    @property
    def gain(self) -> float:
        """Energy of the baseline divided by energy of the plan."""
        return gain_end_to_end(self.ungated_uj, self.energy_uj)


@dataclass(frozen=True, slots=True)
class Variation:
    """One constant, or a group of constants, multiplied by several factors.

    Args:
        name: path of the constant, or name of the group.
        constants: paths of the constants that vary.
        answers: the result for each factor.
        alone: whether the variation changes a single constant, not a group.
    """

    name: str
    constants: tuple[str, ...]
    answers: Mapping[float, Answer]
    alone: bool = True

    @property
    def swing(self) -> float:
        """The largest gain divided by the smallest."""
        gains = [answer.gain for answer in self.answers.values()]
        return max(gains) / min(gains)

    def flips(self, nominal: Answer) -> bool:
        """Return whether some factor changes the picked plan."""
        return any(answer.picked != nominal.picked for answer in self.answers.values())


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """The result at the profile's constants, and the results at changed constants.

    Args:
        nominal: the result at the profile's constants.
        constants: one entry per constant, the largest swing of the gain first.
        groups: one entry per group of :data:`GROUPS` that has constants in this profile.
        together: two results with all constants changed at once. In the first, each constant changes in the direction
            that lowers the gain when it changes alone; in the second, in the other direction. These extremes are less
            likely than any single change.
        unmoved: paths of assumed constants that are zero, which no factor changes.
    """

    nominal: Answer
    constants: tuple[Variation, ...]
    groups: tuple[Variation, ...]
    together: tuple[Answer, Answer]
    unmoved: tuple[str, ...] = field(default=())

    @property
    def gains(self) -> tuple[float, float]:
        """The smallest and the largest gain when one constant or one group varies."""
        variations = (*self.constants, *self.groups)
        gains = [answer.gain for variation in variations for answer in variation.answers.values()]
        return min(gains, default=self.nominal.gain), max(gains, default=self.nominal.gain)


def sensitivity(
    cost: CostModel,
    measured: MeasuredPlan,
    pick: Callable[[CostModel], GatePlan | None],
    factors: Sequence[float] = FACTORS,
) -> Sensitivity:
    """Vary every assumed constant of a device and compute the result again.

    Args:
        cost: the cost model with the profile's constants.
        measured: the plan whose energy and gain vary, with its measurements.
        pick: a function that returns the plan that the recipe's rule picks at the prices of a cost model.
        factors: factors by which a constant is multiplied; by default 50 % less and 50 % more.
    """

    def answer(scale: Mapping[str, float]) -> Answer:
        model = replace(cost, device=scale_constants(cost.device, scale)) if scale else cost
        return Answer(*measured.energies_uj(model), pick(model))

    def vary(name: str, paths: Collection[str], alone: bool) -> Variation:
        answers = {factor: answer(dict.fromkeys(paths, factor)) for factor in factors}
        return Variation(name=name, constants=tuple(paths), answers=answers, alone=alone)

    assumed = {path: one for path, one in list_constants(cost.device) if one.provenance == "assumed"}
    movable = [path for path, one in assumed.items() if one.value > 0]
    single = [vary(path, (path,), True) for path in movable]
    members = {name: [p for p in movable if p.rpartition(".")[2] in keys] for name, keys in GROUPS.items()}
    lower: dict[str, float] = {}
    higher: dict[str, float] = {}
    for variation in single:
        gains = {factor: variation.answers[factor].gain for factor in factors}
        by_gain = sorted(gains, key=gains.__getitem__)
        lower[variation.name], higher[variation.name] = by_gain[0], by_gain[-1]
    return Sensitivity(
        nominal=answer({}),
        constants=tuple(sorted(single, key=lambda variation: -variation.swing)),
        groups=tuple(vary(name, paths, False) for name, paths in members.items() if paths),
        together=(answer(lower), answer(higher)),
        unmoved=tuple(path for path, one in assumed.items() if one.value == 0),
    )


def scale_constants(device: Device, scale: Mapping[str, float]) -> Device:
    """Return a device with some constants multiplied by factors.

    Args:
        device: the device with the profile's constants.
        scale: the factor of each constant to change, by its path in
            :func:`gatesearch.devices.profile.list_constants`.

    Raises:
        ValueError: the device has no such path.

    >>> from gatesearch.devices.profile import load
    >>> scale_constants(load("host"), {"cores.host.active_mw": 0.5}).core("host").active_mw.value
    2500.0
    """
    unknown = set(scale) - {path for path, _ in list_constants(device)}
    if unknown:
        raise ValueError(f"device {device.name} has no constants {sorted(unknown)}")
    changed: Device = _scaled("", device, scale)
    return changed


def _scaled(path: str, node: Any, scale: Mapping[str, float]) -> Any:
    if not any(each.startswith(path) for each in scale):
        return node
    if isinstance(node, Constant):
        return node.model_copy(update={"value": node.value * scale.get(path, 1.0)})
    if isinstance(node, BaseModel):
        parts = {name: getattr(node, name) for name in type(node).model_fields}
        new = {name: _scaled(f"{path}.{name}".lstrip("."), part, scale) for name, part in parts.items()}
        return node.model_copy(update={name: part for name, part in new.items() if part is not parts[name]})
    if isinstance(node, tuple):
        return tuple(_scaled(f"{path}.{path_segment(item, i)}", item, scale) for i, item in enumerate(node))
    return node
