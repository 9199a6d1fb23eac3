"""Removes variants of gates from a search space, such as variants that cannot be exported."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace
from typing import NamedTuple

from gatesearch.gates import kind_of
from gatesearch.plan import PlacedGate, Scalar
from gatesearch.search.slots import Gates, Slot, merge_values
from gatesearch.search.space import Space


class Variant(NamedTuple):
    """A gate kind with the values of those parameters that change the exported program."""

    kind: str
    params: tuple[tuple[str, Scalar], ...]

    @classmethod
    def from_gate(cls, gate: PlacedGate) -> Variant:
        """Return the variant of a placed gate.

        >>> Variant.from_gate(PlacedGate.of("gc", "stem", keep=0.5, mode="channel", recall=0.9))
        Variant(kind='gc', params=(('mode', 'channel'),))
        """
        names = kind_of(gate.kind).Params.new_programs()
        return cls(gate.kind, tuple((name, value) for name, value in gate.params if name in names))

    @property
    def name(self) -> str:
        """The variant in one line, such as ``gc(mode=channel)``."""
        return f"{self.kind}({', '.join(f'{name}={value}' for name, value in self.params)})"


def variants_of(space: Space) -> dict[Variant, list[tuple[Slot, Gates]]]:
    """Return the slots that offer each variant, in the space's order, each with its first choice of this variant."""
    variants: dict[Variant, dict[str, tuple[Slot, Gates]]] = {}
    for slot in space.slots:
        for gates in slot.choices[1:]:
            variants.setdefault(Variant.from_gate(gates[0]), {}).setdefault(slot.label, (slot, gates))
    return {variant: list(by_slot.values()) for variant, by_slot in variants.items()}


def without_variants(space: Space, refused: Collection[tuple[str, Variant]]) -> Space:
    """Return a space without some variants.

    Args:
        space: the space of plans.
        refused: pairs of a slot's label and a variant that the slot loses.
    """
    slots = []
    for slot in space.slots:
        choices = tuple(
            gates for gates in slot.choices if not gates or (slot.label, Variant.from_gate(gates[0])) not in refused
        )
        choices = _whole_kinds(choices)
        if len(choices) > 1:
            slots.append(replace(slot, choices=choices))
    cut_slots = sum(1 for slot in slots if slot.is_cut)
    return replace(space, slots=tuple(slots), max_gates=min(space.max_gates, cut_slots))


def _whole_kinds(choices: tuple[Gates, ...]) -> tuple[Gates, ...]:
    """Return the choices without the gate kinds that lack a combination of their parameter values.

    A sampler chooses the value of each parameter separately, so it may ask for any combination.
    """
    kinds = {gates[0].kind for gates in choices if gates}
    broken = set()
    for kind in kinds:
        first = [gates[0] for gates in choices if gates and gates[0].kind == kind]
        if math.prod(map(len, merge_values(first).values())) != len(first):
            broken.add(kind)
    return tuple(gates for gates in choices if not gates or gates[0].kind not in broken)
