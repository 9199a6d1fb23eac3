"""The cores of a device: their timing, powers, memories, and what they make of gated layers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Literal

from pydantic import Field

from gatesearch.devices.constants import Constant, Provenance, StrictModel, require_unit
from gatesearch.devices.timing import Timing


class Memory(StrictModel):
    """What a stage may occupy on a core, in KiB: weights and program in flash, activations in SRAM."""

    flash_kib: Annotated[float, Field(gt=0)]
    sram_kib: Annotated[float, Field(gt=0)]


class Kernels(StrictModel):
    """What a core's kernels make of a gated layer.

    Args:
        bits: ``"whole"`` where a multiplication takes whole bytes, so that 4 bits cost what 8 do and 16 twice as much;
            ``"serial"`` where it takes time in proportion to the bits of both factors.
        skips: what need not be computed, by the names that :class:`gatesearch.gates.Call` uses, such as
            ``"channel-block-16"``. Anything else is computed in full.
        native: whether the core runs the kernels of :mod:`gatesearch.kernels` in stages in float, so that they
            can be measured on this host and put into bundles for it; ``skips`` then speaks of what has none.
    """

    native: bool = False
    bits: Literal["whole", "serial"] = "whole"
    skips: tuple[str, ...] = ()
    provenance: Provenance = "assumed"
    source: Annotated[str, Field(min_length=1)] = "no gate kernels: a gated layer is computed in full, call by call"

    def cost(self, bits: tuple[int, int], left: Iterable[tuple[str, float]] = ()) -> float:
        """Return what a call costs, the dense layer in int8 being 1.

        Args:
            bits: of an activation and of a weight.
            left: what can be skipped, and the share that is left of it.

        >>> Kernels().cost((4, 8), [("channel", 0.5)]), Kernels(bits="serial", skips=("channel",)).cost(
        ...     (4, 8), [("channel", 0.5)])
        (1.0, 0.25)
        """
        share = math.prod((part for pattern, part in left if pattern in self.skips), start=1.0)
        return share * _MULTIPLICATION[self.bits](*bits)


_MULTIPLICATION: Mapping[str, Callable[[int, int], float]] = {
    "whole": lambda a, w: float(math.ceil(a / 8) * math.ceil(w / 8)),
    "serial": lambda a, w: a * w / 64,
}


class Core(StrictModel):
    """A processor that can run stages.

    ``engine`` is the host engine that stands in for it in checks (see
    :class:`gatesearch.runtime.program.Program`), ``formats`` the artifact formats it runs, the preferred one
    first.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")]
    description: str = ""
    timing: Timing
    active_mw: Annotated[Constant, require_unit("mW")]
    idle_mw: Annotated[Constant, require_unit("mW")]
    wake_us: Annotated[Constant, require_unit("us")]
    wake_uj: Annotated[Constant, require_unit("uJ")]
    weights_nj_per_byte: Annotated[Constant, require_unit("nJ/byte")]
    memory: Memory
    kernels: Kernels = Kernels()
    formats: Annotated[tuple[str, ...], Field(min_length=1)]
    engine: Literal["litert", "reference", "tflm"] = "litert"

    @property
    def runs_kernels(self) -> bool:
        """Whether gated layers run by native kernels here, between stretches that LiteRT runs."""
        return self.kernels.native and self.engine == "litert" and self.timing.model == "litert"

    @property
    def runs_float(self) -> bool:
        """Whether the core runs float programs as well, and not int8 alone: those that take ONNX do."""
        return "onnx" in self.formats

    def compute_uj(self, latency_us: float) -> float:
        """Return microjoules for being active during ``latency_us``: time x active power."""
        return latency_us * self.active_mw.value * 1e-3

    def weights_uj(self, size: float) -> float:
        """Return microjoules for fetching ``size`` bytes of weights once."""
        return size * self.weights_nj_per_byte.value * 1e-3
