"""Hand-written damage to folders of sounds and archives of arrays, which no random change produces."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soundfile


def write_wave(name: str, **keywords: Any) -> Callable[[Path], object]:
    def change(root: Path) -> None:
        values = keywords.pop("values", np.zeros(800, np.int16))
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / name, values, keywords.pop("rate", 8000), **keywords)

    return change


def write_header(sizes: Callable[[bytearray], None]) -> Callable[[Path], object]:
    def change(root: Path) -> None:
        path = next((root / "hey").iterdir())
        content = bytearray(path.read_bytes())
        sizes(content)
        path.write_bytes(content)

    return change


def put(start: int, content: bytes) -> Callable[[bytearray], None]:
    def change(values: bytearray) -> None:
        values[start : start + len(content)] = content

    return change


def write_list(root: Path) -> None:
    """Put every clip into the test split."""
    (root / "testing_list.txt").write_text("\n".join(f"{p.parent.name}/{p.name}" for p in root.rglob("*.wav")))


def change_each(letter: str, change: Callable[[Any], Any]) -> Callable[[dict[str, Any]], None]:
    """Return a function that changes each array whose name begins with a letter: x for inputs, y for labels."""

    def apply(arrays: dict[str, Any]) -> None:
        arrays.update({key: change(value) for key, value in arrays.items() if key.startswith(letter)})

    return apply


TREES: Mapping[str, Callable[[Path], object]] = {
    "no samples": write_wave("hey/s9_nohash_0.wav", values=np.zeros(0, np.int16)),
    "one sample": write_wave("hey/s9_nohash_0.wav", values=np.zeros(1, np.int16)),
    "twelve channels": write_wave("hey/s9_nohash_0.wav", values=np.zeros((800, 12), np.int16)),
    "one hertz": write_wave("hey/s9_nohash_0.wav", rate=1),
    "a gigahertz": write_wave("hey/s9_nohash_0.wav", rate=10**9),
    "doubles": write_wave("hey/s9_nohash_0.wav", values=np.full(800, 1e300), subtype="DOUBLE"),
    "not a number": write_wave("hey/s9_nohash_0.wav", values=np.full(800, np.nan), subtype="FLOAT"),
    "a-law": write_wave("hey/s9_nohash_0.wav", subtype="ALAW"),
    "adpcm": write_wave("hey/s9_nohash_0.wav", subtype="MS_ADPCM"),
    "rate of zero": write_header(put(24, b"\0\0\0\0")),
    "channels of zero": write_header(put(22, b"\0\0")),
    "bits of zero": write_header(put(34, b"\0\0")),
    "block of zero": write_header(put(32, b"\0\0")),
    "endless data": write_header(put(40, b"\xff\xff\xff\xff")),
    "endless file": write_header(put(4, b"\xff\xff\xff\xff")),
    "another codec": write_header(put(20, b"\x55\0")),
    "another container": write_header(put(0, b"RF64")),
    "look-alike folder": lambda root: (root / "hey").rename(root / "h\u0435y"),
    "folder for a clip": lambda root: (root / "hey" / "s9_nohash_0.wav").mkdir(),
    "file for a folder": lambda root: (root / "yes").write_text("x"),
    "link to the root": lambda root: (root / "loop").symlink_to(root),
    "empty word": lambda root: (root / "none").mkdir(),
    "no folder": lambda root: [os.rename(each, root.parent / each.name) for each in root.iterdir()],
    "lists of another root": lambda root: (root / "validation_list.txt").write_text("../../etc/passwd\n"),
    "list with nulls": lambda root: (root / "testing_list.txt").write_bytes(b"\0" * 100),
    "list of all": write_list,
    "list is a folder": lambda root: (root / "testing_list.txt").mkdir(),
    "list is a pipe": lambda root: os.mkfifo(root / "testing_list.txt"),
    "noise of one sample": write_wave("_background_noise_/a.wav", values=np.zeros(1, np.int16)),
    "noise without files": lambda root: (root / "_background_noise_").mkdir(),
}  # fmt: skip


def npy_bytes(header: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for key in ("x", "y", "subject", "is_test", "classes", "x_train", "y_train", "x_test", "y_test"):
            archive.writestr(f"{key}.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    return buffer.getvalue()


ARRAYS: Mapping[str, Callable[[dict[str, Any]], object]] = {
    "huge header": lambda a: npy_bytes(b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }\n"),
    "minus shape": lambda a: npy_bytes(b"{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }\n"),
    "code in the header": lambda a: npy_bytes(b"__import__('os').system('id')\n"),
    "deep header": lambda a: npy_bytes(b"(" * 5000 + b")" * 5000 + b"\n"),
    "no arrays": lambda a: a.clear(),
    "an empty archive": lambda a: b"PK\x05\x06" + b"\0" * 18,
    "one array": lambda a: _npy(next(iter(a.values()))),
    "a pickle": lambda a: b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x07builtins.",
    "no samples": change_each("", lambda value: value[:0]),
    "one sample": change_each("", lambda value: value[:1]),
    "bytes for text": lambda a: a.update(classes=np.array([b"a", b"b", b"\xff"])) if "classes" in a else None,
    "labels of dates": change_each("y", lambda value: value.astype("M8[s]")),
    "labels of records": change_each("y", lambda value: np.zeros(len(value), "i4,f4")),
    "big endian": change_each("", lambda value: value.astype(value.dtype.newbyteorder(">"))),
    "minus labels": change_each("y", lambda value: -value.astype(int) - 1),
    "huge labels": change_each("y", lambda value: value.astype(np.uint64) + 2**63),
    "one label": change_each("y", lambda value: value * 0),
    "fifty axes": change_each("x", lambda value: value.reshape(value.shape + (1,) * 40)),
    "an axis of zero": change_each("x", lambda value: value[..., :0]),
    "one subject": lambda a: a.update(subject=a["subject"] * 0) if "subject" in a else None,
}  # fmt: skip


def _npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()
