"""The samples, the gate on the signal and the front end of a plan as C structures."""

from __future__ import annotations

from typing import Any

import numpy as np

from gatesearch.errors import UserError
from gatesearch.export.firmware.arrays import structure
from gatesearch.export.firmware.definitions import Definitions
from gatesearch.frontends import LogMel, restore
from gatesearch.frontends.grid import FEATURE_SCALE
from gatesearch.gates.level import SignalFormat, signal_frame
from gatesearch.kernels import Mel
from gatesearch.kernels.level import LevelStream
from gatesearch.kernels.library import Library
from gatesearch.runtime.bundle import Bundle
from gatesearch.runtime.chain import SignalGate
from gatesearch.runtime.listener import StreamFormat
from gatesearch.runtime.open_listener import MEL_FRONTENDS
from gatesearch.runtime.tensor_spec import TensorSpec

SIZES = ("fft", "frame", "stride", "bins", "mels", "features")


def open_frontend(bundle: Bundle, library: Library) -> Mel:
    """Return the front end of a bundle, computed by its C kernel.

    Raises:
        UserError: no C kernel computes this front end.
    """
    frontend = restore(bundle.manifest["frontend"])
    if type(frontend) not in MEL_FRONTENDS:
        raise UserError(f"{bundle.folder}: firmware has no front end {frontend.name}; valid: log_mel, mfcc")
    assert isinstance(frontend, LogMel)
    return Mel(frontend, library)


def count_frames(mel: Mel, stream: StreamFormat) -> int:
    """Return the number of frames that a hop adds; 0 if a hop is no whole number of frames."""
    return 0 if stream.hop % mel.frontend.stride else stream.hop // mel.frontend.stride


def define_ring(define: Definitions, mel: Mel, stream: StreamFormat, has_signal_gate: bool) -> dict[str, Any]:
    """Define the ring buffer of the newest samples, and return its fields of ``gs_plan``.

    With a gate on the signal, the front end computes a whole window when this gate opens, so the ring holds a whole
    window. Otherwise each hop computes only its own frames, and the ring holds the samples of these frames, and those
    that were read since the window ended, where a window is no whole number of hops.
    """
    step, size = count_frames(mel, stream), stream.window
    if step and not has_signal_gate:
        size -= (mel.shape[0] - step) * mel.frontend.stride
    size = max(size + -stream.window % stream.hop, stream.hop)
    return {"ring_size": size, "ring": define.memory("int16_t", "ring", size, "samples")}


def define_signal_gate(define: Definitions, signal: SignalGate | None, stream: StreamFormat) -> dict[str, Any]:
    """Define the gate before the front end and its statistic, and return their fields of ``gs_plan``."""
    if signal is None:
        return {}
    frame = signal_frame(stream.rate, stream.window, stream.hop)
    level = LevelStream(SignalFormat(statistic=signal.statistic, window=stream.window, hop=stream.hop, frame=frame))
    fields: dict[str, Any] = {name: int(getattr(level.c, name)) for name in ("kind", "block", "frames", "bins")}
    fields |= {name: define.arrays.add(level.arrays[name]) for name in ("logs", "filters")}
    fields["numbers"] = define.memory("int32_t", "level_numbers", level.format.frames, "gate on the signal")
    fields["rest"] = define.memory("int16_t", "level_rest", level.format.block, "gate on the signal")
    define.lines.append(f"static gs_level level = {structure(fields)};")
    return {
        "level": "&level",
        "signal": define.constant("gs_gate", "signal_gate", define.gate(signal.settings, "signal")),
    }


def define_frontend(define: Definitions, mel: Mel, stream: StreamFormat, target: TensorSpec, scratch: str) -> str:
    """Define the front end, and return the address of its structure.

    Args:
        define: receives the definitions.
        mel: the front end.
        stream: the format of the stream.
        target: the first stage's input.
        scratch: C name of the memory that the front end may use while it runs.
    """
    fields: dict[str, Any] = {name: int(getattr(mel.c, name)) for name in SIZES}
    fields["steps"] = np.float32(mel.c.steps)
    fields |= {name: define.arrays.add(array) for name, array in mel.arrays.items() if array is not None}
    frames, features = mel.shape
    written = TensorSpec("features", target.shape, np.dtype(np.int8), scale=FEATURE_SCALE, zero_point=0)
    return define.constant(
        "gs_frontend",
        "frontend",
        {
            "mel": define.constant("gs_mel", "mel", fields),
            "frames": frames,
            "step": count_frames(mel, stream),
            **define.scale_table(written, target),
            "window": define.memory("int8_t", "feature_window", frames * features, "features"),
            "samples": define.memory("float", "frame_samples", mel.frontend.frame, "front end"),
            "scratch": scratch,
        },
    )
