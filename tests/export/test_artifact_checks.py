"""Tests of how verification checks a bundle's files: by running, by inspection, or by sha256."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gatesearch.devices import profile
from gatesearch.errors import UserError
from gatesearch.export.artifact_checks import check_artifacts, describe_checks
from gatesearch.export.bundle import write_bundle
from gatesearch.export.verify import list_shortfalls, verify
from gatesearch.runtime.bundle import Bundle
from tests.export.small_model import CLASSES, POSITIVE, Exported, gated, windows

ONNX, VELA = "app/stage2.onnx", "npu/stage1_vela.tflite"


def copy_with(exported: Exported, folder: Path, path: str, content: bytes, **changes: str) -> Path:
    """Return a copy of the bundle in which a file has another content, with a manifest that fits this content."""
    shutil.copytree(exported.folder, folder)
    (folder / path).write_bytes(content)
    manifest = json.loads((folder / "manifest.json").read_text())
    for stage in manifest["stages"]:
        for artifact in stage["artifacts"]:
            if artifact["path"] == path:
                artifact.update(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content), **changes)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def problem(folder: Path, exported: Exported) -> str:
    parity = verify(exported.model, Bundle(folder), exported.test.features[:40])
    [line] = list_shortfalls(parity, 0.0, 0.0)
    assert "\n" not in line
    return line


def test_each_file_is_run_or_named(exported: Exported) -> None:
    checks = check_artifacts(exported.loaded, exported.test.features.numpy())
    assert {check.path for check in checks} == {
        artifact["path"] for stage in exported.manifest["stages"] for artifact in stage["artifacts"]
    }
    assert {check.path: check.check for check in checks if check.check != "run"} == {VELA: "inspected"}
    assert [check.problem for check in checks if check.problem] == []
    assert describe_checks(checks) == f"files: 4 run; inspected, not run on this host: {VELA}"


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x08\x07garbage" * 100])
def test_garbage_in_any_format_is_found(content: bytes, exported: Exported, tmp_path: Path) -> None:
    assert problem(copy_with(exported, tmp_path / "onnx", ONNX, content), exported).startswith(f"verify: {ONNX}: ")
    assert problem(copy_with(exported, tmp_path / "vela", VELA, content), exported).startswith(f"verify: {VELA}: ")


def test_files_of_another_stage_are_found(exported: Exported, tmp_path: Path) -> None:
    other = (exported.folder / "mcu/stage0.tflite").read_bytes()
    line = problem(copy_with(exported, tmp_path / "vela", VELA, other), exported)
    assert "inputs and outputs of the file are" in line
    same = (exported.folder / VELA).read_bytes()
    line = problem(copy_with(exported, tmp_path / "source", VELA, same, source="0"), exported)
    assert line == f"verify: {VELA}: the file was made from another program than npu/stage1.tflite; export again"


def test_an_onnx_file_with_other_weights_is_found(exported: Exported, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(str(exported.folder / ONNX))
    for constant in model.graph.initializer:
        values = onnx.numpy_helper.to_array(constant)
        if values.ndim > 1 and values.dtype.kind == "f":
            constant.CopyFrom(onnx.numpy_helper.from_array(-values, constant.name))
    line = problem(copy_with(exported, tmp_path / "onnx", ONNX, model.SerializeToString()), exported)
    assert "differs from that of app/stage2.tflite by" in line


def test_a_changed_file_ends_verification_at_once(exported: Exported, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(exported.folder, folder)
    (folder / ONNX).write_bytes(b"garbage")
    with pytest.raises(UserError, match=r"stage2.onnx: sha256 .* export again"):
        verify(exported.model, Bundle(folder), exported.test.features[:4])


def test_the_bundle_of_another_plan_is_refused(exported: Exported) -> None:
    bundle = exported.loaded
    bundle.manifest = {**bundle.manifest, "digest": "0" * 12}
    with pytest.raises(UserError, match="is the bundle of plan 000000000000, not of"):
        verify(exported.model, bundle, exported.test.features[:4])


@pytest.mark.parametrize(("value", "line"), [(float("nan"), "is not finite"), (float("inf"), "is not finite")])
def test_weights_that_are_not_finite_are_not_exported(
    value: float, line: str, exported: Exported, tmp_path: Path
) -> None:
    model = gated(replace(exported.model.plan))
    with torch.no_grad():
        next(model.stages[1].parameters()).view(-1)[0] = value
    split = windows(8, seed=2)
    with pytest.raises(UserError, match=rf"export: stages\.1\..* {line}: its training went wrong") as error:
        write_bundle(
            tmp_path / "bundle",
            model,
            profile.load("three_core"),
            split.features,
            split,
            POSITIVE,
            formats=["tflite"],
            classes=CLASSES,
            about={},
        )
    assert "\n" not in str(error.value) and not (tmp_path / "bundle").exists()
