"""Writes a bundle: a file for each stage and format, and a manifest that says how to run them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from gatesearch._lib import console
from gatesearch._lib.files import write_whole
from gatesearch.devices.profile import Device
from gatesearch.errors import UserError
from gatesearch.export.compiled import compile_stages
from gatesearch.export.contract import CONTRACT, describe_contract
from gatesearch.export.hop_stages import HopSetting, compile_hop_stages
from gatesearch.export.stage_entry import StageWriter
from gatesearch.export.thresholds import artifact_thresholds, copy_with_thresholds
from gatesearch.export.vectors import VECTORS, VectorSource, write_vectors
from gatesearch.gates import layer_gates
from gatesearch.model import GatedModel
from gatesearch.runtime.listener import DETECTOR
from gatesearch.runtime.manifest import MANIFEST
from gatesearch.training import FeatureSplit


def write_bundle(
    folder: Path,
    model: GatedModel,
    device: Device,
    calibration: Tensor,
    validation: FeatureSplit,
    positive: Tensor,
    *,
    formats: Sequence[str],
    classes: Sequence[str],
    about: Mapping[str, Any],
    describe: Callable[[GatedModel], Mapping[str, Any]] | None = None,
    input_range: tuple[float, float] | None = None,
    hops: HopSetting | None = None,
    vectors: VectorSource | None = None,
) -> dict[str, Any]:
    """Write a model's bundle into a folder and return its manifest; the model is not changed.

    The thresholds are set anew, on the integer logits of the exported stages, and written into the manifest.
    :func:`~gatesearch.export.thresholds.copy_with_thresholds` puts them into a copy of the model.

    Args:
        folder: the folder of the bundle; an older bundle in it is replaced once the new one is complete.
        model: the retrained and calibrated model.
        device: the device that has the cores of the plan.
        calibration: features [n, *shape] from the training split, for quantisation ranges.
        validation: the validation split, on which the thresholds are set.
        positive: whether each class is a positive, [classes].
        formats: additional formats; each core gets those of them that it runs.
        classes: names of the classes.
        about: additional entries of the manifest, such as the front end.
        describe: a function that returns further entries of the manifest, such as a detector's. Its argument is a copy
            of the model with the new thresholds.
        input_range: smallest and largest feature of a front end whose features lie on an int8 grid of 256 values; None
            for any other front end.
        hops: how a stream runs the model by hops, which are the steps from one decision to the next; None for whole
            windows.
        vectors: inputs from which test vectors are chosen; None for a bundle without vectors.

    Raises:
        UserError: a weight of the model is not finite.
    """
    _check_finite(model)
    time_axis = None if hops is None else hops.frames.axis - 1
    stages = compile_stages(model, calibration, device, input_range, time_axis)
    graphs, programs = [stage.graph for stage in stages], [stage.program for stage in stages]
    thresholds = artifact_thresholds(model, graphs, programs, validation, positive)
    described = {} if describe is None else describe(copy_with_thresholds(model, thresholds))
    listens = DETECTOR in described
    if listens and (layer_gates(model.plan) or _has_recurrent_layers(model)):
        hops = None  # the kernels of these layers take whole windows, and prices assume it
    by_hops = None if hops is None else compile_hop_stages(stages, hops, input_range)
    with _replaced(folder) as part:
        writer = StageWriter(part, model, formats, listens)
        gates = [*thresholds, None]
        manifest = {
            "bundle": 1,
            "digest": model.plan.digest,
            "plan": model.plan.to_dict(),
            "device": device.name,
            "classes": list(classes),
            "positive": positive.tolist(),
            "stages": [
                writer.write(k, stage, gate, hop_stage)
                for k, (stage, gate, hop_stage) in enumerate(
                    zip(stages, gates, by_hops or [None] * len(stages), strict=True)
                )
            ],
            "hops": None if hops is None or by_hops is None else hops.describe(),
            **about,
            **described,
        }
        manifest[CONTRACT] = describe_contract(manifest)
        _write_manifest(part, manifest)
        if vectors is not None:
            _add_vectors(part, manifest, vectors)
    return manifest


def _add_vectors(folder: Path, manifest: dict[str, Any], vectors: VectorSource) -> None:
    """Write test vectors into the folder of a bundle, and their entry into its manifest."""
    try:
        manifest[VECTORS] = write_vectors(folder, vectors)
    except UserError as error:  # such as a front end of another package, which is not loaded without trust
        console.warn(f"export: the bundle has no test vectors: {error}")
        return
    _write_manifest(folder, manifest)


def _write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    write_whole(folder / MANIFEST, json.dumps(manifest, indent=1, allow_nan=False))


def artifacts(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return every artifact that a manifest names: files of each stage, of its gate's exit, and of its hops."""
    entries = []
    for stage in manifest["stages"]:
        entries += stage["artifacts"]
        if stage["gate"] is not None and stage["gate"].get("exit") is not None:
            entries += stage["gate"]["exit"]["artifacts"]
        if stage.get("hops") is not None:
            entries += [stage["hops"]["step"], stage["hops"]["catch_up"]]
    return entries


def _has_recurrent_layers(model: GatedModel) -> bool:
    return any(isinstance(module, nn.RNNBase) for module in model.modules())


def _check_finite(model: GatedModel) -> None:
    """Raise an error for weights that are not finite; buffers, such as masks and thresholds, may be infinite."""
    advice = "its training went wrong; train it again with a lower learning_rate"
    for name, weight in model.named_parameters():
        if not bool(weight.isfinite().all()):
            raise UserError(f"export: {name} of the model is not finite: {advice}")
    for name, buffer in model.named_buffers():
        if bool(buffer.isnan().any()):
            raise UserError(f"export: {name} of the model is not a number: {advice}")


@contextmanager
def _replaced(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder, which replaces ``folder`` when the ``with`` block ends."""
    part = folder.with_name(f"{folder.name}.{os.getpid()}.part")
    for stale in folder.parent.glob(f"{folder.name}.*.part"):  # left by an interrupted run
        shutil.rmtree(stale, ignore_errors=True)
    yield part
    shutil.rmtree(folder, ignore_errors=True)
    part.replace(folder)
