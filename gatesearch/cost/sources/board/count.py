"""Makes a core's kernel table without a board: the emulator QEMU counts the instructions of kernels.

A kit is a folder of C sources that times kernels on a board. QEMU models what each instruction does, but not how long
the instruction takes: it has no pipeline, no cache and no wait states. So the table holds simulated instruction counts,
not cycles. The same compiler and sources give exactly the same counts.

    python -m gatesearch.cost.sources.board.count cortex_m4     # writes tables/cortex_m4.json beside this file
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gatesearch._lib import console
from gatesearch._lib.files import write_whole
from gatesearch._lib.format import format_percent
from gatesearch.cost.sources.board import kit, runner_output, shapes
from gatesearch.cost.sources.board.table import BoardTable
from gatesearch.errors import UserError, unknown
from gatesearch.gates import KernelCall

TABLES = Path(__file__).parent / "tables"
FLAGS = ("-std=gnu11", "-O3", "-ffp-contract=off", "-fno-math-errno")
PLUGIN = "plugin.so"
RUN_TIMEOUT_S = 550
# Flags of the compiler: for counts instead of times, and for microcontrollers.
_COUNTED = ('-DGS_UNIT="instructions"', "-DGS_REPEATS=1")
_MICRO = ("--specs=rdimon.specs", "-mthumb", "-mfloat-abi=hard")
_AT_ZERO = "-Wl,--section-start=.vectors=0"


@dataclass(frozen=True, slots=True)
class Emulated:
    """A core that QEMU emulates.

    Args:
        core: description of the core in words.
        suffix: name of its instruction set, at the end of the names of C functions.
        compiler: command of the compiler.
        flags: flags of the compiler for this core.
        files: files of the kit that are compiled.
        emulator: command of the emulator, without the program.
        needs_plugin: whether a plugin of QEMU counts the instructions; else the timer of the emulated board does.
    """

    core: str
    suffix: str
    compiler: str
    flags: tuple[str, ...]
    files: tuple[str, ...]
    emulator: tuple[str, ...]
    needs_plugin: bool = False


def _cortex_m(core: str, suffix: str, machine: str, flags: Sequence[str], places: Sequence[str]) -> Emulated:
    """Return a Cortex-M that QEMU emulates as a machine; places are flags of the linker."""
    return Emulated(
        core=f"{core}, QEMU {machine}",
        suffix=suffix,
        compiler="arm-none-eabi-gcc",
        flags=(*flags, *_MICRO, *places),
        files=("main.c", "clock_cortex_m.c", "startup_cortex_m.c", "kernels/all.c"),
        emulator=("qemu-system-arm", "-nographic", "-semihosting", "-M", machine, "-icount", "shift=6", "-kernel"),
    )


# Each instruction takes 64 ns of emulated time. SysTick, the timer of the emulated board, counts 20, 25 or 32 million
# ticks a second. So a tick is 25/32, 40/64 or 125/256 of an instruction: GS_NUMERATOR / GS_DENOMINATOR.
BOARDS = {
    "cortex_m4": _cortex_m(
        "Cortex-M4 with FPU (armv7e-m, SMLAD)",
        "m4",
        "mps2-an386",
        flags=(
            "-mcpu=cortex-m4",
            "-mfpu=fpv4-sp-d16",
            "-DSTACK=0x20400000",
            "-DGS_ARENA=0x21000000",
            "-DGS_ROOM=(16u<<20)",
            "-DGS_NUMERATOR=40",
            "-DGS_DENOMINATOR=64",
        ),
        places=(_AT_ZERO,),
    ),
    "cortex_m33": _cortex_m(
        "Cortex-M33 with FPU (armv8-m.main with the DSP extension)",
        "m33",
        "mps2-an505",
        flags=(
            "-mcpu=cortex-m33",
            "-DSTACK=0x10400000",
            "-DGS_ARENA=0x80000000",
            "-DGS_ROOM=(16u<<20)",
            "-DGS_NUMERATOR=25",
            "-DGS_DENOMINATOR=32",
        ),
        # The core starts in secure state, whose memory is there.
        places=("-Wl,--section-start=.vectors=0x10000000", "-Wl,-Ttext-segment=0x10008000"),
    ),
    "cortex_m55": _cortex_m(
        "Cortex-M55 (armv8.1-m.main with MVE)",
        "m55",
        "mps3-an547",
        flags=(
            "-mcpu=cortex-m55",
            "-fno-schedule-insns",
            "-DSTACK=0x20080000",
            "-DGS_ARENA=0x60000000",
            "-DGS_ROOM=(64u<<20)",
            "-DGS_NUMERATOR=125",
            "-DGS_DENOMINATOR=256",
        ),
        places=(_AT_ZERO,),
    ),
    "cortex_a": Emulated(
        "64-bit Cortex-A with dot products (armv8.2-a, such as Cortex-A55 or A76), QEMU user mode",
        "dotprod",
        "aarch64-linux-gnu-gcc",
        ("-static", "-march=armv8.2-a+dotprod", "-fno-schedule-insns"),
        ("main.c", "clock_counted.c", "kernels/all.c"),
        ("qemu-aarch64", "-cpu", "max", "-plugin", f"./{PLUGIN}"),
        needs_plugin=True,
    ),
}


def missing(board: str) -> str | None:
    """Return which tool this machine lacks to count a board's instructions; None if it lacks nothing."""
    emulated = BOARDS[board]
    tools = [emulated.compiler, emulated.emulator[0], *(["gcc"] if emulated.needs_plugin else [])]
    lacking = [tool for tool in tools if shutil.which(tool) is None]
    if lacking:
        return f"no {lacking[0]} (Debian: gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm, or " + (
            "gcc-aarch64-linux-gnu qemu-user)"
        )
    if emulated.needs_plugin and platform.machine() not in ("x86_64", "aarch64"):
        return f"counting in QEMU's user mode needs a 64-bit host, this is {platform.machine()}"
    return None


