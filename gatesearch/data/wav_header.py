"""Checks that the header of a WAV file fits the file's size and does not contradict itself.

libsndfile does not report a file that was cut short, or a header whose fields contradict each other.
"""

from __future__ import annotations

import struct
from pathlib import Path

from gatesearch.errors import UserError

RIFF_HEAD, CHUNK_HEAD = 12, 8  # bytes
# A program that writes to a pipe cannot know the size in advance. Its header has one of these sizes, or a huge size.
OPEN_ENDED_SIZES = (0, 0xFFFFFFFF)
SMALLEST_PLACEHOLDER = 0x7FFF0000  # this size and larger sizes are placeholders, too
MAX_CHUNKS = 10_000
FORMAT_BYTES = 16  # size of the fields that every format chunk has
PLAIN_FORMATS = (1, 3, 6, 7)  # integers, floats, A-law and mu-law, which store one value after the other
CODE_BITS = {6: 8, 7: 8, 64: 4}  # bits of a value in A-law, mu-law and G.721


def check_header(path: Path) -> None:
    """Check that a RIFF file agrees with its header; files of other formats are not checked.

    A RIFF file is a sequence of chunks. A chunk has four characters, its size in bytes, and that many bytes, padded to
    an even number (Microsoft and IBM, Multimedia Programming Interface and Data Specifications 1.0, 1991).

    Raises:
        UserError: the file holds fewer bytes of sound than it declares, or bytes outside its chunks, or the fields of
            its header contradict each other.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(RIFF_HEAD)
        if head[:4] != b"RIFF" or head[8:] != b"WAVE":
            return
        for _ in range(MAX_CHUNKS):
            head = file.read(CHUNK_HEAD)
            if len(head) < CHUNK_HEAD:
                return
            length = struct.unpack("<I", head[4:])[0]
            if head[:4] == b"data":
                _check_sound(path, declared=length, present=size - file.tell())
                _check_rest(path, declared=length, start=file.tell() + length + length % 2, size=size)
                return
            if head[:4] == b"fmt " and length >= FORMAT_BYTES:
                _check_format(path, file.read(FORMAT_BYTES))
                length -= FORMAT_BYTES
            file.seek(length + length % 2, 1)


def _check_format(path: Path, fields: bytes) -> None:
    """Check that the fields of a format chunk do not contradict each other.

    A frame holds one value of each channel; ``bits`` is the size of a value.
    """
    kind, channels, rate, bytes_per_second, frame_bytes, bits = struct.unpack("<HHIIHH", fields)
    if CODE_BITS.get(kind, bits) != bits:
        raise UserError(f"{path}: its header contradicts itself: format {kind}, of {CODE_BITS[kind]} bits, in {bits}")
    if kind not in PLAIN_FORMATS:
        return
    if frame_bytes != channels * ((bits + 7) // 8):
        raise UserError(
            f"{path}: its header contradicts itself: {channels} channels of {bits} bits in {frame_bytes} bytes"
        )
    if bytes_per_second not in (0, rate * frame_bytes):
        raise UserError(
            f"{path}: its header contradicts itself: {rate} Hz of {frame_bytes} bytes, and {bytes_per_second} bytes a "
            "second"
        )


def _check_sound(path: Path, declared: int, present: int) -> None:
    if declared > present and declared not in OPEN_ENDED_SIZES and declared < SMALLEST_PLACEHOLDER:
        raise UserError(f"{path}: is cut short: its header says {declared} bytes of sound, and {present} are there")


def _check_rest(path: Path, declared: int, start: int, size: int) -> None:
    """Check that zeros or a whole chunk follow the sound; other bytes show that the header declares too little."""
    if declared in OPEN_ENDED_SIZES or size <= start:
        return
    with path.open("rb") as file:
        file.seek(start)
        rest = file.read(CHUNK_HEAD)
    is_named = len(rest) == CHUNK_HEAD and all(32 <= byte < 127 for byte in rest[:4])
    is_chunk = is_named and struct.unpack("<I", rest[4:])[0] <= size - start - CHUNK_HEAD
    if any(rest) and not is_chunk:
        raise UserError(f"{path}: its header says {declared} bytes of sound, and more than that follows")
