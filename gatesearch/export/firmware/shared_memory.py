"""Lets samples and stages share memory: while the gate on the signal is closed, no stage needs its memory.

The front end computes a whole window when this gate opens, so that the samples of a window have to be kept while it is
closed. Then no stage has a state. After the front end has read the samples, the stages overwrite them.
"""

from __future__ import annotations

from collections.abc import Sequence

from gatesearch.export.firmware.memory_plan import align
from gatesearch.export.firmware.program_source import ARENA, SCRATCH

MEMORY = "gs_memory"
SAMPLES = f"{MEMORY}.closed.samples"
"""C names of the shared memory, and of the samples in it."""

SAMPLE_BYTES = 2


def member(name: str) -> str:
    """Return the C expression of an array of the stages in the shared memory."""
    return f"{MEMORY}.stages.{name}"


def memory_text(arena: int, scratch: str, arrays: Sequence[str], closed: tuple[int, int] | None) -> list[str]:
    """Return the C definitions of the arena, of scratch memory, and of the stages' other arrays.

    Args:
        arena: bytes of the arena.
        scratch: C expression of the bytes of scratch memory.
        arrays: declarations of the other arrays that the samples may overwrite.
        closed: scratch bytes of the front end, and number of samples, that are needed while the gate on the signal is
            closed; None if nothing is shared.
    """
    own = [f"uint8_t {SCRATCH}[{scratch}] GS_ALIGNED;", f"uint8_t {ARENA}[{max(1, arena)}] GS_ALIGNED;"]
    if closed is None:
        return [f"static {each}" for each in own]
    front_scratch, samples = closed
    return [
        "/* While the gate on the signal is closed, the samples of a window lie where the stages have their memory. */",
        "static union {",
        "  struct {",
        *(f"    {each}" for each in (*own, *arrays)),
        "  } stages;",
        "  struct {",
        f"    uint8_t scratch[{front_scratch}] GS_ALIGNED; /* of the front end */",
        f"    int16_t samples[{samples}] GS_ALIGNED;",
        "  } closed;",
        f"}} {MEMORY} GS_ALIGNED;",
        *(f"#define {name} {member(name)}" for name in (SCRATCH, ARENA)),
    ]


def count_extra_bytes(stages: int, closed: tuple[int, int] | None) -> int:
    """Return by how many bytes the samples exceed the memory of the stages that they share.

    >>> count_extra_bytes(20000, (3000, 16000)), count_extra_bytes(20000, None)
    (15008, 0)
    """
    return 0 if closed is None else max(0, align(closed[0]) + SAMPLE_BYTES * closed[1] - stages)
