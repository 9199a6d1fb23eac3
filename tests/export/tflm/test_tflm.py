"""The later cores of a plan in TensorFlow Lite Micro (TFLM): models, operators, arenas, and the glue to the firmware.

No TFLM for C++ is at hand. The glue is compiled against stubs of its headers; an interpreter that knows recorded calls
of the Python interpreter plays them. The Python package tflite-micro runs the C arrays themselves.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatesearch.devices import profile
from gatesearch.errors import UserError
from gatesearch.export.firmware.vectors import trace_hops
from gatesearch.export.tflm import Tflm, write_tflm
from gatesearch.export.tflm.arena import ALIGNMENT_BYTES, MARGIN_BYTES, _loads
from gatesearch.export.tflm.check import check_tflm
from gatesearch.export.tflm.operators import METHODS, resolver_method, resolver_methods
from gatesearch.export.tflm.programs import CATCH_UP, STEP
from gatesearch.export.tflm.project import open_devices
from gatesearch.export.tflm.source import read_model
from gatesearch.runtime.program import Program
from tests.export.firmware.conftest import small_firmware  # noqa: F401 - a fixture of with_npu
from tests.export.tflm.conftest import HERE, Device, write_recorded

STUBS = HERE / "stubs"
FLAGS = ["-std=c++17", "-Wall", "-Wextra", "-Werror", "-fno-exceptions", "-fno-rtti"]


def read_array(tflm: Tflm, name: str) -> bytes:
    return read_model((tflm.folder / "models" / f"{name}.cc").read_text())


def play(device: Device, folder: Path, failure: int = -1, macro: str = "") -> subprocess.CompletedProcess[str]:
    """Build firmware and glue with the simulated interpreter in a copy of the folder, and play the golden vectors."""
    copy = Path(shutil.copytree(device.tflm.folder, folder / "later cores"))
    operators = len(resolver_methods(each.model for each in device.tflm.programs))
    write_recorded(device, operators, copy / "src" / "recorded.h", failure)
    firmware = folder / "fw"  # make takes no spaces in FIRMWARE_DIR
    shutil.copytree(device.firmware.folder, firmware, ignore=shutil.ignore_patterns("build"))
    stubs = Path(shutil.copytree(STUBS, folder / "tflite-micro"))
    command = [
        "make",
        "-s",
        "check",
        f"TFLM_DIR={stubs}",
        f"FIRMWARE_DIR={firmware}",
        f"TFLM_LIB={HERE / 'fake_interpreter.cc'}",
        f"CC=cc {macro}",
    ]
    return subprocess.run(command, cwd=copy, capture_output=True, text=True)


@pytest.mark.parametrize("name", ["two_cores", "with_npu"])
def test_firmware_with_tflm_on_its_later_cores_decides_as_python_does(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    device: Device = request.getfixturevalue(name)
    done = play(device, tmp_path)
    tflm = device.tflm
    assert done.stdout == f"PASS {tflm.hops} hops, {tflm.detections} detections\n", done.stdout + done.stderr
    assert {each.role for each in tflm.programs} == {CATCH_UP, STEP}
    assert all(device.calls.values()) and tflm.detections > 0


def test_the_arrays_in_the_interpreter_of_tflm_give_the_recorded_outputs(two_cores: Device) -> None:
    compared = 0
    for each in two_cores.tflm.programs:
        program = Program(read_array(two_cores.tflm, each.name), "tflm")
        for inputs, outputs in two_cores.calls[each.model]:
            for value, expected in zip(program(*inputs), outputs, strict=True):
                np.testing.assert_array_equal(value, expected)
            compared += 1
    assert compared > 40


def test_a_failure_of_tflm_leaves_the_stages_to_the_firmware(two_cores: Device, tmp_path: Path) -> None:
    vectors = (two_cores.firmware.folder / "test" / "vectors.h").read_text()
    folder = Path(shutil.copytree(two_cores.tflm.folder, tmp_path / "tflm"))
    (folder / "test" / "vectors.h").write_text(vectors)
    firmware = two_cores.firmware
    tflm = Tflm(folder, two_cores.tflm.programs, firmware.hops, firmware.detections)
    done = play(Device(two_cores.bundle, firmware, tflm, two_cores.calls), tmp_path, failure=0)
    assert done.returncode
    assert done.stdout == f"PASS {firmware.hops} hops, {firmware.detections} detections\nFAIL gs_stage1_catch_up\n"


def test_firmware_without_the_weights_of_later_cores_decides_alike(two_cores: Device, tmp_path: Path) -> None:
    assert "`-DGS_OWN_STAGES=1`" in (two_cores.tflm.folder / "README.md").read_text()
    done = play(two_cores, tmp_path, macro="-DGS_OWN_STAGES=1")
    assert done.stdout == f"PASS {two_cores.tflm.hops} hops, {two_cores.tflm.detections} detections\n", done.stderr


def test_the_resolver_names_exactly_the_operators_of_the_models(two_cores: Device, with_npu: Device) -> None:
    for device in (two_cores, with_npu):
        text = (device.tflm.folder / "src" / "gs_tflm_plan.cc").read_text()
        header = (device.tflm.folder / "src" / "gs_tflm_plan.h").read_text()
        added = re.findall(r"resolver->(\w+)\(\)", text)
        assert added == resolver_methods(read_array(device.tflm, each.name) for each in device.tflm.programs)
        assert f"MicroMutableOpResolver<{len(added)}>" in header
    assert added == ["AddEthosU"]


def test_an_arena_is_what_tflm_reports_or_the_next_larger_one_that_loads(two_cores: Device) -> None:
    for each in two_cores.tflm.programs:
        arena = each.arena
        assert arena.provenance == "measured" and arena.bytes == arena.needed + MARGIN_BYTES
        reported = Program(each.model, "tflm").arena_bytes
        assert reported is not None and reported <= arena.needed and _loads(each.model, arena.needed)
        smaller = arena.needed - ALIGNMENT_BYTES
        assert smaller < reported or not _loads(each.model, smaller)


def test_the_models_of_an_npu_are_compiled_from_the_programs_by_hops(with_npu: Device) -> None:
    assert [each.name for each in with_npu.tflm.programs] == ["gs_stage1_catch_up", "gs_stage1_step"]
    assert all(each.npu and each.arena.provenance == "modelled" for each in with_npu.tflm.programs)
    line = check_tflm(with_npu.tflm.folder, with_npu.bundle)
    assert line.endswith("2 models, 0 equal to files of the bundle, 2 compiled from them by Vela and not run")
    readme = (with_npu.tflm.folder / "README.md").read_text()
    assert "ethosu_init" in readme and "| modelled |" in readme and "not run on a board" in readme


@pytest.mark.parametrize("compiler", ["g++", "clang++", "arm-none-eabi-g++"])
@pytest.mark.parametrize("own_calls", [False, True])
def test_the_glue_compiles_against_stubs(two_cores: Device, compiler: str, own_calls: bool, tmp_path: Path) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"needs {compiler}")
    core = ["-mthumb", "-mcpu=cortex-m55", "-mfloat-abi=hard"] if compiler.startswith("arm") else []
    folder, firmware = two_cores.tflm.folder, two_cores.firmware.folder
    paths = ["-Iinclude", "-Isrc", f"-I{STUBS}"] + ([] if own_calls else [f"-I{firmware / 'include'}"])
    sources = [str(path) for path in sorted(folder.glob("src/*.cc")) + sorted(folder.glob("models/*.cc"))]
    define = ["-DGS_TFLM_OWN_CALLS", '-DGS_TFLM_SECTION=".sram"'] if own_calls else []
    for number, source in enumerate(sources):
        command = [compiler, *core, *FLAGS, *define, *paths, "-c", source, "-o", str(tmp_path / f"{number}.o")]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_verification_compares_the_models_with_the_bundle(two_cores: Device, tmp_path: Path) -> None:
    line = check_tflm(two_cores.tflm.folder, two_cores.bundle)
    assert line.endswith("4 models, 4 equal to files of the bundle")
    bundle = Path(shutil.copytree(two_cores.bundle, tmp_path / "bundle"))
    manifest = json.loads((bundle / "manifest.json").read_text())
    path = bundle / manifest["stages"][1]["hops"]["step"]["path"]
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(UserError, match=r"gs_stage1_step\.cc: .*stage1_step\.tflite: sha256"):
        check_tflm(two_cores.tflm.folder, bundle)
    (bundle / "manifest.json").write_text(json.dumps(manifest | {"digest": "0" * 12}))
    with pytest.raises(UserError, match=r"is of plan .*, the bundle of plan 000000000000; write it again"):
        check_tflm(two_cores.tflm.folder, bundle)
    folder = Path(shutil.copytree(two_cores.tflm.folder, tmp_path / "tflm"))
    (folder / "SHA256SUMS").unlink()
    with pytest.raises(UserError, match="SHA256SUMS: no such file, or an empty one; write it again"):
        check_tflm(folder, two_cores.bundle)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_changed_file_is_refused_by_name(two_cores: Device, tmp_path: Path, data: st.DataObject) -> None:
    folder = tmp_path / "copy"
    if not folder.exists():
        shutil.copytree(two_cores.tflm.folder, folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "SHA256SUMS")
    path = data.draw(st.sampled_from(files))
    content = path.read_bytes()
    place = data.draw(st.integers(0, len(content) - 1))
    path.write_bytes(content[:place] + bytes([content[place] ^ data.draw(st.integers(1, 255))]) + content[place + 1 :])
    with pytest.raises(UserError, match=f"{re.escape(str(path))} is not what was written; write it again"):
        check_tflm(folder, two_cores.bundle)
    path.write_bytes(content)


def test_an_array_that_is_not_of_the_bundle_is_refused_even_with_its_sum(two_cores: Device, tmp_path: Path) -> None:
    """The sums of a folder show damage; the bundle shows whether the models are its own."""
    folder = Path(shutil.copytree(two_cores.tflm.folder, tmp_path / "tflm"))
    path = folder / "models" / "gs_stage2_step.cc"
    before = path.read_bytes()
    path.write_bytes(before.replace(b",1,", b",2,", 1))
    sums = (folder / "SHA256SUMS").read_text()
    old, new = (hashlib.sha256(each).hexdigest() for each in (before, path.read_bytes()))
    (folder / "SHA256SUMS").write_text(sums.replace(old, new))
    with pytest.raises(UserError, match=r"gs_stage2_step\.cc is not hsp/stage2_step\.tflite of the bundle"):
        check_tflm(folder, two_cores.bundle)


def test_plans_that_tflm_cannot_run_are_refused_in_one_line(two_cores: Device, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(two_cores.bundle, tmp_path / "bundle"))
    path, device = bundle / "manifest.json", profile.load("stm32u3c5")
    manifest = json.loads(path.read_text())

    def refuse(changed: dict, reason: str) -> None:
        path.write_text(json.dumps(changed))
        with pytest.raises(UserError, match=reason):
            write_tflm(bundle, tmp_path / "tflm", device)
        assert not (tmp_path / "tflm").exists()

    stages = [stage | {"core": "m33"} for stage in manifest["stages"]]
    alone = r"target=tflm: no stage for TFLM: the stages run on m33 \(kernels\), .* on m33; wanted: .* target=firmware"
    refuse(manifest | {"stages": stages}, alone)
    refuse({key: value for key, value in manifest.items() if key != "detector"}, "wanted: goal: detection")
    in_float = [*manifest["stages"][:2], manifest["stages"][2] | {"arithmetic": "float32"}]
    refuse(manifest | {"stages": in_float}, "stage 2 on hsp: its program is in float32; wanted: int8")
    hops = manifest["stages"][1]["hops"] | {"axis": 2}
    turned = [manifest["stages"][0], manifest["stages"][1] | {"hops": hops}, manifest["stages"][2]]
    refuse(manifest | {"stages": turned}, "stage 1 on hsp: time is axis 2 of its input; wanted: axis 1")


def test_an_operator_that_tflm_lacks_is_named_with_its_stage(two_cores: Device, tmp_path: Path, monkeypatch) -> None:
    from gatesearch.export.tflm import operators

    names = {key: value for key, value in operators._BY_NAME.items() if value != "DepthwiseConv2D"}
    monkeypatch.setattr(operators, "_BY_NAME", names)
    with pytest.raises(UserError) as error:
        write_tflm(two_cores.bundle, tmp_path / "tflm", profile.load("stm32u3c5"))
    assert re.fullmatch(
        r"target=tflm: stage \d on hsp, hsp/stage\d_\w+\.tflite: TFLM has no operator DEPTHWISE_CONV_2D; nearest: \w+",
        str(error.value),
    )


@given(st.sampled_from(METHODS))
def test_each_method_has_one_operator(method: str) -> None:
    assert resolver_method(method.upper()) == f"Add{method}"


def test_a_folder_with_other_files_is_not_replaced(two_cores: Device, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(two_cores.tflm.folder, tmp_path / "tflm"))
    (folder / "src" / "main.cc").write_text("int main() {}")
    with pytest.raises(UserError, match=r"tflm: .* would be replaced, and holds src/main\.cc; name a new or an empty"):
        write_tflm(two_cores.bundle, folder, profile.load("stm32u3c5"))
    (folder / "src" / "main.cc").unlink()
    assert write_tflm(two_cores.bundle, folder, profile.load("stm32u3c5")).hops


def test_golden_vectors_are_a_trace_with_tflm_on_the_later_cores(two_cores: Device) -> None:
    from tests.export.firmware.small_bundle import make_sound

    def trace(engine: str) -> list:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("gatesearch.export.tflm.project.ENGINE", engine)
            return trace_hops(open_devices(two_cores.bundle, {"hsp"}), make_sound())

    assert trace("tflm") == trace("reference")
