"""Firmware decides every hop as the Python runtime does, on this host and in emulators of Arm cores."""

from __future__ import annotations

import ctypes
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatesearch.compile import flatbuffer
from gatesearch.errors import UserError
from gatesearch.export.firmware import Firmware, write_firmware
from gatesearch.export.firmware.check import check_firmware
from gatesearch.export.firmware.project import kernel_files
from gatesearch.kernels import native
from gatesearch.runtime.open_listener import open_listener
from tests.export.firmware.small_bundle import export_listening, make_sound

pytestmark = pytest.mark.skipif(
    native.load() is None or shutil.which("make") is None, reason="needs make and a compiler"
)
CASES = {
    "one phase": (640, 1, False, ((0.5, 1, 0), (0.3, 2, 3))),
    "behind a gate on the signal": (640, 1, True, ((0.4, 3, 2), (0.3, 1, 1))),
    "a gate that subtracts": (640, 1, False, ((0.4, 2, 1), (0.4, 1, 1)), "activation"),
    "two phases": (320, 2, True, ((0.5, 2, 1), (0.3, 1, 0))),
    "a window that is no whole number of hops": (1280, 1, False, ((0.5, 1, 0), (0.3, 2, 3))),
    "a hop that is no whole number of frames": (500, 1, False, ((0.5, 1, 0), (0.3, 2, 3))),
    "in fixed point": (640, 1, False, ((0.5, 1, 0), (0.3, 2, 3)), "channel", True),
    "in fixed point, behind a gate on the signal": (320, 2, True, ((0.4, 3, 2), (0.3, 1, 1)), "channel", True),
}


@pytest.fixture(scope="module", params=CASES)
def firmware(request, tmp_path_factory):
    """Return the firmware of a bundle; its golden vectors are four seconds of noise that opens and closes the gates."""
    folder = tmp_path_factory.mktemp("firmware")
    bundle = export_listening(folder / "bundle", *CASES[request.param])
    return write_firmware(bundle, folder / "firmware", make_sound())


