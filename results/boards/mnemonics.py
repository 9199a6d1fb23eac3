"""Counts how often each kernel call executes each mnemonic: QEMU runs the calls with a plugin, block_counts.c.

A mnemonic is the name of an instruction in the disassembly, such as ``smlad`` or ``bne.n``.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from gatesearch.cost.sources.board import count as board_count
from gatesearch.cost.sources.board import kit, runner_output
from gatesearch.cost.sources.board.shapes import EMPTY_CALL
from gatesearch.cost.sources.board.table import call_to_dict
from gatesearch.errors import UserError
from gatesearch.gates import KernelCall
from gatesearch.pipeline.run_dir import RunFolder
from results.benchmark import resume_same

PLUGIN = Path(__file__).with_name("block_counts.c")
LIBRARY = "block_counts.so"
DISASSEMBLER = "arm-none-eabi-objdump"
TURNS_OF_A_CALL = 2  # the kit's runner first finds how often a turn repeats its call: once, in an emulator
LARGEST_DIFFERENCE = 1.0  # instructions of a call; the emulated timer counts fractions of an instruction
_LINE = re.compile(r"\s*([0-9a-f]+):\t([0-9a-f ]+)\t(\S+)")


class Executions(NamedTuple):
    """How often a mnemonic was executed, and how often it was a branch that was taken."""

    number: int
    taken: int


Mnemonics = Mapping[str, Executions]
Program = Mapping[int, tuple[int, str]]  # size in bytes and mnemonic of the instruction at each address


def count(folder: RunFolder, core: str, calls: Sequence[KernelCall]) -> Mapping[KernelCall, Mnemonics]:
    """Return the mnemonics that calls execute on a core; if sources, tools or calls have changed, count them again.

    Args:
        folder: folder that stores the counts.
        core: name of an emulated Cortex-M.
        calls: the calls, without repetitions.

    Raises:
        UserError: a tool is missing or fails.
        ValueError: a sum over mnemonics differs from the instructions that the emulated timer counts.
    """
    settings = {
        "tools": board_count.tools(core),
        "plugin": PLUGIN.read_text(encoding="utf-8"),
        "calls": [call_to_dict(call) for call in calls],
    }
    stored = resume_same(folder, f"{core}-mnemonics.json", settings, lambda: {"mnemonics": _counted(core, calls)})
    mnemonics = [{name: Executions(*value) for name, value in own.items()} for own in stored["mnemonics"]]
    return dict(zip(calls, mnemonics, strict=True))


def _counted(core: str, calls: Sequence[KernelCall]) -> list[Mnemonics]:
    for tool in ("gcc", DISASSEMBLER):
        if shutil.which(tool) is None:
            raise UserError(f"bench boards: no {tool} (Debian: gcc binutils-arm-none-eabi)")
    board = board_count.BOARDS[core]
    emulator, *arguments = board.emulator
    with tempfile.TemporaryDirectory(prefix="gatesearch-mnemonics-") as name:
        folder = Path(name) / "kit"
        kit.write(folder, (EMPTY_CALL, *calls))
        subprocess.run(["gcc", "-shared", "-fPIC", "-O2", PLUGIN, "-o", folder / LIBRARY], check=True)
        printed = board_count.run(replace(board, emulator=(emulator, "-plugin", f"./{LIBRARY}", *arguments)), folder)
        command = [DISASSEMBLER, "-d", str(folder / "program")]
        disassembly = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        turns = read_turns((folder / "blocks.txt").read_text(encoding="utf-8"), read_program(disassembly))
    empty, *counts = turns[TURNS_OF_A_CALL - 1 :: TURNS_OF_A_CALL]
    empty_row, *rows = runner_output.read(core, printed, len(calls) + 1).rows.values()
    mnemonics = [subtract(own, empty) for own in counts]
    for call, own, row in zip(calls, mnemonics, rows, strict=True):
        difference = instructions(own) - (row.shortest - empty_row.shortest)
        if abs(difference) > LARGEST_DIFFERENCE:
            raise ValueError(f"{core}, {call}: mnemonics and the timer differ by {difference:g} instructions")
    return mnemonics


def read_program(disassembly: str) -> Program:
    """Return the instructions of a program from the lines of the disassembler.

    >>> read_program("    a4f2:\\tfb26 f10a \\tsmlad\\tr1, r6, sl, r15\\n")
    {42226: (4, 'smlad')}
    """
    matches = filter(None, map(_LINE.match, disassembly.splitlines()))
    return {int(match[1], 16): (len(match[2].replace(" ", "")) // 2, match[3]) for match in matches}


def read_turns(text: str, program: Program) -> Sequence[Mnemonics]:
    """Return the executed mnemonics of each turn from the lines of the plugin.

    >>> read_turns("turn\\n10 2 8 7\\n", {16: (4, "smlad"), 20: (2, "bne.n")})
    [{'smlad': Executions(number=8, taken=0), 'bne.n': Executions(number=8, taken=7)}]
    """
    turns: list[dict[str, Executions]] = []
    for line in text.splitlines():
        if line == "turn":
            turns.append({})
            continue
        start, length, runs, taken = line.split()
        address = int(start, 16)
        for left in reversed(range(int(length))):
            size, mnemonic = program[address]
            number, branches = turns[-1].get(mnemonic, Executions(0, 0))
            turns[-1][mnemonic] = Executions(number + int(runs), branches + (0 if left else int(taken)))
            address += size
    return turns


def subtract(own: Mnemonics, empty: Mnemonics) -> Mnemonics:
    """Return the mnemonics of a call without those of the empty call, which reads the clock alone."""
    none = Executions(0, 0)
    return {
        name: Executions(*(a - b for a, b in zip(own.get(name, none), empty.get(name, none), strict=True)))
        for name in dict.fromkeys((*own, *empty))
    }


def instructions(mnemonics: Mnemonics) -> int:
    """Return the sum of all executions."""
    return sum(each.number for each in mnemonics.values())
