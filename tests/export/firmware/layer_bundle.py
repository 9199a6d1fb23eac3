"""Bundles of small networks with gated or recurrent layers that listen by whole windows, for firmware."""

from __future__ import annotations

import ctypes
import hashlib
import json
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from gatesearch.compile import tflite
from gatesearch.devices import profile
from gatesearch.export.bundle import write_bundle
from gatesearch.frontends.log_mel import LogMel
from gatesearch.graph.sites import cut_sites, layer_sites
from gatesearch.model import GatedModel
from gatesearch.plan import GatePlan, PlacedGate
from gatesearch.runtime.chain import STREAM_GATES
from gatesearch.runtime.listener import DETECTOR, StreamFormat, describe_detector
from gatesearch.runtime.open_listener import open_listener
from gatesearch.training import FeatureSplit
from tests.export.firmware.small_bundle import make_sound, read_scores
from tests.export.small_model import CLASSES, POSITIVE
from tests.runtime.test_listening_blocks import RATE, detector


def export_layers(
    folder: Path, backbone: nn.Module, gates: Sequence[PlacedGate] = (), hop: int = 1600, device: str = "stm32u3c5"
) -> Path:
    """Write a bundle with a detector that reports a class at almost every hop, and return its folder.

    Args:
        folder: the folder to write.
        backbone: maps features [N, 1, 49, 10] to logits [N, 4]; it is not trained.
        gates: the gates of the plan; the threshold of a cut gate is the second largest of its scores on noise.
        hop: samples of a hop.
        device: name of the device that runs the plan.
    """
    waves = np.stack([make_sound()[first : first + RATE] for first in range(0, 3 * RATE, RATE // 20)])
    frontend = LogMel(mel_bins=10).fit(torch.from_numpy(waves))
    features = frontend(torch.from_numpy(waves))
    labels = torch.arange(len(features)) % len(CLASSES)
    split = FeatureSplit(features, labels, labels)
    cuts = cut_sites(backbone, features[:1])
    names = [core.name for core in profile.load(device).cores]
    # All stages are on the first core: a coprocessor with int8 programs alone runs no gated layer.
    cores = [names[0]] * (1 + len([gate for gate in gates if gate.site in {site.name for site in cuts}]))
    model = GatedModel(
        backbone, GatePlan(tuple(gates), tuple(cores)), cuts, len(CLASSES), layers=layer_sites(backbone, features[:1])
    )
    with torch.no_grad():
        for _ in range(60):
            output = model.train()(features)  # running statistics and ranges
    model.eval()
    for k, gate in enumerate(output.gates):
        model.gate(k).theta.fill_(float(gate.logit.median()))
    settings = replace(detector(hop), threshold=0.02, hits=1, refractory_s=hop / RATE)
    stream = StreamFormat(rate=RATE, window=RATE, hop=hop)
    entries = {
        DETECTOR: describe_detector(settings, stream),
        STREAM_GATES: {"signal": None, "gates": [{"threshold": -1e9, "smoothing": 1, "hold": 0}] * (len(cores) - 1)},
    }
    manifest = write_bundle(
        folder,
        model,
        profile.load(device),
        features,
        split,
        POSITIVE,
        formats=(),
        classes=CLASSES,
        about={"frontend": frontend.describe()},
        describe=lambda _: entries,
        input_range=frontend.output_range,
    )
    if cores[1:]:
        scores = read_scores(folder, make_sound())[0]
        manifest[STREAM_GATES]["gates"][0]["threshold"] = float(np.unique(scores)[-2:][0])
        (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def add_exit(folder: Path, k: int) -> None:
    """Give gate ``k`` of a bundle an exit: a linear layer on the window of the stage behind the gate."""
    manifest = json.loads((folder / "manifest.json").read_text())
    stage, spec = manifest["stages"][k], manifest["stages"][k + 1]["input"]
    _, height, width, channels = spec["shape"]
    torch.manual_seed(k)
    network = nn.Sequential(nn.Flatten(), nn.Linear(height * width * channels, len(CLASSES)))
    # The samples have a wider range than the window, so that the exit reads another scale.
    samples = 150 * spec["scale"] * (2 * torch.rand(64, channels, height, width) - 1)
    blob = tflite.quantise(tflite.convert(network.eval(), (samples[:1],)), tflite.channel_last(samples.numpy()))
    path = folder / stage["core"] / f"stage{k}_exit.tflite"
    path.write_bytes(blob)
    program = stage["program"] | {
        "path": str(path.relative_to(folder)),
        "bytes": len(blob),
        "sha256": hashlib.sha256(blob).hexdigest(),
    }
    stage["gate"]["exit"] = {"program": program, "artifacts": [program], "input": spec, "outputs": {"output": spec}}
    (folder / "manifest.json").write_text(json.dumps(manifest))


class Detection(ctypes.Structure):
    """The C struct ``gs_detection`` of gatesearch.h."""

    _fields_ = (("label", ctypes.c_int32), ("confidence", ctypes.c_float), ("hop", ctypes.c_int64))


class Activity(ctypes.Structure):
    """The C struct ``gs_activity`` of gatesearch.h."""

    _fields_ = (("last_stage", ctypes.c_int32), ("caught_up", ctypes.c_uint32))


def play(firmware: Path, sound: np.ndarray, hop: int) -> list[tuple[int, int, int, float]]:
    """Return what firmware decides at each hop: the last stage, the stages that caught up, label and confidence."""
    command = ["cc", "-O1", "-std=c99", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off", "-fno-math-errno"]
    command += ["-shared", "-fPIC", "-Iinclude", "-Isrc", "-Ikernels", "-o", "firmware.so"]
    sources = ["src/gatesearch.c", "src/gs_plan.c", "src/kernels.c"]
    subprocess.run([*command, *sources], cwd=firmware, check=True)
    library = ctypes.CDLL(str(firmware / "firmware.so"))
    library.gatesearch_activity.restype = Activity
    assert library.gatesearch_init() == 0
    rows, detection = [], Detection()
    for first in range(0, len(sound) - hop + 1, hop):
        detects = library.gatesearch_process(ctypes.c_void_p(sound.ctypes.data + 2 * first), ctypes.byref(detection))
        activity = library.gatesearch_activity()
        label, confidence = (detection.label, detection.confidence) if detects == 1 else (-1, 0.0)
        rows.append((activity.last_stage, activity.caught_up, label, confidence))
    return rows


def listen(bundle: Path, sound: np.ndarray) -> list[tuple[str, float, float]]:
    """Return class, time and confidence of each detection of the Python listener."""
    return [(each.label, each.time_s, each.confidence) for each in open_listener(bundle).push(sound)]
