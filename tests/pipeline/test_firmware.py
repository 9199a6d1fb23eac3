"""The step that writes firmware: once for the same weights, again where a file changed, else with a warning."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatesearch._lib import console
from gatesearch.devices import profile
from gatesearch.export.firmware import check
from gatesearch.export.source_folder import find_changed
from gatesearch.kernels import native
from gatesearch.kernels.build import BuildError
from gatesearch.pipeline import firmware as step
from gatesearch.pipeline.export import PlanBundle
from gatesearch.pipeline.run_dir import RunFolder
from tests.export.firmware.small_bundle import export_listening, make_sound

HAS_TOOLS = native.load() is not None and shutil.which("make") is not None
pytestmark = pytest.mark.skipif(not HAS_TOOLS, reason="needs make and a C compiler")
NO_PROBLEM = cast(Any, SimpleNamespace(device=profile.load("three_core")))  # the step reads no more of a problem


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = export_listening(tmp_path_factory.mktemp("bundle") / "bundle", 640, 1, False, ((0.5, 1, 0), (0.3, 2, 3)))
    manifest = json.loads((folder / "manifest.json").read_text()) | {"made_from": {"weights": "w1", "formats": []}}
    return PlanBundle(folder, manifest, cast(Any, None))


@pytest.fixture
def run_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(step, "read_test_sound", lambda problem: make_sound())
    monkeypatch.setattr(step, "list_image_cores", lambda core: ())  # test_image.py measures images
    (tmp_path / "logs").mkdir()
    return RunFolder(tmp_path)


def test_firmware_is_written_once_and_again_where_a_file_changed(bundle, run_folder, capsys):
    first = step.build_firmware(NO_PROBLEM, bundle, run_folder)
    assert first is not None and first.check == f"PASS {first.hops} hops, {first.detections} detections"
    plan = run_folder / "best/firmware/src/gs_plan.c"
    text, changed_at = plan.read_text(), plan.stat().st_mtime_ns
    assert step.build_firmware(NO_PROBLEM, bundle, run_folder) == first
    assert plan.stat().st_mtime_ns == changed_at
    capsys.readouterr()
    for damage in (
        lambda: plan.write_text(text[:-100]),
        plan.unlink,
        lambda: plan.write_text(text.replace("1", "2", 1)),
    ):
        damage()
        assert step.build_firmware(NO_PROBLEM, bundle, run_folder) == first
        assert plan.read_text() == text
        assert "gs_plan.c is not what the run wrote; the firmware is written again" in capsys.readouterr().err
    other = PlanBundle(bundle.path, {**bundle.manifest, "made_from": {"weights": "w2"}}, bundle.model)
    assert step.build_firmware(NO_PROBLEM, other, run_folder) == first
    assert plan.stat().st_mtime_ns != changed_at


def test_a_part_without_a_kernel_is_a_warning_and_the_run_goes_on(bundle, run_folder, monkeypatch, capsys):
    from gatesearch.runtime import stage_program

    kernels = {k: v for k, v in stage_program._OPERATORS.items() if k != "DEPTHWISE_CONV_2D"}
    monkeypatch.setattr(stage_program, "_OPERATORS", kernels)
    assert step.build_firmware(NO_PROBLEM, bundle, run_folder) is None
    assert "firmware: not written: " in (warning := capsys.readouterr().err)
    assert "no kernel for DEPTHWISE_CONV_2D" in warning
    assert step.firmware_entry(None) is None


def test_a_bundle_without_a_detector_has_no_firmware(bundle, run_folder):
    manifest = {key: value for key, value in bundle.manifest.items() if key != "detector"}
    assert step.build_firmware(NO_PROBLEM, PlanBundle(bundle.path, manifest, bundle.model), run_folder) is None


def test_firmware_that_cannot_run_here_is_named_and_firmware_that_fails_is_a_shortfall(bundle, run_folder, monkeypatch):
    first = step.build_firmware(NO_PROBLEM, bundle, run_folder)
    assert first is not None and first.problem is None

    def find() -> None:
        raise BuildError("no C compiler")

    with monkeypatch.context() as patch, console.collect_warnings() as warnings:
        patch.setattr(check.Compiler, "find", find)
        record = step.build_firmware(NO_PROBLEM, bundle, run_folder)
        patch.setattr(check.shutil, "which", lambda name: None)
        assert step.build_firmware(NO_PROBLEM, bundle, run_folder) == record
    assert record is not None and record.check is None and record.problem is None
    folder = run_folder / step.FIRMWARE
    assert warnings == [
        f"firmware: {folder}: not run on this host: no C compiler",
        f"firmware: {folder}: not run on this host: needs make (Debian: make)",
    ]
    (folder / "build" / "check_host").write_text("#!/bin/sh\necho FAIL hop 3; exit 1\n")
    record = step.build_firmware(NO_PROBLEM, bundle, run_folder)
    assert record is not None and record.check is None
    assert record.problem == f"firmware: {folder}: make check: FAIL hop 3"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_changed_byte_of_any_file_is_found(bundle, run_folder, data):
    if not (run_folder / step.FIRMWARE).exists():
        step.build_firmware(NO_PROBLEM, bundle, run_folder)
    files = json.loads((run_folder / step.FIRMWARE_FILE).read_text())["files"]
    path = run_folder / step.FIRMWARE / data.draw(st.sampled_from(sorted(files)))
    content = path.read_bytes()
    place = data.draw(st.integers(0, len(content) - 1))
    path.write_bytes(content[:place] + bytes([content[place] ^ data.draw(st.integers(1, 255))]) + content[place + 1 :])
    assert find_changed(run_folder / step.FIRMWARE, files) == path
    path.write_bytes(content)
    assert find_changed(run_folder / step.FIRMWARE, files) is None
