"""Tests that the kernels for Arm, run in the emulator QEMU, give the same results as the kernels of this machine."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from gatesearch.kernels import build

pytestmark = pytest.mark.slow
DRIVER = Path(__file__).with_name("driver.c")
SYSTEM = ("--specs=rdimon.specs", str(DRIVER.with_name("startup.c")))
AT_ZERO = ("-Wl,--section-start=.vectors=0",)
SECURE = ("-Wl,--section-start=.vectors=0x10000000", "-Wl,-Ttext-segment=0x10008000")
MICRO = ("qemu-system-arm", "-nographic", "-semihosting", "-M")


def printed(folder: Path, compiler: str, name: str, flags: Sequence[str], runner: Sequence[str] = ()) -> list[str]:
    """Compile driver.c with all kernels, run it, and return the lines that it prints."""
    for tool in (compiler, *runner[:1]):
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool}")
    program = folder / name
    sources = [str(DRIVER), str(build.SOURCES / "all.c"), f"-I{build.SOURCES}", f"-DGS_SUFFIX={name}"]
    command = [compiler, *build.FLAGS, "-Werror", *flags, *sources, "-o", str(program)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    done = subprocess.run([*runner, str(program)], check=True, capture_output=True, text=True, timeout=120)
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    try:
        compiler = build.Compiler.find()
    except build.BuildError as error:
        pytest.skip(str(error))
    name = list(compiler.sets)[-1]
    return printed(tmp_path_factory.mktemp("native"), compiler.command, name, compiler.sets[name])


def agree(ours: list[str], expected: list[str]) -> None:
    assert len(ours) == len(expected) > 30
    for mine, other in zip(ours, expected, strict=True):
        if other.startswith("whole"):
            assert mine == other
        else:
            assert mine.split()[:2] == other.split()[:2]
            numbers = [list(map(int, line.split()[2:])) for line in (mine, other)]
            assert numbers[0] == pytest.approx(numbers[1], rel=1e-3, abs=2), (mine, other)


@pytest.mark.parametrize("name", build.SETS["aarch64"])
def test_kernels_for_cortex_a_give_the_results_of_this_host(tmp_path: Path, expected: list[str], name: str) -> None:
    flags = ("-static", *build.SETS["aarch64"][name])
    agree(printed(tmp_path, "aarch64-linux-gnu-gcc", name, flags, ["qemu-aarch64", "-cpu", "max"]), expected)


@pytest.mark.parametrize("portable", [False, True], ids=["own", "portable"])
@pytest.mark.parametrize(
    ("core", "machine", "place", "instruction"),
    [
        ("cortex-m4", "mps2-an386", ("-DSTACK=0x20400000", *AT_ZERO), "smlad"),
        ("cortex-m33", "mps2-an505", ("-DSTACK=0x10400000", *SECURE), "smlad"),
        ("cortex-m55", "mps3-an547", ("-DSTACK=0x20080000", *AT_ZERO), "vmullb.s8"),
    ],
)
def test_kernels_for_cortex_m_give_the_results_of_this_host(
    tmp_path: Path,
    expected: list[str],
    core: str,
    machine: str,
    place: Sequence[str],
    instruction: str,
    portable: bool,
) -> None:
    flags = (*build.MICRO[core], *["-DGS_PORTABLE"] * portable, *place, *SYSTEM)
    lines = printed(tmp_path, "arm-none-eabi-gcc", core.replace("-", "_"), flags, [*MICRO, machine, "-kernel"])
    agree(lines, expected)
    base = ["arm-none-eabi-gcc", *build.FLAGS, *flags[: -len(SYSTEM)]]
    command = [*base, "-S", str(build.SOURCES / "all.c"), "-o", str(tmp_path / "all.s")]
    subprocess.run(command, check=True, capture_output=True, text=True)
    assert (instruction in (tmp_path / "all.s").read_text()) != portable
