"""The engine of a core: the software that runs its programs, and how it runs gated layers.

"This host" is the machine that runs gatesearch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

EngineName = Literal["litert", "tflm", "kernels", "vela", "reference", "imagined"]


class Engine(NamedTuple):
    """An engine that a core of a device profile may name.

    Args:
        title: name of the engine in messages.
        description: the programs that the engine runs, and its treatment of gated layers.
        stand_in: the interpreter that runs the engine's programs on this host; see
            :class:`gatesearch.runtime.program.Program`.
        skips: whether the engine skips the work that gates suppress. Other engines compute gated layers in full and
            mask them.
        slowdown: time of the engine divided by the time of gatesearch's kernels. Where a table of these kernels prices
            a core, the table's times are multiplied by this factor.
        slowdown_source: source of the slowdown.
    """

    title: str
    description: str
    stand_in: Literal["litert", "tflm", "reference"]
    skips: bool = False
    slowdown: float = 1.0
    slowdown_source: str = ""


ENGINES: Mapping[EngineName, Engine] = {
    "litert": Engine(
        title="LiteRT",
        description="LiteRT with XNNPACK; it masks gated layers, except where kernels run on this host",
        stand_in="litert",
    ),
    "tflm": Engine(
        title="TensorFlow Lite Micro",
        description="TensorFlow Lite Micro with its reference kernels: int8 programs without gated layers",
        stand_in="tflm",
        slowdown=2.17,
        slowdown_source=(
            "the reference system of MLPerf Tiny v0.5 (closed division, Nucleo-L4R5ZI, Cortex-M4 at 120 MHz) runs the "
            "keyword-spotting DS-CNN 5.497 times a second, so a run takes 181.9 ms; the instruction count of "
            "gatesearch's kernels gives 83.8 ms on that core"
        ),
    ),
    "kernels": Engine(
        title="gatesearch's kernels",
        description="gatesearch's C kernels, which skip what gates leave out",
        stand_in="tflm",
        skips=True,
    ),
    "vela": Engine(
        title="Ethos-U",
        # Errors of the estimate: results/boards, weights in flash.
        description=(
            "an Arm Ethos-U with programs compiled by Vela: int8 without gated layers; its times are Vela's estimates, "
            "which on an RA8P1 (Ethos-U55-256, 500 MHz) are 1.03 times the published 108 us of MLPerf Tiny's keyword "
            "spotter, and 0.45 to 4.27 times those of its other networks"
        ),
        stand_in="reference",
    ),
    "reference": Engine(
        title="LiteRT's reference kernels",
        description="an engine for which LiteRT's reference kernels stand in; it masks gated layers",
        stand_in="reference",
    ),
    "imagined": Engine(
        title="a hypothetical engine",
        description="an engine that does not exist: the profile says what it skips, and no file runs on it",
        stand_in="litert",
        skips=True,
    ),
}

DESCRIPTION = (
    "The engine that runs the core's programs; prices are those of this engine. Without the key: `kernels` if the "
    "timing has a table of kernels, `vela` if it is Vela's, else `litert`. "
    + " ".join(f"`{name}`: {engine.description}." for name, engine in ENGINES.items())
)
