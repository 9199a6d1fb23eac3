"""Stores the SHA-256 of each file of a run folder, to detect a damaged or edited file when it is read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from gatesearch._lib import console
from gatesearch._lib.files import DamagedFile, digest, read_bytes, set_aside, write_whole

CHECKSUMS_FILE = "logs/checksums.json"


class Checksums:
    """The SHA-256 digests of the files of a run folder, in ``logs/checksums.json``.

    The digest of a file's new content is stored before the file is replaced. If the process is killed between these two
    steps, the old file remains, so the digest of the old content stays valid, too. ``logs/checksums.json`` also has an
    entry for itself: the digest of all other entries.

    Args:
        folder: the run folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def expect(self, name: str, content: bytes) -> None:
        """Store the digest of the content that is about to be written to a file."""
        digests = self._read() or {}
        present = self._present_digest(name)
        old = [present] if present in digests.get(name, []) else []
        new = list(dict.fromkeys([digest(content), *old]))
        if digests.get(name) != new:
            self._write(digests | {name: new})

    def forget(self, name: str) -> None:
        """Remove the digest of a file, to which something is about to be appended."""
        digests = self._read() or {}
        if digests.pop(name, None) is not None:
            self._write(digests)

    def names(self) -> list[str] | None:
        """Return the names of the files that have a digest; None if there is no file of digests."""
        digests = self._read()
        return None if digests is None else list(digests)

    def check(self, name: str, content: bytes) -> None:
        """Check that the content of a file is what the run wrote; a file without a digest passes.

        Raises:
            DamagedFile: the content has another digest.
        """
        digests = self.expected_digests(name)
        if digests and digest(content) not in digests:
            raise DamagedFile(
                self._folder / name, f"is damaged: its sha256 is {digest(content)[:12]}, not {digests[0][:12]}"
            )

    def expected_digests(self, name: str) -> list[str]:
        """Return the digests that a file may have, the newest first; an empty list for a file without a digest."""
        return (self._read() or {}).get(name, [])

    def _present_digest(self, name: str) -> str | None:
        try:
            content = read_bytes(self._folder / name)
        except DamagedFile:
            return None
        return None if content is None else digest(content)

    def _write(self, digests: Mapping[str, list[str]]) -> None:
        own = {CHECKSUMS_FILE: [_digest_entries(digests)]}
        write_whole(self._folder / CHECKSUMS_FILE, json.dumps({**digests, **own}, indent=1))

    def _read(self) -> dict[str, list[str]] | None:
        """Return the stored digests; None without a file of digests. A damaged one is renamed, with a warning."""
        path = self._folder / CHECKSUMS_FILE
        content = read_bytes(path)
        if content is None:
            return None
        try:
            digests = json.loads(content)
            own = digests.pop(CHECKSUMS_FILE, None)  # older versions wrote no digest of this file
            is_whole = own is None or own == [_digest_entries(digests)]
            if digests and is_whole and all(isinstance(values, list) for values in digests.values()):
                return dict(digests)
        except (ValueError, AttributeError, TypeError):  # no JSON, or JSON of another kind
            pass
        aside = set_aside(path)
        console.warn(
            f"{path}: is damaged; the run's files are checked without digests; the damaged file is now {aside.name}"
        )
        return {}


def _digest_entries(digests: Mapping[str, list[str]]) -> str:
    return digest(json.dumps(digests).encode())
