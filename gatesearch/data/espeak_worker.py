"""The subprocess that synthesises speech with eSpeak NG; :mod:`gatesearch.data.espeak` starts it.

eSpeak NG has the licence GPL-3 and keeps its state in globals, so only this subprocess loads it. Python runs the worker
by its path with ``-P``, because the ``types.py`` in this folder would hide the standard module. The worker imports
neither the package nor torch.

Standard input holds JSON: ``{"seed": int, "utterances": [[text, voice, words a minute, pitch, pitch range], ...]}``.
Standard output holds the sample rate as a little-endian uint32. Then come, for each utterance in order, the number of
its samples as a uint32, and the samples as int16.
"""

from __future__ import annotations

import ctypes
import json
import struct
import sys

SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS: the library passes samples to the callback only
RATE, PITCH, RANGE = 1, 3, 4  # espeak_PARAMETER
UTF8 = 1  # espeakCHARS_UTF8
UNKNOWN_VOICE_STATUS = 3  # exit status


def main() -> int:
    """Synthesise the utterances on standard input; return the exit status.

    The status is 0 for success, 1 if eSpeak NG does not start, and 3 for a voice that eSpeak NG does not have.
    """
    import espeakng_loader

    payload = json.load(sys.stdin)
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    callback_type = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
    blocks: list[bytes] = []

    def collect(samples: object, count: int, events: object) -> int:
        if samples and count > 0:
            blocks.append(ctypes.string_at(samples, 2 * count))  # type: ignore[arg-type]
        return 0

    callback = callback_type(collect)  # this reference keeps the callback alive while the library may call it
    sample_rate = library.espeak_Initialize(SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), 0)
    if sample_rate <= 0:
        print("espeak_Initialize failed", file=sys.stderr)
        return 1
    library.espeak_SetSynthCallback(callback)
    library.espeak_ng_SetRandSeed(ctypes.c_long(payload["seed"]))
    out = sys.stdout.buffer
    out.write(struct.pack("<I", sample_rate))
    for text, voice, words_per_minute, pitch, pitch_range in payload["utterances"]:
        if library.espeak_SetVoiceByName(voice.encode()) != 0:
            print(f"no voice {voice!r}", file=sys.stderr)
            return UNKNOWN_VOICE_STATUS
        for parameter, value in ((RATE, words_per_minute), (PITCH, pitch), (RANGE, pitch_range)):
            library.espeak_SetParameter(parameter, value, 0)
        blocks.clear()
        data = text.encode() + b"\0"
        library.espeak_Synth(data, ctypes.c_size_t(len(data)), 0, 0, 0, UTF8, None, None)
        clip = b"".join(blocks)
        out.write(struct.pack("<I", len(clip) // 2) + clip)
    out.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
