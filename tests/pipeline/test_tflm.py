"""A run's folder for TensorFlow Lite Micro (TFLM) is checked where there is one, and a fault in it is a shortfall."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gatesearch.errors import UserError
from gatesearch.pipeline import tflm as step
from gatesearch.pipeline.export import PlanBundle
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.runtime.manifest import MANIFEST


@pytest.fixture
def bundle(tmp_path: Path) -> PlanBundle:
    return PlanBundle(tmp_path / "best" / "bundle", {}, cast(Any, None))


def test_a_run_without_the_folder_is_not_checked(bundle: PlanBundle, tmp_path: Path) -> None:
    assert step.verify_tflm(bundle, RunFolder(tmp_path)) is None


def test_a_fault_is_a_warning_and_the_reason_of_a_shortfall(
    bundle: PlanBundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / step.TFLM).mkdir(parents=True)
    problem = step.verify_tflm(bundle, RunFolder(tmp_path))
    assert problem is not None and "SHA256SUMS: no such file, or an empty one; write it again" in problem
    assert "gatesearch export RUN target=tflm" in capsys.readouterr().err


def test_a_run_on_clips_has_no_folder(bundle: PlanBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "read_test_sound", lambda problem: None)
    monkeypatch.setattr("gatesearch.export.tflm.project.load_manifest", lambda folder: {"bundle": 1})
    problem = cast(Any, SimpleNamespace(device=None))
    with pytest.raises(UserError, match=r"target=tflm: only runs on streams of sound .* wanted: goal: detection"):
        step.export_tflm(problem, bundle, tmp_path / "tflm")
    assert not (tmp_path / "tflm").exists() and not (bundle.path / MANIFEST).exists()
