"""Tests whether a network, or a plan of gates in it, can be exported; no file remains."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from gatesearch.compile import passes, tflite
from gatesearch.compile.partition import part_to_bytes, partition
from gatesearch.compile.stage import StageGraph
from gatesearch.devices.profile import Core, Device
from gatesearch.export.bundle import write_bundle
from gatesearch.export.compiled import CompiledStage
from gatesearch.export.exporters import exporter, formats_of
from gatesearch.model import GatedModel
from gatesearch.runtime.bundle import Bundle
from gatesearch.runtime.program import Program
from gatesearch.training import FeatureSplit

Range = tuple[float, float]
VALIDATION_WINDOWS = 8  # windows that set thresholds; few, because reference kernels take long for each


@torch.no_grad()
def prepare_untrained(model: GatedModel, samples: Tensor) -> GatedModel:
    """Set the buffers that training would set, such as statistics and the ranges of quantisers; return the model.

    One forward pass in training mode sets most of these buffers. A buffer that only a loss sets is NaN before training.
    An export would refuse NaN as the sign of a failed training, so the buffer becomes 0. A threshold of minus infinity,
    which passes all samples, stays.
    """
    model.train()(samples)
    for name, buffer in model.named_buffers():
        if name.startswith("gates.") and buffer.is_floating_point():
            buffer[buffer.isnan()] = 0.0
    return model.eval()


@torch.no_grad()
def try_cores(
    model: GatedModel,
    samples: Tensor,
    device: Device,
    cores: Sequence[str],
    formats: Sequence[str],
    input_range: Range | None = None,
) -> dict[str, Exception]:
    """Export an ungated model for each core, and return the errors by core.

    Args:
        model: a model without gates.
        samples: features [n, *shape] that set the ranges of int8 values.
        device: the device that has the cores.
        cores: names of the cores that may run the model.
        formats: additional formats; each core gets those of them that it runs.
        input_range: smallest and largest feature, if the front end rounds features to values of int8; else None.

    Raises:
        Exception: an error that concerns all cores, in a pass or in the conversion to .tflite.
    """
    graph = passes.run(model, samples, device, until="rescale")[0]
    program = tflite.convert(graph.program, (graph.samples[:1],))
    blobs: dict[str, bytes] = {}
    errors: dict[str, Exception] = {}
    for name in cores:
        stage = replace(graph, core=device.core(name))
        try:
            if stage.arithmetic not in blobs:
                blobs[stage.arithmetic] = tflite.compile(stage, input_range, lambda *_: program)
            _write_formats(stage, device.core(name), blobs[stage.arithmetic], formats)
        except OSError:
            raise
        except Exception as error:
            errors[name] = error
    return errors


def _write_formats(stage: StageGraph, core: Core, blob: bytes, formats: Sequence[str]) -> None:
    program = Program(blob, core.find_stand_in(stage.arithmetic))
    compiled = CompiledStage(graph=stage, tflite=blob, program=program, core=core)
    for name in formats_of(core, formats):
        exporter(name).write(compiled)
    for part in partition(stage).parts:
        part_to_bytes(part, tflite.convert)


@torch.no_grad()
def try_passes(model: GatedModel, samples: Tensor, device: Device) -> None:
    """Run all passes on an untrained gated model, without converting it."""
    passes.run(prepare_untrained(model, samples), samples, device)


def try_bundle(
    model: GatedModel,
    samples: Tensor,
    validation: FeatureSplit,
    device: Device,
    *,
    positive: Tensor,
    classes: Sequence[str],
    formats: Sequence[str],
    input_range: Range | None = None,
) -> None:
    """Write the bundle of an untrained gated model into a temporary folder, load it and run one window.

    Args:
        model: a model with the gates of a plan.
        samples: features [n, *shape] that set the ranges of int8 values.
        validation: the split that sets thresholds; the first :data:`VALIDATION_WINDOWS` are used.
        device: the device that has the cores of the plan.
        positive: whether each class is a positive, [classes].
        classes: names of the classes.
        formats: additional formats; each core gets those of them that it runs.
        input_range: smallest and largest feature, if the front end rounds features to values of int8; else None.
    """
    few = FeatureSplit(
        features=validation.features[:VALIDATION_WINDOWS],
        labels=validation.labels[:VALIDATION_WINDOWS],
        kinds=validation.kinds[:VALIDATION_WINDOWS],
    )
    with tempfile.TemporaryDirectory(prefix="gatesearch-dry-") as folder:
        path = Path(folder) / "bundle"
        write_bundle(
            path,
            prepare_untrained(model, samples),
            device,
            samples,
            few,
            positive,
            formats=formats,
            classes=classes,
            about={},
            input_range=input_range,
        )
        Bundle(path)(samples[0].numpy())
