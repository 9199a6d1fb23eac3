"""The steps ``export`` and ``verify`` of a run: writes the best plan's bundle, and checks it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gatesearch._lib import console
from gatesearch.compile import passes, tflite
from gatesearch.cost.factory import tools_in_one_line
from gatesearch.cost.model import CostModel
from gatesearch.errors import UserError
from gatesearch.export import bundle as bundles
from gatesearch.export import verify as verification
from gatesearch.export.artifact_checks import describe_checks
from gatesearch.export.hop_stages import HopSetting
from gatesearch.export.hop_verify import MAX_HOPS, verify_hops
from gatesearch.export.shortcomings import shortcomings
from gatesearch.export.thresholds import copy_with_thresholds, read_thresholds
from gatesearch.export.vectors import VectorSource, check_vectors, list_files
from gatesearch.export.vectors.windows import MAX_SEARCHED
from gatesearch.model import GatedModel
from gatesearch.pipeline.pick import BestPlan
from gatesearch.pipeline.problem import Problem
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.pipeline.stream_hops import late_catch_ups
from gatesearch.pipeline.stream_sound import read_test_sound
from gatesearch.report.model_card import CARD, render_card
from gatesearch.runtime.bundle import Bundle
from gatesearch.runtime.manifest import MANIFEST, load_manifest, read_artifact
from gatesearch.training import digest_weights

BUNDLE = "best/bundle"
BUNDLE_MANIFEST = f"{BUNDLE}/{MANIFEST}"
UNGATED = "best/ungated.tflite"
UNGATED_AS_CONVERTED = "best/ungated_as_converted.tflite"  # without our rewrites, for a network with average pooling


@dataclass(frozen=True)
class PlanBundle:
    """The bundle in the run folder, and the model with which it is compared.

    Args:
        path: the path of the bundle.
        manifest: the manifest of the bundle.
        model: the best plan's model, with the thresholds and answers of the artifacts. They differ from the trained
            thresholds and answers, because artifacts round differently.
    """

    path: Path
    manifest: Mapping[str, Any]
    model: GatedModel


def export(problem: Problem, cost: CostModel, best: BestPlan, folder: RunFolder) -> PlanBundle:
    """Write the bundle of the best plan, or load it if the run folder holds it; the best model is not changed."""
    path = folder / BUNDLE
    bundle_inputs = {"weights": digest_weights(best.model), "formats": list(problem.recipe.export.formats)}
    folder.write_json("best/plan.json", best.trial.plan.to_dict())
    if not _holds_bundle(folder, best, bundle_inputs):
        folder.set_aside_obstacles(BUNDLE, (UNGATED, UNGATED_AS_CONVERTED))
        for line in late_catch_ups(cost, best.trial.plan):
            console.warn(line)
        console.say("export: lowering, quantising, compiling for each core")
        with tools_in_one_line():
            ungated = _write_ungated(problem, cost, best, folder)
            about = {"ungated": ungated, "made_from": bundle_inputs}
            write_bundle(problem, path, best.model, about, vectors=vector_source(problem))
        folder.write(f"{BUNDLE}/{CARD}", render_card(load_manifest(path), None))  # the report adds the figures
        folder.checksums.expect(BUNDLE_MANIFEST, (folder / BUNDLE_MANIFEST).read_bytes())
    manifest = load_manifest(path)
    for line in shortcomings(manifest, problem.recipe.export.formats, (folder / UNGATED).stat().st_size):
        console.warn(f"export: {line}")
    return PlanBundle(path, manifest, copy_with_thresholds(best.model, read_thresholds(manifest)))


def _holds_bundle(folder: RunFolder, best: BestPlan, bundle_inputs: Mapping[str, Any]) -> bool:
    """Return whether the folder holds a complete bundle of the best plan's weights; print damages and changes."""
    path = folder / BUNDLE
    if not (path / MANIFEST).exists():
        return False
    try:
        # This read compares the digest, because a manifest with a changed number would still be valid.
        folder.read(BUNDLE_MANIFEST, bytes)
        manifest = check_files(path)
        if folder.read(UNGATED, bytes) is None:
            raise UserError(f"{folder / UNGATED}: no such file")
    except UserError as error:
        console.warn(f"export: {str(error).removesuffix('; export again')}; it is exported again")
        return False
    if manifest["digest"] != best.trial.plan.digest:
        return False  # an edited recipe may pick another plan
    changes = [name for name, value in manifest.get("made_from", {}).items() if bundle_inputs.get(name) != value]
    if changes:
        console.say(f"export: the bundle was made from other {' and '.join(changes)}; it is exported again")
    return not changes


