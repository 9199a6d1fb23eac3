"""Tests of bundles: the manifest, each stage's programs compared with the model, and thresholds."""

from __future__ import annotations

import copy
import hashlib
import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gatesearch.compile import passes
from gatesearch.compile.flatbuffer import operator_names
from gatesearch.compile.tflite import channel_last
from gatesearch.devices import profile
from gatesearch.errors import UserError
from gatesearch.export import bundle, compiled
from gatesearch.export.bundle import write_bundle
from gatesearch.export.compiled import CompiledStage
from gatesearch.export.exporters import exporter
from gatesearch.export.thresholds import GateThreshold, artifact_thresholds, copy_with_thresholds
from gatesearch.export.verify import verify
from gatesearch.graph.sites import cut_sites
from gatesearch.model import GatedModel
from gatesearch.plan import GatePlan, PlacedGate
from gatesearch.runtime.bundle import Bundle
from gatesearch.runtime.program import Program
from gatesearch.runtime.tensor_spec import TensorSpec
from gatesearch.training import gate_logits, run_cascade
from tests.export.small_model import CLASSES, PLAN, POSITIVE, Exported, gated, windows
from tests.schema_checks import check_document


def test_the_manifest_describes_how_to_run_every_stage(exported: Exported) -> None:
    manifest = json.loads((exported.folder / "manifest.json").read_text())
    assert manifest == json.loads(json.dumps(exported.manifest))
    assert manifest["bundle"] == 1 and manifest["device"] == "three_core"
    assert manifest["plan"] == json.loads(json.dumps(PLAN.to_dict())) and manifest["digest"] == PLAN.digest
    assert manifest["classes"] == list(CLASSES) and manifest["positive"] == POSITIVE.tolist()
    assert (manifest["recipe"], manifest["synthetic_data"], manifest["frontend"]) == ("kws", True, {"name": "mfcc"})
    stages = manifest["stages"]
    assert [(s["index"], s["core"], s["engine"]) for s in stages] == [
        (0, "mcu", "tflm"),
        (1, "npu", "reference"),
        (2, "app", "litert"),
    ]
    assert [[a["format"] for a in s["artifacts"]] for s in stages] == [
        ["tflite"],
        ["tflite", "vela"],
        ["tflite", "onnx"],
    ]
    assert [list(s["outputs"]) for s in stages] == [["passed", "logit"], ["passed", "logit"], ["logits"]]
    assert [s["channels"] is None for s in stages] == [True, False, True] and len(stages[1]["channels"]) == 8
    for stage in stages:
        for spec in (stage["input"], *stage["outputs"].values()):
            assert spec["dtype"] == "int8" and spec["scale"] > 0 and -128 <= spec["zero_point"] <= 127
            assert spec["shape"][0] == 1
    for stage, placed, gate in zip(stages, PLAN.gates, exported.model.gates, strict=False):
        assert {k: stage["gate"][k] for k in ("kind", "site", "params")} == json.loads(json.dumps(placed.to_dict()))
        assert isinstance(stage["gate"]["theta_integer"], int) and -129 <= stage["gate"]["theta_integer"] <= 127
        assert stage["gate"]["theta"] == float(gate.theta)  # type: ignore[arg-type]
        assert not POSITIVE[stage["gate"]["answer"]]
    assert stages[-1]["gate"] is None


def test_every_file_matches_its_sha256_and_there_are_no_others(exported: Exported) -> None:
    artifacts = [a for stage in exported.manifest["stages"] for a in stage["artifacts"]]
    for a in artifacts:
        blob = (exported.folder / a["path"]).read_bytes()
        assert len(blob) == a["bytes"] and hashlib.sha256(blob).hexdigest() == a["sha256"]
        assert a["path"].startswith(f"{a['core']}/stage{a['stage']}")
    files = {str(p.relative_to(exported.folder)) for p in exported.folder.rglob("*") if p.is_file()}
    assert files == {a["path"] for a in artifacts} | {"manifest.json"}
    assert [p.name for p in exported.folder.parent.iterdir()] == ["bundle"]


