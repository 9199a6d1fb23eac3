"""The way from a recipe to a report, in the order in which a reader meets it.

Each step is a result of :class:`gatesearch.pipeline.steps.Run`; here is their order, and what
is said.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from gatesearch import report as reports
from gatesearch._lib import console
from gatesearch._lib.plugins import EXTRAS, need
from gatesearch.batch_study import outcome
from gatesearch.data import Dataset
from gatesearch.export import verify as verification
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.pipeline.steps import Run
from gatesearch.recipe import Recipe, load, to_yaml
from gatesearch.report import record


def run(
    recipe: Recipe,
    out: Path | None = None,
    resume: Path | None = None,
    given: tuple[nn.Module, Dataset] | None = None,
) -> Run:
    """Do everything, from data to report.

    Args:
        recipe: resolved.
        out: run folder; None for runs/RECIPE-N.
        resume: run folder of a run to go on with.
        given: the network and the data, where they are not those that the recipe names.

    Raises:
        UserError: something the user can mend.
    """
    need("gatesearch run", *EXTRAS["export"], *EXTRAS["report"])  # now rather than after the first training
    recipe = outcome.resolved(recipe)
    folder = RunFolder(resume) if resume is not None else RunFolder.new(recipe.name or "run", out)
    with _names_folder(folder):
        if resume is None:
            folder.write("recipe.yaml", to_yaml(recipe))
        console.say(f"run folder: {folder.path}")
        this = Run(recipe, folder, given)
        for step in (_train, _search, _retrain, _export, _verify, _report):
            with this.timed("total"):
                step(this)
        # Last, so that the report of a run that fails here shows where model and artifacts part.
        verification.require(this.parity, **recipe.verify.model_dump())
    return this


def _train(this: Run) -> None:
    s = this.setting
    label = "synthetic data" if s.data.synthetic else "data"
    sizes = f"{len(s.data.train)} train, {len(s.data.validation)} validation, {len(s.data.test)} test"
    console.say(f"{label}: {s.data.source} ({sizes})")
    assert this.baseline


def _search(this: Run) -> None:
    assert this.cost
    console.say(f"space: {len(this.setting.space):,} plans over {len(this.setting.space.sites)} sites")
    result = this.result
    states = [trial.state for trial in result.trials]
    known = states.count("complete") + states.count("priced_out")
    console.say(
        f"search: {states.count('complete')} plans tried, "
        + (f"{states.count('pruned')} given up early, " if this.halving else "")
        + f"{states.count('priced_out')} ruled out by price, "
        f"{states.count('duplicate')} repeats not tried, {len(result.front)} on the front"
        + ("; the space holds no other plan" if known == len(this.setting.space) else "")
    )
    if this.front_times:
        errors = sorted(abs(row["predicted_us"] / row["measured_us"] - 1) for row in this.front_times.values())
        console.say(
            f"measured {len(errors)} of {len(result.front)} plans of the front on this host: "
            f"predicted to {errors[len(errors) // 2]:.0%} (median)"
        )


def _retrain(this: Run) -> None:
    assert this.reference
    console.say(f"picked: {this.picked.plan}")


def _export(this: Run) -> None:
    assert this.manifest


def _verify(this: Run) -> None:
    parity = this.parity
    outputs = (
        f"outputs to {parity.output_snr_db:.1f} dB"
        if parity.prediction_agreement is None
        else f"answers on {parity.prediction_agreement:.2%}"
    )
    console.say(f"verify: gates agree on {parity.gate_agreement:.2%}, {outputs} of {parity.samples} test samples")


def _report(this: Run) -> None:
    summary = record.write(this)
    path = reports.write(this.folder.path)
    record.show(this, summary)
    console.say(f"report: {path}")


def search(folder: Path) -> None:
    """Run, or go on, up to the end of the search."""
    _upto(folder, _train, _search)


def retrain(folder: Path) -> None:
    """Run, or go on, up to the retrained plan."""
    _upto(folder, _train, _search, _retrain)


def export(folder: Path) -> None:
    """Run, or go on, up to the bundle."""
    _upto(folder, _train, _search, _retrain, _export)


def verify(folder: Path) -> None:
    """Compare the bundle with the model again."""
    verified = _upto(folder, _train, _search, _retrain, _export, _verify)
    verification.require(verified.parity, **verified.recipe.verify.model_dump())


def report(folder: Path) -> None:
    """Write the report of what the run has so far, also while it goes on."""
    run_folder = RunFolder(folder)
    unfinished = record.so_far(load(folder / "recipe.yaml"), run_folder)
    path = reports.write(folder, unfinished)
    told = "" if unfinished is None else f" (unfinished: {len(unfinished['trials'])} trials so far)"
    console.say(f"report: {path}{told}")


def _upto(folder: Path, *steps: Any) -> Run:
    run_folder = RunFolder(folder)
    with _names_folder(run_folder):
        this = Run(load(folder / "recipe.yaml"), run_folder)
        for step in steps:
            with this.timed("total"):
                step(this)
    return this


@contextmanager
def _names_folder(folder: RunFolder) -> Iterator[None]:
    """Let whoever catches an interruption say how to go on."""
    try:
        yield
    except BaseException as error:
        error.run_dir = folder.path  # type: ignore[attr-defined]
        raise
