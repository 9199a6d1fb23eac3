"""The keyword spotters that the ``kernels`` benchmark times on streams; each comes from a run of a recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gatesearch.pipeline.result import RunResult
from gatesearch.recipe import load
from results.kws import measure as kws
from results.vit_gc import measure as vit_gc
from results.whole_runs import finish_run

SEEDS = (0, 1, 2)  # seeds of the runs on real speech; on synthetic speech, only seed 0 is run
STREAM = "stream.shares={positive: 0.01, _unknown_: 0.04, _silence_: 0.95}"
LARGE = (
    "backbone_args={width: 276, blocks: 5, stem_stride: [2, 1], first_stride: [2, 2]}",
    STREAM,
    "training.epochs=20",
    "training.learning_rate=0.005",
    "retrain.epochs=10",
    "space.sites=[input]",
    "search.trials=2",
    "search.epochs=1",
)
# A gate at the input does not depend on the backbone's layers, so a briefly trained backbone is enough to train it.
GATE_ONLY_OVERRIDES = (
    STREAM,
    "training.epochs=20",
    "constraints.max_accuracy_drop=1.0",
    "search.trials=2",
    "search.epochs=1",
    "space={gates: {min: 1, max: 1}, sites: [input], kinds: {gc: {mode: [channel], keep: [1.0], recall: [0.99]}}}",
)


@dataclass(frozen=True)
class Spotter:
    """A gated keyword spotter, from runs of another benchmark or of this one.

    Args:
        recipe: file of the recipe.
        runs: folder of the runs; a run on real speech is named real-SEED.
        synthetic: name of the run on synthetic speech.
        real: overrides of the recipe for real speech.
        min_gain: target for the time of the ungated program divided by the time of the gated spotter on the stream.
        about: the origin of the spotter, for the page.
        always: overrides of the recipe for real and for synthetic speech.
        gate_of: another spotter, whose trained gate at the input replaces the gates of this spotter's run; None: the
            run has its own gates. A gate at the input does not depend on the backbone, so it works before any backbone.
        seeds: seeds of the runs; with ``gate_of``, seeds of the other spotter's runs.
    """

    recipe: str
    runs: Path
    synthetic: str
    real: Sequence[str]
    min_gain: float
    about: str
    always: Sequence[str] = ()
    gate_of: Spotter | None = None
    seeds: Sequence[int] = SEEDS


GATE = Spotter(
    recipe=kws.RECIPE,
    runs=Path("runs/bench-kernels-gate"),
    synthetic="synthetic",
    real=kws.REAL,
    min_gain=0.0,
    about="a gate at the input alone, trained for this stream",
    always=GATE_ONLY_OVERRIDES,
)
GATE_NOTE = (
    f"The gate in front of it was trained for this stream, in runs of their own (`gatesearch run recipe={kws.RECIPE}` "
    f"with `{' '.join(GATE_ONLY_OVERRIDES)}`), and stands at the input, where it sees nothing of what follows; it was "
    "set there by hand and calibrated anew. Seeds are those of the gate"
)
SPOTTERS: Mapping[str, Spotter] = {
    "DS-CNN": Spotter(
        recipe=kws.RECIPE,
        runs=kws.RUNS,
        synthetic="synthetic",
        real=kws.REAL,
        min_gain=6.0,
        about="the plans that [kws](../kws/README.md) shows, searched for that recipe's stream",
    ),
    "KWT": Spotter(
        recipe=vit_gc.RECIPE,
        runs=vit_gc.RUNS,
        synthetic="synthetic-0",
        real=vit_gc.REAL,
        min_gain=15.0,
        about="the ungated transformer of [vit_gc](../vit_gc/README.md). It has no more multiplications than the "
        f"DS-CNN, but takes four times as long. {GATE_NOTE}",
        gate_of=GATE,
    ),
    "DS-CNN-L": Spotter(
        recipe=kws.RECIPE,
        runs=Path("runs/bench-kernels-large"),
        synthetic="synthetic",
        real=(),
        min_gain=15.0,
        about=f"the ungated backbone of a run of its own. {GATE_NOTE}",
        always=LARGE,
        gate_of=GATE,
    ),
}


def finish_spotter(chosen: Spotter, data: Sequence[str], seed: int = 0) -> RunResult:
    """Run the recipe of a spotter to its end and return the run; ``data`` are overrides, such as data.root."""
    real = any(text.startswith("data.root=") for text in data)
    changes = [*(chosen.real if real else ()), *chosen.always, *data, f"seed={seed}"]
    return finish_run(chosen.runs / (f"real-{seed}" if real else chosen.synthetic), load(chosen.recipe, changes))
