"""How far an answer moves when constants that were only assumed move: each by itself, and in groups; no I/O.

A profile's assumed powers, wake-ups and links are orders of magnitude. What a run claims should hold for a device that
draws half as much or half as much again; this says for which constants it does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from pydantic import BaseModel

from gatesearch.cost.energy import gain_end_to_end
from gatesearch.cost.model import CostModel
from gatesearch.devices.profile import Constant, Device, constants, label
from gatesearch.plan import GatePlan

FACTORS = (0.5, 1.5)
GROUPS: Mapping[str, tuple[str, ...]] = {
    "all powers": ("active_mw", "idle_mw", "sensor_mw"),
    "all wake-ups": ("wake_us", "wake_uj"),
    "all links": ("nj_per_byte", "mb_per_s"),
}


class Known(NamedTuple):
    """A plan and what is known of its gates; see :meth:`gatesearch.cost.model.CostModel.price`."""

    plan: GatePlan
    passed: Mapping[str, Sequence[float]]
    densities: Sequence[float] | None = None
    observed: Mapping[str, Mapping[str, float]] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a run says: energy of the plan and of its ungated rival in microjoules a window, and the plan picked.

    ``picked`` is None where nothing is known to pick from. The rival is whichever core runs the backbone with the least
    energy, so that it may change with a constant, too.
    """

    energy_uj: float
    ungated_uj: float
    picked: GatePlan | None

    @property
    def gain(self) -> float:
        """How many times less energy the gated plan needs."""
        return gain_end_to_end(self.ungated_uj, self.energy_uj)


@dataclass(frozen=True, slots=True)
class Moved:
    """One constant, or a group of them, at several factors of its value.

    Args:
        name: path of the constant, or name of the group.
        constants: paths that move.
        answers: by factor.
        alone: whether it is one constant and no group.
    """

    name: str
    constants: tuple[str, ...]
    answers: Mapping[float, Answer]
    alone: bool = True

    @property
    def swing(self) -> float:
        """From the smallest gain to the largest, as a factor."""
        gains = [answer.gain for answer in self.answers.values()]
        return max(gains) / min(gains)

    def flips(self, nominal: Answer) -> bool:
        """Whether another plan is picked at some factor."""
        return any(answer.picked != nominal.picked for answer in self.answers.values())


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """The answer, and what becomes of it.

    Args:
        nominal: by the profile as it is.
        constants: one entry a constant, the largest swing of the gain first.
        groups: the same for :data:`GROUPS` that have constants here.
        together: every constant at once, each to the side on which the gain is smaller by itself, and each to the other
            side: further than chance would take them.
        unmoved: constants that are zero, of which a share is nothing.
    """

    nominal: Answer
    constants: tuple[Moved, ...]
    groups: tuple[Moved, ...]
    together: tuple[Answer, Answer]
    unmoved: tuple[str, ...] = field(default=())

    @property
    def gains(self) -> tuple[float, float]:
        """The smallest and the largest gain when one constant or one group moves."""
        found = [a.gain for moved in (*self.constants, *self.groups) for a in moved.answers.values()]
        return min(found, default=self.nominal.gain), max(found, default=self.nominal.gain)


def sensitivity(
    cost: CostModel,
    known: Known,
    pick: Callable[[CostModel], GatePlan | None],
    factors: Sequence[float] = FACTORS,
) -> Sensitivity:
    """Move every assumed constant of a device, and answer anew.

    Args:
        cost: prices on the device as its profile has it.
        known: the plan whose energy and gain are asked for.
        pick: says which plan would be picked by given prices.
        factors: of a constant's value; by default 50 % less and 50 % more.
    """

    def answer(scale: Mapping[str, float]) -> Answer:
        moved = replace(cost, device=scaled(cost.device, scale)) if scale else cost
        price = moved.price(known.plan, known.passed, known.densities, known.observed)
        return Answer(price.energy.total_uj, moved.ungated()[1].energy.total_uj, pick(moved))

    def at_each(name: str, paths: Collection[str], alone: bool) -> Moved:
        return Moved(name, tuple(paths), {f: answer(dict.fromkeys(paths, f)) for f in factors}, alone)

    assumed = {path: one for path, one in constants(cost.device) if one.provenance == "assumed"}
    movable = [path for path, one in assumed.items() if one.value > 0]
    single = [at_each(path, (path,), True) for path in movable]
    members = {name: [p for p in movable if p.rpartition(".")[2] in keys] for name, keys in GROUPS.items()}
    lower, higher = {}, {}
    for moved in single:
        by_gain = sorted(factors, key=lambda f, moved=moved: moved.answers[f].gain)  # type: ignore[misc]
        lower[moved.name], higher[moved.name] = by_gain[0], by_gain[-1]
    return Sensitivity(
        answer({}),
        tuple(sorted(single, key=lambda moved: -moved.swing)),
        tuple(at_each(name, paths, False) for name, paths in members.items() if paths),
        (answer(lower), answer(higher)),
        tuple(path for path, one in assumed.items() if one.value == 0),
    )


def scaled(device: Device, scale: Mapping[str, float]) -> Device:
    """Return a device with some constants multiplied, by the paths of :func:`gatesearch.devices.profile.constants`.

    Raises:
        ValueError: a path that the device does not have.

    >>> from gatesearch.devices.profile import load
    >>> scaled(load("host"), {"cores.host.active_mw": 0.5}).core("host").active_mw.value
    2500.0
    """
    unknown = set(scale) - {path for path, _ in constants(device)}
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
        return tuple(_scaled(f"{path}.{label(item, i)}", item, scale) for i, item in enumerate(node))
    return node
