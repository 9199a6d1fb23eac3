"""`gatesearch bench vit_gc data.root=DIR`: Gated Compression on a keyword transformer, by prevalence of positives.

Each seed is one ordinary run of recipes/kws_vit_gc.yaml: on real speech where ``data.root`` is given, else on the
synthetic default. The published figures are of arXiv 2405.01739, which claims 158 to 30,000 times the power efficiency
for always-on models, transformers among them: in theory, not measured.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from gatesearch._lib import console
from gatesearch.bench import runs
from gatesearch.bench.results import FOLDER, Row, show, write
from gatesearch.bench.vit_gc import page, plot
from gatesearch.compile import passes
from gatesearch.compile.tflite import channel_last, convert, quantise
from gatesearch.pipeline.steps import Run
from gatesearch.recipe import Recipe, load
from gatesearch.runtime.program import Program

RECIPE = "kws_vit_gc.yaml"
RUNS = Path("runs/bench-vit_gc")
SEEDS = (0,)
# What a run on a few thousand real clips wants and the ten-minute default leaves out.
REAL = (
    "training.epochs=60",
    "retrain.epochs=20",
    "augment.renditions=16",
    "search.trials=24",
)
KEPT = "bench.json"


@dataclass(frozen=True)
class Outcome:
    """One seed: what the run left, and what int8 makes of the ungated backbone."""

    summary: Mapping[str, Any]
    record: Mapping[str, Any]
    arithmetic: tuple[str, ...]
    int8: Mapping[str, float]

    @property
    def best(self) -> Mapping[str, Any]:
        """Figures of the picked plan."""
        found: Mapping[str, Any] = self.summary["best"]
        return found

    def at(self, prevalence: float) -> Mapping[str, float | None]:
        """Return the row of the sweep at a prevalence."""
        return next(row for row in self.best["prevalence"] if row["prevalence"] == prevalence)


def main(arguments: list[str]) -> None:
    """Run every seed that is not done yet, then write results/vit_gc.md, .json and .png.

    Args:
        arguments: ``data.root=DIR``, real speech, synthetic where it is not given; ``seeds=0``; any key of the
            recipe.

    Raises:
        UserError: an argument is wrong.
    """
    seeds, overrides = runs.arguments("vit_gc", arguments, SEEDS)
    real = any(text.startswith("data.root=") for text in overrides)
    command = shlex.join(["gatesearch", "bench", "vit_gc", *(runs.public(text) for text in arguments)])
    name, settings = ("real", REAL) if real else ("synthetic", ())
    outcomes = {
        seed: outcome(RUNS / f"{name}-{seed}", load(RECIPE, [*settings, *overrides, f"seed={seed}"])) for seed in seeds
    }
    found = rows(outcomes, command)
    path = write("vit_gc", found, page.text(outcomes, command, settings), FOLDER)
    plot.draw(outcomes, path.with_name("vit_gc.png"))
    show("vit_gc", found)
    console.say(f"wrote {path}")


def outcome(path: Path, recipe: Recipe) -> Outcome:
    """Return the outcome of a run, gone to its end now or before."""
    run = runs.finished(path, recipe)
    int8 = run.folder.read_json(KEPT)
    if int8 is None:
        int8 = whole_in_int8(run)
        run.folder.write_json(KEPT, int8)
    manifest = run.folder.read_json("best/bundle/manifest.json")
    return Outcome(
        run.folder.read_json("summary.json"),
        run.folder.read_json("record.json"),
        tuple(stage["arithmetic"] for stage in manifest["stages"]),
        int8,
    )


def whole_in_int8(run: Run) -> dict[str, float]:
    """Return what all-int8 arithmetic does to the ungated backbone on the test split: why there is float at all.

    ``agreement`` is the share of windows with the answer that the model gives, ``accuracy`` that of all classes.
    """
    s = run.setting
    [stage] = passes.run(run.reference, run.calibration, s.device, until="rescale")
    model = convert(stage.program, stage.samples[:1])
    program = Program(quantise(model, channel_last(stage.samples.numpy()), getattr(s.frontend, "output_range", None)))
    test = s.features.test
    windows = channel_last(test.features.numpy())
    answers = torch.tensor(
        [int(program(program.inputs[0].quantise(windows[i : i + 1]))[0].argmax()) for i in range(len(windows))]
    )
    with torch.no_grad():
        wanted = run.reference(test.features).logits.argmax(1)
    return {
        "agreement": float((answers == wanted).double().mean()),
        "accuracy": float((answers == test.labels).double().mean()),
    }


def rows(outcomes: Mapping[int, Outcome], command: str) -> list[Row]:
    """Return the figures for results/vit_gc.json."""
    first = next(iter(outcomes.values()))
    synthetic = bool(first.summary["data"]["synthetic"])
    protocol = (
        f"{runs.SPEECH_PROTOCOL[synthetic]}; test split, hard cascade, thresholds of the exported artifacts; gates of "
        "one plan, negatives mixed as the recipe's stream"
    )

    def row(name: str, get: Any, unit: str = "share", target: str | None = None, provenance: str = "measured") -> Row:
        values = {seed: float(get(o)) for seed, o in outcomes.items()}
        return Row.over(name, values, unit, target=target, provenance=provenance, protocol=protocol, command=command)

    def accuracy_change(o: Outcome) -> float:
        return float(o.best["accuracy"] - o.summary["baseline"]["accuracy"])

    found = [
        row("accuracy, ungated", lambda o: o.summary["baseline"]["accuracy"]),
        row("accuracy, picked plan", lambda o: o.best["accuracy"]),
        row("accuracy, picked minus ungated", accuracy_change, target="kept or improved"),
        row("gate recall", lambda o: o.best["gate_recall"]),
        *(
            row(f"{kind} stopped", lambda o, kind=kind: o.best["early_stop_by_kind"].get(kind, 0.0))
            for kind in first.best["early_stop_by_kind"]
        ),
        row("negatives of the stream stopped", lambda o: o.best["early_stop_rate_stream"], target="up to 0.96 (GC)"),
        row("the same, at least (95 %)", lambda o: o.best["early_stop_rate_stream_at_least"]),
        row("zeros in what passes", lambda o: o.best["activation_sparsity"], target="0.97 (GC)"),
        row("answer agreement of the bundle", lambda o: o.summary["export"]["parity"]["prediction_agreement"]),
        row("gate agreement of the bundle", lambda o: o.summary["export"]["parity"]["gate_agreement"]),
        row("answer agreement, ungated in int8", lambda o: o.int8["agreement"]),
    ]
    for sweep in first.best["prevalence"]:
        pi = sweep["prevalence"]
        for name, key, target in (
            ("energy gain end to end", "gain_end_to_end", None),
            ("bound of any gate's gain", "bound", None),
            ("idealised gain", "gain_idealised", "158 to 30,000 (2405.01739, theoretical)"),
        ):
            if all(o.at(pi)[key] is not None for o in outcomes.values()):  # else it is infinite, as the page says
                get = partial(_swept, prevalence=pi, key=key)
                found.append(row(f"{name} at prevalence {pi:g}", get, "x", target, "modelled"))
    return found


def _swept(o: Outcome, prevalence: float, key: str) -> float:
    value = o.at(prevalence)[key]
    assert value is not None
    return value
