"""Every training of a study as a line of JSON, written when it ends: a killed study loses the one under way."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from gatesearch.batch_study.space import Config
from gatesearch.batch_study.trial import Ran


class Key(NamedTuple):
    """Which training: the part of the study, the batch size, the number of the config there, and the repeat."""

    part: str
    batch: int
    number: int
    repeat: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """A training that has ended, and the seconds of processor time that it took."""

    key: Key
    config: Config
    ran: Ran
    seconds: float


class Journal:
    """The trainings so far.

    Args:
        path: of the file of JSON lines; a last line that was cut off is taken away.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: dict[Key, Entry] = {}
        whole = b""
        if path.exists():
            content = path.read_bytes()
            whole = content[: content.rfind(b"\n") + 1]
            if whole != content:
                with path.open("r+b") as file:
                    file.truncate(len(whole))
        for line in whole.splitlines():
            told = json.loads(line)
            ran = told["ran"]
            curve = tuple((step, error) for step, error in ran["curve"])
            key, ended = Key(*told["key"]), Ran(ran["state"], ran["steps"], curve)
            self.entries[key] = Entry(key, Config(**told["config"]), ended, told["seconds"])

    def get(self, key: Key, config: Config, train: Callable[[], Ran]) -> Entry:
        """Return a training, from the file where it is there."""
        if key not in self.entries:
            started = time.process_time()
            entry = Entry(key, config, train(), time.process_time() - started)
            line = json.dumps(asdict(entry) | {"key": key}, allow_nan=False)
            with self.path.open("a") as file:
                file.write(line + "\n")
            self.entries[key] = entry
        return self.entries[key]
