"""The macro ``GS_OWN_STAGES`` leaves the weights of later stages out of a program."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from gatesearch.export.firmware import Firmware
from tests.export.firmware.test_misuse import COMPILERS, EXACT, FLAGS, run

PATHS = ("-Iinclude", "-Isrc", "-Ikernels", "-Itest")


def compile_plan(compiler: str, folder: Path, target: Path, *macros: str) -> int:
    """Compile the plan, and return the bytes of its object file."""
    run([compiler, *FLAGS, *EXACT, *PATHS, *macros, "-c", "src/gs_plan.c", "-o", str(target)], folder)
    return target.stat().st_size


@pytest.mark.parametrize("compiler", COMPILERS)
def test_hops_end_before_the_first_stage_that_is_left_out(small_firmware: Firmware, compiler: str, tmp_path: Path):
    folder, sizes = small_firmware.folder, []
    for own in (1, 2, 3):
        sources = [str(Path(__file__).with_name("own_stages.c")), "src/gatesearch.c", "src/gs_plan.c", "src/kernels.c"]
        macro, program = f"-DGS_OWN_STAGES={own}", str(tmp_path / f"own_{own}")
        run([compiler, *FLAGS, *EXACT, *PATHS, macro, *sources, "-o", program], folder)
        assert run([program], tmp_path) == b"PASS\n"
        sizes.append(compile_plan(compiler, folder, tmp_path / "plan.o", macro))
    assert sizes[0] < sizes[1] < sizes[2] == compile_plan(compiler, folder, tmp_path / "plan.o")


@pytest.mark.skipif(not COMPILERS, reason="needs a C compiler")
@pytest.mark.parametrize("own", [0, 4])
def test_a_number_of_stages_outside_the_plan_does_not_compile(small_firmware: Firmware, own: int, tmp_path: Path):
    command = [COMPILERS[0], *PATHS, f"-DGS_OWN_STAGES={own}", "-c", "src/gatesearch.c", "-o", str(tmp_path / "g.o")]
    done = subprocess.run(command, cwd=small_firmware.folder, capture_output=True, text=True)
    assert done.returncode and "GS_OWN_STAGES: wanted: 1 .. GS_STAGES" in done.stderr
