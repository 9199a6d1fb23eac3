"""The examples of a firmware folder: they compile, and detect what the Python runtime detects."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatesearch.export.firmware import Firmware
from gatesearch.kernels.arrays import Array
from gatesearch.runtime.open_listener import open_listener
from tests.export.firmware.small_bundle import make_sound
from tests.runtime.test_listening_blocks import RATE

STREAM = Path("examples") / "serial" / "stream.py"


@pytest.fixture(scope="module")
def folder(small_firmware: Firmware, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the firmware in which the examples are built."""
    copy = Path(shutil.copytree(small_firmware.folder, tmp_path_factory.mktemp("the examples") / "fw"))
    subprocess.run(["make", "-s", "listen", "board"], cwd=copy, check=True)
    return copy


def write_wav(path: Path, sound: Array, rate: int = RATE, channels: int = 1, junk: bytes = b"") -> Path:
    """Write a WAV file with a chunk of junk before its samples."""
    data = sound.astype("<i2").tobytes()
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, rate, 2 * rate * channels, 2 * channels, 16)
    extra = struct.pack("<4sI", b"LIST", len(junk)) + junk + b"\0" * (len(junk) % 2) if junk else b""
    body = b"WAVE" + form + extra + struct.pack("<4sI", b"data", len(data)) + data
    path.write_bytes(struct.pack("<4sI", b"RIFF", len(body)) + body)
    return path


def hear(small_firmware: Firmware, sound: Array) -> list[tuple[float, str]]:
    """Return the time and class of each detection of the Python runtime."""
    listener = open_listener(small_firmware.folder.parent / "bundle")
    return [(round(each.time_s, 2), each.label) for each in listener.push(sound)]


def test_the_host_program_detects_what_python_detects_in_a_wav_file(
    small_firmware: Firmware, folder: Path, tmp_path: Path
) -> None:
    sound = make_sound(8.0, seed=5)
    expected = [f"0:00:{time:05.2f}  {label}" for time, label in hear(small_firmware, sound)]
    assert expected
    wav = write_wav(tmp_path / "a sound.wav", sound, junk=b"odd")
    for command, stdin in (([str(wav)], None), ([], sound.astype("<i2").tobytes())):
        done = subprocess.run([str(folder / "listen"), *command], input=stdin, capture_output=True, check=True)
        assert [line.rsplit("  ", 1)[0] for line in done.stdout.decode().splitlines()] == expected


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_a_damaged_wav_file_is_named_and_read_no_further(data: st.DataObject, folder: Path) -> None:
    path = write_wav(folder / "damaged.wav", make_sound(1.5), junk=b"a comment")
    blob = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 3))):
        blob[data.draw(st.integers(0, 60))] = data.draw(st.integers(0, 255))
    path.write_bytes(blob[: data.draw(st.integers(0, len(blob)))])
    done = subprocess.run([str(folder / "listen"), str(path)], capture_output=True, text=True, timeout=30)
    assert done.returncode == (1 if done.stderr else 0)
    assert not done.stderr or re.search(r"wanted: one channel of 16-bit samples at \d+ Hz\n$", done.stderr)