def check_files(bundle: Path) -> Mapping[str, Any]:
    """Check every file of a bundle by the digest in the bundle's manifest, and return the manifest.

    Raises:
        UserError: a file is missing, or differs from what was written.
    """
    manifest = load_manifest(bundle)
    for artifact in (*bundles.artifacts(manifest), *list_files(manifest)):
        read_artifact(bundle, artifact)
    return manifest


def verify(problem: Problem, bundle: PlanBundle) -> verification.Parity:
    """Compare the bundle with the model on every sample of the test split."""
    features = problem.features.test.features
    loaded = Bundle(bundle.path)
    with console.progress(len(features), "verify") as bar:
        parity = verification.verify(bundle.model, loaded, features, bar.advance)
    stream = problem.features.validation.stream
    if stream is not None and bundle.manifest.get("hops") is not None:
        by_hops = verify_hops(loaded, stream.features[:MAX_HOPS].numpy())
        (console.warn if by_hops.differences else console.say)(by_hops.describe())
    return replace(parity, artifacts=(*parity.artifacts, *check_vectors(bundle.path)))


def print_parity(parity: verification.Parity) -> None:
    """Print how far the artifacts agree with the model, and how each file was checked; files that did not run warn."""
    if parity.prediction_agreement is None:
        outputs = f"outputs to {parity.output_snr_db:.1f} dB"
    else:
        outputs = f"answers on {parity.prediction_agreement:.2%}"
    agreement = f"gates agree on {parity.gate_agreement:.2%}, {outputs} of {parity.samples} test samples"
    console.say(f"verify: {agreement}")
    did_run = all(check.check == "run" for check in parity.artifacts)
    (console.say if did_run else console.warn)(f"verify: {describe_checks(parity.artifacts)}")


def vector_source(problem: Problem) -> VectorSource:
    """Return the inputs from which test vectors are chosen: windows of the test split, and the test stream's sound."""
    return VectorSource(
        windows=problem.data.test.inputs[:MAX_SEARCHED].numpy(),
        features=problem.features.test.features[:MAX_SEARCHED].numpy(),
        sound=read_test_sound(problem),
    )


def write_bundle(
    problem: Problem,
    path: Path,
    model: GatedModel,
    about: Mapping[str, Any],
    formats: Sequence[str] | None = None,
    vectors: VectorSource | None = None,
) -> None:
    """Export a trained model, which is not changed; the manifest holds the entries of ``about``.

    Args:
        problem: the run's problem.
        path: the folder of the bundle.
        model: the trained model.
        about: additional entries of the manifest.
        formats: additional formats; None for those of the recipe.
        vectors: inputs from which test vectors are chosen; None for a bundle without vectors.
    """
    frontend: dict[str, Any] = problem.frontend.describe()
    bundles.write_bundle(
        path,
        model,
        problem.device,
        calibration_features(problem),
        problem.features.validation,
        problem.features.positive,
        formats=problem.recipe.export.formats if formats is None else formats,
        classes=problem.data.classes,
        about={
            "recipe": problem.recipe.name,
            "synthetic_data": problem.data.synthetic,
            "frontend": frontend,
            **about,
        },
        describe=problem.goal.manifest_entries,
        input_range=problem.frontend.output_range,
        hops=None if problem.hops is None else HopSetting(problem.hops.frames, problem.hops.phases),
        vectors=vectors,
    )


def calibration_features(problem: Problem) -> Tensor:
    """Return training features [n, *shape], drawn with the recipe's seed, to set the ranges of quantised tensors."""
    train = problem.features.train
    generator = torch.Generator().manual_seed(problem.recipe.seed)
    order = torch.randperm(len(train.labels), generator=generator)
    return train.features[order[: problem.recipe.export.calibration_samples]]


def _write_ungated(problem: Problem, cost: CostModel, best: BestPlan, folder: RunFolder) -> dict[str, Any]:
    """Write the ungated backbone as one program; return its entries for the manifest."""
    whole = passes.run(best.ungated, calibration_features(problem), problem.device, until="rescale")[0]
    folder.write(UNGATED, tflite.compile(whole, problem.frontend.output_range))
    if any(isinstance(module, nn.AvgPool2d | nn.AdaptiveAvgPool2d) for module in whole.program.modules()):
        # The rewrites turn a pooling into convolutions. The file that the converter writes without them may be faster.
        plain = partial(tflite.convert, rewrites=False)
        folder.write(UNGATED_AS_CONVERTED, tflite.compile(whole, problem.frontend.output_range, plain))
    return {"core": cost.ungated()[0].cores[0], "arithmetic": whole.arithmetic}
