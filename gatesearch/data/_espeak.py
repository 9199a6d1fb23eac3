"""Runs eSpeak NG: requests in, samples out. A process of its own, started by
:mod:`gatesearch.data.synthetic`.

eSpeak NG is GPL-3 and keeps its state in globals, so it never enters the process of its caller. Run by path
with ``python -P`` (this folder has a ``types.py``), which also spares it torch.

In:  JSON on standard input, ``{"seed": int, "requests": [[text, voice, words a minute, pitch, range],
    ...]}``.
Out: on standard output a little-endian uint32 with the sample rate, then for each request a uint32 count and
    as
many int16 samples.
"""

from __future__ import annotations

import ctypes
import json
import struct
import sys

SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS: samples only go to the callback
RATE, PITCH, RANGE = 1, 3, 4  # espeak_PARAMETER
UTF8 = 1


def main() -> int:
    """Answer the requests on standard input; exit status 3 for a voice that eSpeak NG does not have."""
    import espeakng_loader

    job = json.load(sys.stdin)
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    callback_type = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
    pieces: list[bytes] = []

    def collect(samples: object, count: int, events: object) -> int:
        if samples and count > 0:
            pieces.append(ctypes.string_at(samples, 2 * count))  # type: ignore[arg-type]
        return 0

    callback = callback_type(collect)  # kept alive for as long as the library may call it
    sample_rate = library.espeak_Initialize(SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), 0)
    if sample_rate <= 0:
        print("espeak_Initialize failed", file=sys.stderr)
        return 1
    library.espeak_SetSynthCallback(callback)
    library.espeak_ng_SetRandSeed(ctypes.c_long(job["seed"]))
    out = sys.stdout.buffer
    out.write(struct.pack("<I", sample_rate))
    for text, voice, rate, pitch, pitch_range in job["requests"]:
        if library.espeak_SetVoiceByName(voice.encode()) != 0:
            print(f"no voice {voice!r}", file=sys.stderr)
            return 3
        for parameter, value in ((RATE, rate), (PITCH, pitch), (RANGE, pitch_range)):
            library.espeak_SetParameter(parameter, value, 0)
        pieces.clear()
        data = text.encode() + b"\0"
        library.espeak_Synth(data, ctypes.c_size_t(len(data)), 0, 0, 0, UTF8, None, None)
        clip = b"".join(pieces)
        out.write(struct.pack("<I", len(clip) // 2) + clip)
    out.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