def shapes(model: bytes) -> set[tuple[int, ...]]:
    from ai_edge_litert.interpreter import Interpreter

    return {tuple(int(n) for n in d["shape"]) for d in Interpreter(model_content=model).get_tensor_details()}


def test_channels_are_removed_on_both_sides_of_the_gate(exported: Exported) -> None:
    npu = shapes((exported.folder / "npu/stage1.tflite").read_bytes())
    assert (8, 1, 1, 16) in npu and (16, 1, 1, 16) not in npu  # the pointwise convolution before the gate
    assert (1, 25, 5, 8) in npu
    app = shapes((exported.folder / "app/stage2.tflite").read_bytes())
    assert (1, 3, 3, 8) in app and (1, 3, 3, 16) not in app  # the depthwise convolution behind the gate
    assert (1, 25, 5, 16) in app  # later layers have all channels again


def test_lowered_stages_compute_what_the_model_computes(exported: Exported) -> None:
    hidden, features = exported.test.features, exported.test.features
    expected = gate_logits(exported.model, features)
    for k, stage in enumerate(exported.stages[:-1]):
        hidden, logit = stage.program(hidden)
        window, logits = stage.logit_window, stage.gate_logit(logit[:, 0])
        inside = (expected[:, k] - window["center"]).abs() < 0.99 * window["half_width"]
        assert inside.any() and torch.allclose(logits[inside], expected[inside, k], atol=1e-3)
        assert torch.equal(logits[~inside] > window["center"], expected[~inside, k] > window["center"])
    floor = exported.stages[-1].logit_offset
    answers, logits = exported.stages[-1].program(hidden) + floor, exported.model(features).logits
    assert torch.allclose(answers, logits.clamp(min=floor), atol=1e-4)
    assert torch.equal(answers.argmax(1), logits.argmax(1))


def test_later_stages_are_calibrated_on_the_samples_that_reach_them(exported: Exported) -> None:
    counts = [len(stage.samples) for stage in exported.stages]
    assert counts[0] == 96 and all(64 <= later <= earlier for earlier, later in pairwise(counts))


def test_the_npu_file_is_one_operator_of_the_npu(exported: Exported) -> None:
    compiled = (exported.folder / "npu/stage1_vela.tflite").read_bytes()
    assert "ethos-u" in operator_names(compiled)
    assert "ethos-u" not in operator_names((exported.folder / "npu/stage1.tflite").read_bytes())


def test_the_onnx_file_computes_what_the_stage_computes(exported: Exported) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession((exported.folder / "app/stage2.onnx").read_bytes())
    stage, floor = exported.stages[2], exported.manifest["stages"][2]["logit_offset"]
    [source] = session.get_inputs()
    for sample in stage.samples[:8]:
        with torch.no_grad():
            logits = exported.model.stages[2](
                restore_channels(sample[None], exported.manifest["stages"][1]["channels"], 16)
            )
        [result] = session.run(None, {source.name: sample[None].numpy()})
        np.testing.assert_allclose(result + floor, logits.clamp(min=floor).numpy(), atol=1e-4)


def restore_channels(x: torch.Tensor, channels: list[int], count: int) -> torch.Tensor:
    """Return activations with all channels, in which the removed ones are zero."""
    whole = x.new_zeros(len(x), count, *x.shape[2:])
    whole[:, channels] = x
    return whole


@pytest.mark.parametrize("k", [0, 1])
def test_integer_and_float_thresholds_give_the_same_decisions(k: int, exported: Exported, bundle_run: Bundle) -> None:
    gate, spec = exported.manifest["stages"][k]["gate"], bundle_run.programs[k].outputs[1]
    integers = np.arange(-128, 128, dtype=np.int8)
    window = gate["logit"]
    logits = window["center"] + (spec.dequantise(integers) - 3) * window["half_width"] / 3
    assert ((logits > gate["theta"]) == (integers > gate["theta_integer"])).all()


