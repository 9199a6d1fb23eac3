"""The recorded spaces: small enough that every plan of them can be evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from gatesearch.gates.gc import GC
from gatesearch.plan import GatePlan, PlacedGate
from gatesearch.recipe import Recipe, load


@dataclass(frozen=True)
class Recorded:
    """One recorded space.

    Args:
        recipe: of the data, the backbone and the device.
        changes: of the recipe's keys.
        at: epochs after which a trial's training is read, the last being its end.
        clips: number of training clips, drawn by the recipe's seed; None for all.
        data: the name of the data on the page.
        after: parameters of gates that are set after training, by kind: one training serves all their values.
    """

    recipe: str
    changes: tuple[str, ...]
    at: tuple[int, ...]
    clips: int | None
    data: str
    after: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def load(self) -> Recipe:
        """Return the recipe with its changes."""
        return load(self.recipe, self.changes)


AT = (1, 3, 9, 16)  # where halving by 3 has its rungs, and the end

RECORDED = {
    "kws16": Recorded(
        "kws.yaml",
        (
            "data.clips_per_class=600",
            "augment.renditions=2",
            "training.epochs=12",
            "training.averaging=0",
            "search.learning_rate=0.002",
            "space.gates.max=2",
            "space.kinds={gc: {mode: [channel], keep: [0.25, 0.5, 1.0], recall: [0.99, 0.995]}}",
        ),
        at=AT,
        clips=500,
        data="synthetic speech (eSpeak NG)",
        after={GC.name: ("recall",)},
    ),
    "image16": Recorded(
        "digits_hybrid.yaml",
        (
            "training.epochs=15",
            "training.averaging=0",
            "search.learning_rate=0.002",
            "space.layers={sites: [conv1.0, conv3.0, conv6.0], together: false}",
            "space.kinds={pg: {bits: [8], high_bits: [2, 4], mask: [3d], target: [0.0]}, "
            "fbs: {density: [0.5, 0.8], block: [1]}}",
        ),
        at=AT,
        clips=400,
        data="scikit-learn's digits",
    ),
}


def trained(plan: GatePlan, after: Mapping[str, tuple[str, ...]]) -> tuple[PlacedGate, ...]:
    """Return the gates of a plan without what training does not depend on: parameters that are set after it.

    >>> plan = GatePlan((PlacedGate.of("gc", "stem", keep=0.5, recall=0.99),), ("mcu", "npu"))
    >>> [gate.params for gate in trained(plan, {"gc": ("recall",)})]
    [(('keep', 0.5),)]
    """
    return tuple(
        replace(
            gate, params=tuple((name, value) for name, value in gate.params if name not in after.get(gate.kind, ()))
        )
        for gate in plan.gates
    )
