"""The samples, the gate on the signal and the front end of a plan as C structures."""

from __future__ import annotations

from typing import Any

import numpy as np

from gatesearch.errors import UserError
from gatesearch.export.firmware.arrays import structure
from gatesearch.export.firmware.definitions import Definitions
from gatesearch.export.firmware.memory_plan import align
from gatesearch.frontends import restore
from gatesearch.frontends.fixed_mel import COMPLEX_TABLES
from gatesearch.frontends.grid import FEATURE_SCALE
from gatesearch.gates.level import SignalFormat
from gatesearch.kernels import Mel
from gatesearch.kernels.fixed_mel import FixedMelStream
from gatesearch.kernels.level import LevelStream
from gatesearch.kernels.library import Library
from gatesearch.runtime.bundle import Bundle
from gatesearch.runtime.chain import SignalGate
from gatesearch.runtime.listener import StreamFormat
from gatesearch.runtime.open_listener import open_kernel
from gatesearch.runtime.tensor_spec import TensorSpec

FrontendKernel = Mel | FixedMelStream


def open_frontend(bundle: Bundle, library: Library) -> FrontendKernel:
    """Return the C kernel that computes the front end of a bundle, in the arithmetic that the manifest states.

    Raises:
        UserError: no C kernel computes this front end.
    """
    frontend = restore(bundle.manifest["frontend"])
    kernel = open_kernel(frontend, library)
    if kernel is None:
        raise UserError(f"{bundle.folder}: firmware has no front end {frontend.name}; valid: log_mel, mfcc")
    return kernel


def count_frames(kernel: FrontendKernel, stream: StreamFormat) -> int:
    """Return the number of frames that a hop adds; 0 if a hop is no whole number of frames."""
    return 0 if stream.hop % kernel.stride else stream.hop // kernel.stride


def define_ring(define: Definitions, kernel: FrontendKernel, stream: StreamFormat) -> dict[str, Any]:
    """Define the ring buffer of the newest samples, and return its fields of ``gs_plan``.

    Each hop computes only its own frames, and the ring holds the samples of these frames, and those that were read
    since the window ended, where a window is no whole number of hops. If a hop is no whole number of frames, each hop
    computes a whole window.
    """
    step, size = count_frames(kernel, stream), stream.window
    if step:
        size -= (kernel.shape[0] - step) * kernel.stride
    size = max(size + -stream.window % stream.hop, stream.hop)
    return {"ring_size": size, "ring": define.memory("int16_t", "ring", size, "samples")}


def count_scratch(kernel: FrontendKernel) -> int:
    """Return the bytes of scratch memory of a front end: its kernel's own, and behind them the samples of a frame."""
    return align(kernel.scratch_bytes) + kernel.frame * (2 if in_fixed_point(kernel) else 4)


def measure_closed(kernel: FrontendKernel, stream: StreamFormat, signal: SignalGate | None) -> tuple[int, int] | None:
    """Return the front end's scratch bytes and the samples that are needed while the gate on the signal is closed.

    When this gate opens, the front end computes a whole window, so that the samples of a window have to be kept. None
    if there is no such gate, or if the ring holds a whole window anyway.
    """
    if signal is None or not count_frames(kernel, stream):
        return None
    return count_scratch(kernel), stream.window


def define_signal_gate(define: Definitions, signal: SignalGate | None, stream: StreamFormat) -> dict[str, Any]:
    """Define the gate before the front end and its statistic, and return their fields of ``gs_plan``."""
    if signal is None:
        return {}
    level = LevelStream(SignalFormat.on_stream(signal.statistic, stream.rate, stream.window, stream.hop))
    fields: dict[str, Any] = {name: int(getattr(level.c, name)) for name in ("kind", "block", "frames", "bins")}
    fields |= {name: define.arrays.add(level.arrays[name]) for name in ("logs", "filters")}
    fields["numbers"] = define.memory("int32_t", "level_numbers", level.format.frames, "gate on the signal")
    fields["rest"] = define.memory("int16_t", "level_rest", level.format.block, "gate on the signal")
    define.lines.append(f"static gs_level level = {structure(fields)};")
    return {
        "level": "&level",
        "signal": define.constant("gs_gate", "signal_gate", define.gate(signal.settings, "signal")),
    }


def define_frontend(
    define: Definitions, kernel: FrontendKernel, stream: StreamFormat, target: TensorSpec, scratch: str
) -> str:
    """Define the front end, and return the address of its structure.

    Args:
        define: receives the definitions.
        kernel: the kernel of the front end.
        stream: the format of the stream.
        target: the first stage's input.
        scratch: C name of the memory that the front end may use while it runs.
    """
    frames, features = kernel.shape
    written = TensorSpec("features", target.shape, np.dtype(np.int8), scale=FEATURE_SCALE, zero_point=0)
    arrays = {name: define.arrays.add(array) for name, array in kernel.arrays.items() if array is not None}
    if in_fixed_point(kernel):
        arrays |= {name: f"(const gs_complex *){arrays[name]}" for name in COMPLEX_TABLES}
    kind, sample = ("gs_fixed_mel", "int16_t") if in_fixed_point(kernel) else ("gs_mel", "float")
    return define.constant(
        "gs_frontend",
        "frontend",
        {
            "mel": define.constant(kind, "mel", kernel.c_sizes() | arrays),
            "frames": frames,
            "step": count_frames(kernel, stream),
            **define.scale_table(written, target),
            "window": define.memory("int8_t", "feature_window", frames * features, "features"),
            "samples": f"({sample} *)({scratch} + {align(kernel.scratch_bytes)})",
            "scratch": scratch,
            "scratch_bytes": kernel.scratch_bytes,
        },
    )


def in_fixed_point(kernel: FrontendKernel) -> bool:
    """Return whether a kernel computes in fixed point."""
    return isinstance(kernel, FixedMelStream)