def test_sound_of_another_format_is_refused(folder: Path, tmp_path: Path) -> None:
    sound = make_sound(1.5)
    cases = {
        "another sample rate": write_wav(tmp_path / "a.wav", sound, rate=RATE // 2),
        "more than one channel": write_wav(tmp_path / "b.wav", sound, channels=2),
        "cannot be opened": tmp_path / "none.wav",
        "is no WAV file": folder / "Makefile",
    }
    for reason, path in cases.items():
        done = subprocess.run([str(folder / "listen"), str(path)], capture_output=True, text=True)
        assert done.returncode == 1 and reason in done.stderr and str(path) in done.stderr


def stream(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(folder / STREAM), "--pty", str(folder / "board"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_a_board_behind_a_serial_line_answers_the_golden_vectors(
    small_firmware: Firmware, folder: Path, tmp_path: Path
) -> None:
    done = stream(folder)
    assert done.stdout == f"PASS {small_firmware.hops} hops, {small_firmware.detections} detections\n", done.stderr
    sound = make_sound(8.0, seed=5)
    expected = hear(small_firmware, sound)
    lines = stream(folder, str(write_wav(tmp_path / "s.wav", sound))).stdout.splitlines()
    assert [(float(line.split()[0]), line.split()[2].lower()) for line in lines] == expected


def test_a_board_that_answers_otherwise_or_runs_another_plan_is_found(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    vectors = (copy / "test" / "vectors.h").read_text()
    (copy / "test" / "vectors.h").write_text(vectors.replace("    {-2, 0, -1, ", "    {-1, 0, -1, ", 1))
    done = stream(copy)
    assert done.returncode == 1 and done.stdout.startswith("FAIL hop 0: the board answers (-2, 0, -1, 0.0); the golden")
    header = (copy / "src" / "gs_plan.h").read_text()
    (copy / "src" / "gs_plan.h").write_text(re.sub(r'(PLAN_DIGEST ")\w{3}', r"\1zzz", header))
    done = stream(copy)
    assert done.returncode == 1 and "the board has another plan than this folder" in done.stderr


@pytest.mark.parametrize("compiler", [name for name in ("gcc", "clang") if shutil.which(name)])
def test_the_examples_compile(folder: Path, compiler: str) -> None:
    """The applications of Zephyr, Arduino and ALSA are compiled against stubs, which checks only their types."""
    stubs = Path(__file__).parent / "stubs"
    paths = ["-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{stubs}", "-Iinclude", "-Isrc"]
    alsa = [compiler, "-std=c99", "-pedantic", "-DGS_ALSA", *paths, "examples/listen.c"]
    commands = [[compiler, *paths, "examples/zephyr/main.c"], alsa]
    if shutil.which("c++"):
        sketch = "examples/arduino/gatesearch_sketch.ino"
        commands.append(["c++", *paths, "-include", "Arduino.h", "-x", "c++", sketch])
    for command in commands:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not shutil.which("arm-none-eabi-gcc"), reason="needs arm-none-eabi-gcc")
@pytest.mark.parametrize("flags", [[], ["-mcpu=cortex-m33"], ["-mcpu=cortex-m0plus", "-mfloat-abi=soft"]])
def test_the_board_program_compiles_for_cores(folder: Path, flags: list[str]) -> None:
    command = ["arm-none-eabi-gcc", "-mthumb", *flags, "-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror"]
    sources = ["examples/serial/board.c", "src/gatesearch.c"]
    paths = ["-Iinclude", "-Isrc", "-Ikernels", "-fsyntax-only"]
    done = subprocess.run([*command, *paths, *sources], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_noise_between_messages_does_not_confuse_the_board(folder: Path) -> None:
    noise = bytes(set(range(256)) - set(b"HIR"))
    done = subprocess.run([str(folder / "board")], input=noise + b"I" + noise + b"R", capture_output=True, check=True)
    assert len(done.stdout) == 25 and done.stdout.endswith(b"R")
    assert np.frombuffer(done.stdout[:4], "<u4")[0] == RATE


def test_the_arduino_library_needs_its_src_folder_alone_and_fuses_nothing(folder: Path) -> None:
    """Arduino compiles every C file below src without flags for rounding."""
    subprocess.run(["make", "-s", "arduino"], cwd=folder, check=True)
    sources = folder / "build" / "arduino" / "gatesearch" / "src"
    assert sorted(path.name for path in sources.rglob("*.c")) == ["gatesearch.c", "gs_plan.c", "kernels.c"]
    flags = ["-std=gnu11", "-Os", "-w", "-I.", "-c"]
    cores = {"cc": []}
    if shutil.which("arm-none-eabi-gcc"):
        cores["arm-none-eabi-gcc"] = ["-mthumb", "-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"]
    for compiler, core in cores.items():
        for name in ("gatesearch", "gs_plan", "kernels"):
            command = [compiler, *core, *flags, f"{name}.c", "-o", f"{name}.o"]
            done = subprocess.run(command, cwd=sources, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            if core:
                dump = ["arm-none-eabi-objdump", "-d", f"{name}.o"]
                code = subprocess.run(dump, cwd=sources, capture_output=True, text=True, check=True).stdout
                assert code and not re.search(r"\tvfn?m[as]", code)