def tools(board: str) -> dict[str, str]:
    """Return everything that decides the counts: versions, flags and a digest of the sources."""
    emulated = BOARDS[board]
    return {
        "compiler": _first_line([emulated.compiler, "--version"]),
        "emulator": _first_line([emulated.emulator[0], "--version"]),
        "flags": " ".join((*FLAGS, *emulated.flags)),
        "sources": kit.sources(),
    }


def count(board: str, listed: Sequence[KernelCall], others: Sequence[KernelCall] = ()) -> BoardTable:
    """Return a table of the instruction counts of calls on a board.

    Args:
        board: a name of :data:`BOARDS`.
        listed: the calls whose counts determine the table's model; the empty call comes first.
        others: held-out calls, whose counts show the error of the table's model.

    Raises:
        UserError: there is no such board, or a tool is missing or fails.
    """
    if board not in BOARDS:
        raise unknown("board", "board", board, BOARDS)
    lacking = missing(board)
    if lacking:
        raise UserError(f"board={board}: {lacking}")
    emulated = BOARDS[board]
    with tempfile.TemporaryDirectory(prefix="gatesearch-count-") as name:
        folder = Path(name)
        manifest = kit.write(folder / "kit", listed, others)
        printed = run(emulated, folder / "kit")
    output = runner_output.read(board, printed, len(manifest["calls"]))
    if output.skipped:
        raise UserError(f"board={board}: {len(output.skipped)} calls do not fit its memory")
    readings, held = kit.readings(manifest, output)
    return BoardTable(
        schema_version=1,
        name=board,
        core=emulated.core,
        unit="instructions",
        provenance="simulated",
        source="instructions that QEMU executed for gatesearch's kernels, exactly repeatable; no cycle model",
        tools=tools(board),
        tile=output.tile,
        readings=readings,
        others=held,
    ).with_errors()


def run(emulated: Emulated, folder: Path) -> str:
    """Build a kit for a core and run it; return what it prints."""
    if emulated.needs_plugin:
        _run(["gcc", "-shared", "-fPIC", "-O2", "plugin.c", "-o", PLUGIN], folder)
    flags = [*FLAGS, *emulated.flags, *_COUNTED, f"-DGS_SUFFIX={emulated.suffix}", "-I.", "-Ikernels"]
    outside = [str(path.relative_to(folder)) for path in sorted((folder / "outside").glob("*.c"))]
    _run([emulated.compiler, *flags, *emulated.files, *outside, "-o", "program"], folder)
    return _run([*emulated.emulator, "./program"], folder)


def _run(command: Sequence[str], folder: Path) -> str:
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=RUN_TIMEOUT_S)
    if result.returncode:
        lines = [line for line in (result.stderr or result.stdout).splitlines() if line.strip()]
        reason = next((line for line in lines if "error" in line), lines[-1] if lines else "no message")
        raise UserError(f"{command[0]} failed: {reason}")
    return result.stdout


def _first_line(command: Sequence[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0]


def show(table: BoardTable) -> None:
    """Print the errors of a table at the held-out shapes."""
    rows = [(k, e.calls, format_percent(e.median), format_percent(e.largest)) for k, e in table.held_out.items()]
    title = f"{table.name}: {len(table.readings)} readings ({table.provenance}, {table.unit}); at other shapes"
    console.table(title, ("kernel", "calls", "median error", "largest"), rows)


def main(boards: Sequence[str]) -> None:
    """Count each board's table anew and write it beside this file."""
    for board in boards:
        table = count(board, shapes.table_calls(), shapes.held_out_calls())
        TABLES.mkdir(exist_ok=True)
        write_whole(TABLES / f"{board}.json", table.to_json())
        show(table)


if __name__ == "__main__":
    main(sys.argv[1:] or list(BOARDS))