def make(folder: Path, target: str) -> str:
    done = subprocess.run(["make", "-s", target], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def describe_operators(firmware: Firmware) -> set[str]:
    """Return the operators of the first stage's step program, or else of its only program."""
    folder = firmware.folder.parent / "bundle" / "mcu"
    step = folder / "stage0_step.tflite"
    file = flatbuffer.read((step if step.exists() else folder / "stage0.tflite").read_bytes())
    return {flatbuffer.operator_name(file, operator) for operator in file.subgraphs[0].operators}


def test_every_hop_equals_the_python_runtime(firmware):
    vectors = (firmware.folder / "test" / "vectors.h").read_text()
    last_stages = {int(row) for row in re.findall(r"^    \{(-?\d+), ", vectors, re.M)}
    if "SUB" not in describe_operators(firmware):  # a gate that subtracts has one score for all of this noise
        assert len(last_stages) >= 3 and firmware.detections  # gates stop hops at several stages
    assert make(firmware.folder, "sanitize").startswith(f"PASS {firmware.hops} hops, {firmware.detections} detections")


class Detection(ctypes.Structure):
    _fields_ = (("label", ctypes.c_int32), ("confidence", ctypes.c_float), ("hop", ctypes.c_int64))


@pytest.fixture(scope="module")
def process(firmware):
    """Return the functions ``gatesearch_process`` and ``gatesearch_reset`` of the firmware as a shared library."""
    command = [
        "cc",
        "-O1",
        "-std=c99",
        "-ffp-contract=off",
        "-fno-math-errno",
        "-shared",
        "-fPIC",
        "-Iinclude",
        "-Isrc",
    ]
    sources = ["src/gatesearch.c", "src/gs_plan.c", "src/kernels.c"]
    subprocess.run([*command, "-Ikernels", *sources, "-o", "firmware.so"], cwd=firmware.folder, check=True)
    library = ctypes.CDLL(str(firmware.folder / "firmware.so"))
    assert library.gatesearch_init() == 0
    return library.gatesearch_process, library.gatesearch_reset


SOUNDS = st.lists(
    st.tuples(st.integers(0, 999), st.sampled_from([0, 1, 30, 900, 9000, 40000, 1e9]), st.integers(1, 40)), max_size=5
)


@settings(max_examples=10, deadline=None)
@given(sounds=SOUNDS)
def test_any_sound_is_decided_alike_after_a_reset(firmware, process, sounds):
    """Silence, full scale and noise of any loudness follow each other; each example starts a new stream."""
    run, reset = process
    listener = open_listener(firmware.folder.parent / "bundle")
    hop, parts = listener.stream.hop, [np.zeros(0, np.int16)]
    for seed, loudness, hops in sounds:
        noise = np.random.default_rng(seed).standard_normal(hop * hops) * loudness
        parts.append(np.clip(noise, -32768, 32767).astype(np.int16))
    sound = np.ascontiguousarray(np.concatenate([make_sound(1.5, seed=1), *parts]))
    expected = [(each.label, each.time_s, np.float32(each.confidence)) for each in listener.push(sound)]
    reset()
    answers, detection, names = [], Detection(), listener.settings
    for first in range(0, len(sound) - hop + 1, hop):
        if run(ctypes.c_void_p(sound.ctypes.data + 2 * first), ctypes.byref(detection)):
            label = names.classes[detection.label]
            answers.append((label, names.time_s(detection.hop), np.float32(detection.confidence)))
    assert answers == expected


def test_a_decision_that_differs_fails_the_check(firmware, tmp_path):
    copy = shutil.copytree(firmware.folder, tmp_path / "copy")
    vectors = (copy / "test" / "vectors.h").read_text()
    (copy / "test" / "vectors.h").write_text(vectors.replace("    {-2, 0, -1, ", "    {-1, 0, -1, ", 1))
    with pytest.raises(UserError, match="make check: FAIL hop 0: last stage -2"):
        check_firmware(copy)


def test_the_folder_needs_nothing_outside(firmware):
    sources = {path.name for path in firmware.folder.rglob("*.[ch]")}
    system = {"math.h", "stddef.h", "stdint.h", "stdio.h", "string.h"}
    for path in [*firmware.folder.glob("src/*"), *firmware.folder.glob("include/*"), firmware.folder / "test/check.c"]:
        for name in re.findall(r'#include [<"]([^>"]+)[>"]', path.read_text()):
            assert name in sources | system, f"{path}: {name}"
    assert {path.name for path in kernel_files()} <= sources


def test_the_memory_that_is_printed_is_the_memory_of_the_object(firmware):
    make(firmware.folder, "build")
    command = ["cc", "-std=c99", "-fno-pic", "-Isrc", "-Ikernels", "-c", "src/gs_plan.c", "-o", "build/plan.o"]
    subprocess.run(command, cwd=firmware.folder, check=True)
    sizes = subprocess.run(["size", "build/plan.o"], cwd=firmware.folder, capture_output=True, text=True, check=True)
    _, data, bss = map(int, sizes.stdout.splitlines()[1].split()[:3])
    assert sum(firmware.ram.values()) == pytest.approx(data + bss, rel=0.02)


def test_a_front_end_or_an_operator_without_a_kernel_is_named(tmp_path, monkeypatch):
    bundle = export_listening(tmp_path / "bundle", *CASES["one phase"])
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["frontend"] = {"name": "identity", "args": {}, "input_shape": [16000], "output_shape": [1, 49, 10]}
    (tmp_path / "other").mkdir()
    shutil.copytree(bundle, tmp_path / "other" / "bundle")
    (tmp_path / "other" / "bundle" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="firmware has no front end identity; valid: log_mel, mfcc"):
        write_firmware(tmp_path / "other" / "bundle", tmp_path / "a")
    from gatesearch.runtime import stage_program

    kernels = {k: v for k, v in stage_program._OPERATORS.items() if k != "DEPTHWISE_CONV_2D"}
    monkeypatch.setattr(stage_program, "_OPERATORS", kernels)
    with pytest.raises(UserError, match="firmware: stage 0: no kernel for DEPTHWISE_CONV_2D"):
        write_firmware(bundle, tmp_path / "b")
    assert not (tmp_path / "a").exists() and not (tmp_path / "b").exists()


@pytest.mark.slow
@pytest.mark.parametrize("core", ["qemu_m4", "qemu_m33", "qemu_m55", "qemu_aarch64"])
def test_emulated_cores_decide_every_hop_alike(firmware, core):
    needed = (
        ("aarch64-linux-gnu-gcc", "qemu-aarch64")
        if core == "qemu_aarch64"
        else ("arm-none-eabi-gcc", "qemu-system-arm")
    )
    if any(shutil.which(name) is None for name in needed):
        pytest.skip(f"needs {' and '.join(needed)}")
    assert f"PASS {firmware.hops} hops" in make(firmware.folder, core)
