"""Search spaces of the ``search`` benchmark, small enough to train and record every plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from gatesearch.gates.gc import GC
from gatesearch.plan import GatePlan, PlacedGate
from gatesearch.recipe import Recipe, load


@dataclass(frozen=True)
class RecordedSpace:
    """A search space of which every plan is trained and recorded in a table.

    Args:
        recipe: the recipe with the data, the backbone and the device.
        changes: overrides of the recipe's keys.
        at: epochs after which the table holds the quality of a training; the training ends after the last of them.
        clips: number of training clips, drawn with the recipe's seed; None: all clips.
        data: name of the data on the page.
        after: for each gate kind, the parameters that are set after training; all their values share one training.
    """

    recipe: str
    changes: tuple[str, ...]
    at: tuple[int, ...]
    clips: int | None
    data: str
    after: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def load(self) -> Recipe:
        """Return the recipe with the overrides."""
        return load(self.recipe, self.changes)


EPOCHS = (1, 3, 9, 16)  # epochs at which successive halving by 3 compares trainings, and the last epoch

RECORDED = {
    "kws16": RecordedSpace(
        "kws_clips.yaml",
        (
            "device=three_core",  # the recorded prices are those of this device
            "data.clips_per_class=600",
            "augment.renditions=2",
            "training.epochs=12",
            "training.averaging=0",
            "search.learning_rate=0.002",
            "space.gates.max=2",
            "space.kinds={gc: {mode: [channel], keep: [0.25, 0.5, 1.0], recall: [0.99, 0.995]}}",
        ),
        at=EPOCHS,
        clips=500,
        data="synthetic speech (eSpeak NG)",
        after={GC.name: ("recall",)},
    ),
    "image16": RecordedSpace(
        "digits_hybrid.yaml",
        (
            "device=bit_serial",  # the recorded prices are those of this device
            "training.epochs=15",
            "training.averaging=0",
            "search.learning_rate=0.002",
            "space.layers={sites: [conv1.0, conv3.0, conv6.0], together: false}",
            "space.kinds={pg: {bits: [8], high_bits: [2, 4], mask: [3d], target: [0.0]}, "
            "fbs: {density: [0.5, 0.8], block: [1]}}",
        ),
        at=EPOCHS,
        clips=400,
        data="scikit-learn's digits",
    ),
}


def gates_to_train(plan: GatePlan, after: Mapping[str, tuple[str, ...]]) -> tuple[PlacedGate, ...]:
    """Return the gates of a plan without the parameters that are set after training.

    Plans with equal gates in this sense share one training.

    >>> plan = GatePlan((PlacedGate.of("gc", "stem", keep=0.5, recall=0.99),), ("mcu", "npu"))
    >>> [gate.params for gate in gates_to_train(plan, {"gc": ("recall",)})]
    [(('keep', 0.5),)]
    """
    return tuple(
        replace(
            gate, params=tuple((name, value) for name, value in gate.params if name not in after.get(gate.kind, ()))
        )
        for gate in plan.gates
    )
