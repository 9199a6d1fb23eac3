"""Optuna's journal file, made safe against full disks and killed processes."""

from __future__ import annotations

import json
import os
import zlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

from gatesearch._lib import console

CHECKSUM_KEY = "crc32"
LOCK_TIMEOUT_S = 5  # age at which a lock is ignored: an append takes milliseconds, so its process must be dead


class Journal(JournalFileBackend):
    """A journal that stays readable on a full disk: an entry that does not fit is removed again.

    When :meth:`append_logs` returns, the operating system has the entry, so the entry is not lost if the process is
    killed. The main process of a search flushes entries to the disk in the background, while the next trial runs. A
    flush takes milliseconds. Until the flush ends, a power cut loses the entry.

    Args:
        path: the path of the file.
        in_background: whether a thread flushes entries; :meth:`flush` waits for that thread. Otherwise
            :meth:`append_logs` itself flushes them.
    """

    def __init__(self, path: Path, in_background: bool = False) -> None:
        # The lock is a symbolic link to the file. With a relative path the link could point to no file, and Optuna
        # would wait for the lock forever. So the path is absolute.
        self._path = path.absolute()
        self._append_lock = JournalFileSymlinkLock(str(self._path), grace_period=LOCK_TIMEOUT_S)
        super().__init__(str(self._path), self._append_lock)
        self._thread = ThreadPoolExecutor(1, "journal") if in_background else None
        self._flushes: deque[Future[None]] = deque()

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append entries, all or none.

        Raises:
            OSError: the disk is full; the error names the file.
        """
        text = "".join(f"{_write_entry(log)}\n" for log in logs)
        try:
            self._append_lock.acquire()
            try:
                with self._path.open("ab", buffering=0) as file:
                    rest = text.encode()
                    while rest:  # one system call is enough, unless the disk fills up
                        rest = rest[file.write(rest) :]
            finally:
                self._append_lock.release()
            self._start_flush()
        except OSError as error:
            drop_half_entry(self._path)
            raise OSError(error.errno, error.strerror, str(self._path)) from error

    def flush(self) -> None:
        """Wait until every entry is on the disk, and end the thread."""
        if self._thread is not None:
            self._thread.shutdown()
        while self._flushes:
            self._flushes.popleft().result()

    def _start_flush(self) -> None:
        if self._thread is None:
            _flush_file(self._path)
            return
        while self._flushes and self._flushes[0].done():
            self._flushes.popleft().result()
        # At most one flush runs and one waits. The waiting flush also writes entries that are appended meanwhile.
        if len(self._flushes) < 2:
            self._flushes.append(self._thread.submit(_flush_file, self._path))


def repair_last_line(journal: Path) -> None:
    """Repair the last line of a journal, which a full disk or a killed process may have cut off.

    If only the line end is missing, it is added. Half an entry is dropped with a warning, because the next entry would
    continue its line.
    """
    if not journal.exists():
        return
    with journal.open("rb+") as file:
        content = file.read()
        start = content.rfind(b"\n") + 1
        if start == len(content):
            return
        if _is_entry(content[start:]):  # only the line end is missing
            file.write(b"\n")
            return
        file.truncate(start)
    size = len(content) - start
    console.warn(f"{journal}: its last line was cut off; {size} bytes are dropped, and their trial is tried again")


def drop_half_entry(journal: Path) -> None:
    """Remove the first half of an entry from the end of a journal, after writing the entry failed."""
    if journal.exists():
        with journal.open("rb+") as file:
            file.truncate(file.read().rfind(b"\n") + 1)


def find_broken_line(journal: Path) -> str | None:
    """Return the first line of a journal that is no entry, such as "line 5"; None where every line is an entry.

    A last line without a line end is not checked: a process is writing it, or a process was killed while it wrote it.
    """
    for number, line in enumerate(journal.read_bytes().splitlines(keepends=True), 1):
        if not line.endswith(b"\n"):
            return None
        if not _is_entry(line):
            return f"line {number}"
    return None


def _is_entry(line: bytes) -> bool:
    try:
        entry = json.loads(line)
    except ValueError:
        return False
    return isinstance(entry, dict) and "op_code" in entry and is_intact(entry)


def is_intact(entry: dict[str, Any]) -> bool:
    """Return whether an entry agrees with its checksum; True for an entry without one.

    Older versions of gatesearch, and other programs, write entries without a checksum.
    """
    rest = {key: value for key, value in entry.items() if key != CHECKSUM_KEY}
    return len(rest) == len(entry) or entry[CHECKSUM_KEY] == _checksum(rest)


def _write_entry(log: dict[str, Any]) -> str:
    # Optuna ignores keys that it does not know, so the checksum is one more key of the entry.
    return _dump(log | {CHECKSUM_KEY: _checksum(log)})


def _checksum(log: dict[str, Any]) -> int:
    return zlib.crc32(_dump(log).encode())


def _dump(log: dict[str, Any]) -> str:
    return json.dumps(log, separators=(",", ":"))


def _flush_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
