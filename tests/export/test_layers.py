"""Tests that exported stages with gated layers, which are in float, agree with the model.

The layer gates are feature boosting and suppression (``fbs``), precision gating (``pg``), and both in one (``fbs_pg``).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gatesearch.compile import passes
from gatesearch.compile.number_format import arithmetic, needs
from gatesearch.compile.tflite import channel_last, convert
from gatesearch.devices import profile
from gatesearch.export.bundle import write_bundle
from gatesearch.export.thresholds import copy_with_thresholds, read_thresholds
from gatesearch.export.verify import Parity, verify
from gatesearch.gates import build_gate
from gatesearch.graph.sites import LayerSite, cut_sites, layer_sites
from gatesearch.model import GatedModel
from gatesearch.plan import GatePlan, PlacedGate
from gatesearch.runtime.bundle import Bundle
from gatesearch.runtime.program import Program
from gatesearch.training import FeatureSplit, calibrate, run_cascade

SHAPE, CLASSES = (1, 8, 8), ("a", "b", "none")
POSITIVE = torch.tensor([True, True, False])


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 16, 3, 2, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.AvgPool2d(4), nn.Flatten(), nn.Linear(16, 3),
    )  # fmt: skip


def images(count: int, seed: int) -> FeatureSplit:
    """Return images of noise over the pattern of their class; the third class has no pattern."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    patterns = 2 * torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(9))
    patterns[2] = 0
    return FeatureSplit(
        patterns[labels] + torch.randn(count, *SHAPE, generator=generator), labels, (labels == 2).long()
    )


CUT = PlacedGate.of("gc", "5", mode="channel", keep=0.5, recall=0.97)
PLANS = {
    "all in one stage": GatePlan(
        (
            PlacedGate.of("fbs", "3", density=0.5),
            PlacedGate.of("fbs_pg", "6", density=0.5, bits=8, high_bits=4, mask="m2-8"),
            PlacedGate.of("pg", "11", bits=8, high_bits=4, mask="m1"),
        ),
        ("serial",),
    ),
    "before a cut": GatePlan((CUT, PlacedGate.of("pg", "3", bits=8, high_bits=4, mask="m1")), ("serial", "serial")),
    "behind a cut": GatePlan((CUT, PlacedGate.of("fbs", "6", density=0.5)), ("serial", "serial")),
}


class Exported(NamedTuple):
    model: GatedModel
    folder: Path
    manifest: dict[str, Any]
    parity: Parity


def trained(plan: GatePlan) -> GatedModel:
    backbone, split = net(), images(90, seed=1)
    sites, layers = cut_sites(backbone, split.features[:1]), layer_sites(backbone, split.features[:1])
    model = GatedModel(backbone, plan, sites, len(CLASSES), layers=layers)
    model.to(memory_format=torch.channels_last)  # the memory format that a training leaves
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(15):
        output = model.train()(split.features)
        loss = nn.functional.cross_entropy(output.logits, split.labels)
        for gate in output.gates:
            positive = POSITIVE[split.labels].float()
            loss = loss + nn.functional.binary_cross_entropy_with_logits(gate.logit, positive)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    calibrate(model, images(120, seed=2), POSITIVE)
    return model.eval()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Exported]:
    """Return a function that returns a named plan's bundle; it writes each bundle once, as that takes a second."""
    result: dict[str, Exported] = {}

    def export_plan(name: str) -> Exported:
        if name not in result:
            model, folder = trained(PLANS[name]), tmp_path_factory.mktemp("layers") / "bundle"
            arguments: dict[str, Any] = {"formats": ["tflite", "onnx"] if "all" in name else ["tflite"], "about": {}}
            device, calibration = profile.load("bit_serial"), images(60, seed=3).features
            manifest = write_bundle(
                folder, model, device, calibration, images(120, seed=2), POSITIVE, classes=CLASSES, **arguments
            )
            parity = verify(model, Bundle(folder), images(90, seed=4).features)
            deployed = copy_with_thresholds(model, read_thresholds(manifest))
            result[name] = Exported(deployed, folder, manifest, parity)
        return result[name]

    return export_plan


@pytest.mark.parametrize(
    ("name", "arithmetic"),
    [
        ("all in one stage", ["float32"]),
        ("before a cut", ["float32", "int8"]),
        ("behind a cut", ["int8", "float32"]),
    ],
)
def test_a_stage_with_gated_layers_is_in_float_and_no_other(
    exported: Callable[[str], Exported], name: str, arithmetic: list[str]
) -> None:
    result = exported(name)
    stages = result.manifest["stages"]
    assert [stage["arithmetic"] for stage in stages] == arithmetic
    for stage, kind in zip(stages, arithmetic, strict=True):
        for spec in (stage["input"], *stage["outputs"].values()):
            assert spec["dtype"] == kind and (spec["scale"] == 0) == (kind == "float32")


@pytest.mark.parametrize("name", PLANS)
def test_the_bundle_agrees_with_the_model(exported: Callable[[str], Exported], name: str) -> None:
    result = exported(name)
    assert result.parity.gate_agreement >= 0.95 and result.parity.prediction_agreement >= 0.95
    assert len(result.parity.labels.unique()) == 3  # the bundle answers all three classes
    if result.manifest["stages"][-1]["arithmetic"] == "float32" and len(result.manifest["stages"]) == 1:
        assert result.parity.max_abs_error < 1e-3 and result.parity.prediction_agreement == 1.0