def test_decisions_differ_only_within_rounding(exported: Exported, bundle_run: Bundle) -> None:
    first, spec = bundle_run.programs[0], bundle_run.programs[0].outputs[1]
    logits, theta = gate_logits(exported.model, exported.test.features)[:, 0], bundle_run.thresholds[0]
    near = 0
    for window, logit in zip(exported.test.features.numpy(), logits.tolist(), strict=True):
        integer = int(first(bundle_run.quantise(window))[1].flat[0])
        margin = abs(logit - float(exported.model.gate(0).theta)) / spec.scale
        near += margin <= 6
        assert (integer > theta) == (logit > float(exported.model.gate(0).theta)) or margin <= 6
    assert near < 60  # most logits are far from the threshold, so the check above is not empty


def test_thresholds_keep_the_recall_target_on_validation(exported: Exported, bundle_run: Bundle) -> None:
    positive = POSITIVE[exported.validation.labels]
    exits = torch.tensor([bundle_run(window).exit for window in exported.validation.features.numpy()])
    for k, placed in enumerate(PLAN.gates):
        reached = positive & (exits >= k)
        assert (exits[reached] > k).double().mean() >= placed["recall"]
    assert (exits[~positive] < 2).double().mean() > 0.2  # the gates stop some negatives


def test_a_second_export_replaces_the_first(exported: Exported, tmp_path: Path, monkeypatch: Any) -> None:
    """The test is about folders, so it converts nothing: every program is a copy of an earlier one."""
    blob = (exported.folder / "app/stage2.tflite").read_bytes()
    monkeypatch.setattr(compiled.tflite, "compile", lambda *_: blob)
    split, device = windows(40, seed=5), profile.load("three_core")
    model = GatedModel(exported.model.stages[2], GatePlan((), ("app",)), (), 4)
    features = torch.randn(8, 16, 25, 5)[:, :8].repeat(1, 2, 1, 1)
    arguments: dict[str, Any] = {"formats": ["tflite"], "classes": CLASSES, "about": {}}
    folder = tmp_path / "bundle"
    (tmp_path / "bundle.1.part" / "app").mkdir(parents=True)  # as a killed run leaves it
    for _ in range(2):
        write_bundle(folder, model, device, features, split, POSITIVE, **arguments)
        assert [p.name for p in tmp_path.iterdir()] == ["bundle"]
        (folder / "stray").touch()
    monkeypatch.setattr(bundle, "write_whole", lambda *_: (_ for _ in ()).throw(OSError(28, "disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_bundle(folder, model, device, features, split, POSITIVE, **arguments)
    assert Bundle(folder).manifest["stages"]  # after a failed export, the bundle before it is still there


def test_a_bundle_may_have_no_gate_or_a_gate_at_the_input(tmp_path: Path) -> None:
    device, split, test = profile.load("three_core"), windows(120, seed=2), windows(120, seed=4)
    for plan in (
        GatePlan((), ("app",)),
        GatePlan((PlacedGate.of("gc", "input", keep=1.0, mode="channel", recall=0.97),), ("mcu", "app")),
    ):
        model = gated(plan)
        folder = tmp_path / plan.digest
        arguments: dict[str, Any] = {"formats": ["tflite"], "classes": CLASSES, "about": {}}
        write_bundle(folder, model, device, split.features[:64], split, POSITIVE, **arguments)
        parity = verify(model, Bundle(folder), test.features)
        assert parity.gate_agreement > 0.97 and parity.prediction_agreement > 0.9
        assert len(parity.per_stage) == len(plan.gates)


def test_a_gate_that_no_positive_reaches_stops_nothing(exported: Exported) -> None:
    """Without positives the threshold is minus infinity, which becomes the integer -129."""
    model = gated(GatePlan(PLAN.gates[:1], ("mcu", "app")))

    class Stage:
        inputs = (TensorSpec("x", (1, 49, 10, 1), np.dtype(np.int8), 0.05, 0),)
        outputs = (inputs[0], TensorSpec("logit", (1, 1), np.dtype(np.int8), 0.1, 0))

        def __call__(self, x: Any) -> Any:
            return x, x.reshape(1, -1)[:, :1]

    split = windows(20, seed=6)
    stages, none = exported.stages[:1], torch.zeros(4, dtype=torch.bool)
    thresholds = artifact_thresholds(model, stages, [Stage(), Stage()], split, none)  # type: ignore[list-item]
    assert [threshold.integer for threshold in thresholds] == [-129]
    assert run_cascade(copy_with_thresholds(model, thresholds), split.features).exit.tolist() == [1] * 20


FLOAT32_MAX = torch.finfo(torch.float32).max


@pytest.mark.parametrize("theta", [-0.7, 0.0, 0.4, -math.inf, -1e9, 1e6])
def test_gates_of_a_stream_keep_their_thresholds_as_near_as_int8_allows(exported: Exported, theta: float) -> None:
    model = copy.deepcopy(exported.model)
    model.stream = "set together"
    for gate in model.cut_gates:
        gate.theta.fill_(theta)
    stages, programs = exported.stages, exported.loaded.programs
    split = windows(10, seed=6)
    thresholds = artifact_thresholds(model, stages, programs, split, POSITIVE)
    for k, threshold in enumerate(thresholds):
        spec = programs[k].outputs[1]
        step = stages[k].gate_logit(spec.value(1.0)) - stages[k].gate_logit(spec.value(0.0))
        if -128 <= threshold.integer < 127:
            assert abs(threshold.theta - theta) <= step
        else:
            assert threshold.integer == (-129 if theta < 0 else 127)
            # The program stops nothing, or everything, and so does the model, for logits outside the window, too.
            assert threshold.theta == (-FLOAT32_MAX if theta < 0 else FLOAT32_MAX)
    assert [float(gate.theta) for gate in model.cut_gates] == pytest.approx([theta] * len(thresholds))


def test_every_format_has_an_exporter(exported: Exported) -> None:
    assert exporter("onnx").suffix == ".onnx"
    with pytest.raises(UserError, match=r"export.formats: unknown format 'onx'; nearest: 'onnx'"):
        exporter("onx")
    core = profile.load("three_core").core("mcu")
    stage = CompiledStage(graph=exported.stages[0], tflite=b"", program=exported.loaded.programs[0], core=core)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="core mcu: unknown format 'vela'"):
        exporter("vela").write(stage)


def test_an_export_does_not_change_the_model(exported: Exported, tmp_path: Path, monkeypatch: Any) -> None:
    blobs = [(exported.folder / stage["program"]["path"]).read_bytes() for stage in exported.manifest["stages"]]
    monkeypatch.setattr(compiled.tflite, "compile", lambda *_: blobs.pop(0))
    model = copy_with_thresholds(exported.model, [GateThreshold(0.25, 0, 3), GateThreshold(-0.5, 0, 2)])
    before = copy.deepcopy(model.state_dict())
    device, calibration, split = profile.load("three_core"), windows(96, seed=1).features, windows(40, seed=2)
    about: dict[str, Any] = {"formats": ["tflite"], "classes": CLASSES, "about": {}}
    manifest = write_bundle(tmp_path / "bundle", model, device, calibration, split, POSITIVE, **about)
    assert manifest["stages"][0]["gate"]["theta"] != 0.25
    after = model.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


def test_stages_that_do_nothing_are_identities(exported: Exported) -> None:
    plan = GatePlan((PlacedGate.of("gc", "input", keep=1.0, mode="channel"),), ("mcu", "app"))
    sites = cut_sites(exported.model.stages[2], torch.zeros(1, 16, 25, 5))
    model = GatedModel(exported.model.stages[2], plan, sites, 4)
    first, _ = passes.run(model, torch.randn(8, 16, 25, 5), profile.load("three_core"))
    assert isinstance(first.program.body, torch.nn.Identity)


def test_programs_take_windows_channel_last(exported: Exported, bundle_run: Bundle) -> None:
    program = bundle_run.programs[1]
    assert isinstance(program, Program) and program.inputs[0].shape == (1, 25, 5, 16)
    assert channel_last(exported.stages[1].samples[:1].numpy()).shape == (1, 25, 5, 16)


def test_manifest_fits_its_schema(exported: Exported) -> None:
    check_document("manifest", exported.folder / "manifest.json")
