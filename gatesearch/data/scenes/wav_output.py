"""Writes the sound of a scene (a labelled stream) to a WAV file, one stretch of time after another."""

from __future__ import annotations

import wave
from pathlib import Path

from gatesearch._lib import console
from gatesearch.data.scenes.mix import describe_clipping, iterate_stretches
from gatesearch.data.scenes.sources import Sources
from gatesearch.data.scenes.spec import SceneSpec
from gatesearch.errors import UserError

MAX_BYTES = 2**32 - 64  # largest size of the sound in a RIFF file, whose sizes are uint32
BYTES_PER_SAMPLE = 2


def write_wav(path: Path, spec: SceneSpec, sources: Sources) -> Path:
    """Write the sound of a specification; the file appears whole or not at all.

    Raises:
        UserError: the scene is not of sound, is too long for a WAV file, or cannot be made from the sources.
    """
    if spec.signal != "sound":
        raise UserError(f"{path}: scene {spec.name!r} is of {spec.signal}, which no WAV file holds")
    if BYTES_PER_SAMPLE * spec.samples > MAX_BYTES or spec.sample_rate % 1:
        hours = spec.samples / spec.sample_rate / 3600
        raise UserError(f"{path}: {hours:.3g} hours at {spec.sample_rate:g} Hz do not fit into a WAV file")
    part = path.with_name(f"{path.name}.part")
    clipped = 0
    try:
        with wave.open(str(part), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(BYTES_PER_SAMPLE)
            file.setframerate(int(spec.sample_rate))
            for _, stretch, over in iterate_stretches(spec, sources):
                file.writeframes(stretch.astype("<i2").tobytes())
                clipped += over
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    if clipped:
        console.warn(describe_clipping(spec.name, clipped, spec.samples))
    return path