@pytest.mark.parametrize("name", ["before a cut", "behind a cut"])
def test_thresholds_are_in_the_arithmetic_of_their_stage(exported: Callable[[str], Exported], name: str) -> None:
    result = exported(name)
    [first, _] = result.manifest["stages"]
    threshold = first["gate"]["theta_integer"]
    assert isinstance(threshold, float if name == "before a cut" else int)
    loaded, test = Bundle(result.folder), images(90, seed=4)
    assert loaded.thresholds == [threshold]
    answers = [loaded(window) for window in test.features.numpy()]
    for answer in answers:
        assert isinstance(answer.gate_logits[0], type(threshold))
        assert (answer.exit > 0) == (answer.gate_logits[0] > threshold)
    # The model with the thresholds of the artifacts stops the same windows.
    cascade = run_cascade(result.model, test.features)
    exits = torch.tensor([answer.exit for answer in answers])
    assert 0 < int((exits == 0).sum()) < 90
    assert float((exits == cascade.exit).double().mean()) >= 0.97
    positive = POSITIVE[test.labels]
    assert float((exits[positive] > 0).double().mean()) > 0.9


def test_the_manifest_says_which_kernel_each_gated_layer_needs(exported: Callable[[str], Exported]) -> None:
    [stage] = exported("all in one stage").manifest["stages"]
    kernels = {layer["site"]: layer["kernel"] for layer in stage["gated_layers"]}
    skipped = {site: [call["skips"] for call in kernel["calls"]] for site, kernel in kernels.items()}
    assert skipped == {"3": [["channel"]], "6": [["channel"], ["channel", "pixel-group-8"]], "11": [[], ["pixel"]]}
    first, behind = exported("before a cut").manifest["stages"]
    assert first["gated_layers"][0]["kernel"] == {
        "op": "conv2d", "calls": [
            {"bits": [4, 8], "skips": [], "size": 1.0}, {"bits": [4, 8], "skips": ["pixel"], "size": 1.0},
        ],
    }  # fmt: skip
    assert behind["gated_layers"] == []


def test_float_programs_in_tflite_and_onnx_equal_the_model(exported: Callable[[str], Exported]) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    result = exported("all in one stage")
    [stage] = result.manifest["stages"]
    assert [artifact["format"] for artifact in stage["artifacts"]] == ["tflite", "onnx"]
    blobs = {artifact["format"]: (result.folder / artifact["path"]).read_bytes() for artifact in stage["artifacts"]}
    session, program = onnxruntime.InferenceSession(blobs["onnx"]), Program(blobs["tflite"])
    [model_input] = session.get_inputs()
    inputs, floor = images(24, seed=5).features, stage["logit_offset"]
    with torch.no_grad():
        expected = result.model(inputs).logits.clamp(min=floor).numpy()
    for sample, logits in zip(inputs.split(1), expected, strict=True):
        [by_onnx] = session.run(None, {model_input.name: sample.numpy()})
        [by_tflite] = program(channel_last(sample.numpy()))
        np.testing.assert_allclose(by_onnx[0] + floor, logits, atol=1e-3)
        np.testing.assert_allclose(by_tflite[0] + floor, logits, atol=1e-3)
    assert np.ptp(expected, axis=0).min() > 0.5  # the logits vary, so their agreement is meaningful


def test_lowering_says_which_stage_is_in_float() -> None:
    model, calibration = trained(PLANS["before a cut"]), images(60, seed=3).features
    mcu = profile.load("three_core").core("mcu")
    stages = passes.run(model, calibration, profile.load("bit_serial"))
    assert [arithmetic(needs(stage.program), mcu) for stage in stages] == ["float32", "int8"]


@pytest.mark.parametrize("kind", [None, "pg"])
def test_weights_that_lie_channels_last_are_read_in_their_own_order(kind: str | None) -> None:
    """With three such convolutions, the converter once read weights in memory order and ignored their strides."""
    torch.manual_seed(0)
    layers: list[Any] = [nn.Conv2d(8, 8, 3, padding=1) for _ in range(3)]
    x = torch.randn(3, 8, 4, 4)
    if kind is not None:
        site = LayerSite("1", "conv2d", (8, 4, 4), (8, 4, 4), 8 * 9 * 8 * 16, 584)
        layers[1] = build_gate(site, PlacedGate.of(kind, "1"), layers[1])
        with torch.no_grad():
            layers[1].train()(x)
    module = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2]).eval()
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    weights = [p for p in module.parameters() if p.ndim == 4]
    assert len(weights) == 3 and not any(p.is_contiguous() for p in weights)
    program = Program(convert(module, x[:1]))
    for sample in x.split(1):
        [result] = program(channel_last(sample.numpy()))
        expected: Tensor = module(sample)
        np.testing.assert_allclose(result, channel_last(expected.detach().numpy()), atol=1e-5)
    assert not any(p.is_contiguous() for p in weights)  # the conversion changes a copy of the module alone
