"""The journal of a batch-size study: a file with a line of JSON for each training that has ended.

A study that is killed loses only the training in progress.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from gatesearch.batch_study.config import Config
from gatesearch.batch_study.training import TrainingResult


class Key(NamedTuple):
    """The identity of a training: part of the study, batch size, number of the config in that part, and repeat.

    A part of the study is, for example, ``pilot`` or ``search``.
    """

    part: str
    batch: int
    number: int
    repeat: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """A training that has ended, and the seconds of processor time that it took."""

    key: Key
    config: Config
    result: TrainingResult
    seconds: float

    def to_json(self) -> str:
        """Return the entry as a line of JSON."""
        values = {
            "key": self.key,
            "config": asdict(self.config),
            "ran": asdict(self.result),
            "seconds": self.seconds,
        }
        return json.dumps(values, allow_nan=False)

    @classmethod
    def from_json(cls, line: bytes) -> Entry:
        """Read an entry from a line of JSON."""
        values = json.loads(line)
        result = values["ran"]
        curve = tuple((step, error) for step, error in result["curve"])
        return cls(
            key=Key(*values["key"]),
            config=Config(**values["config"]),
            result=TrainingResult(result["state"], result["steps"], curve),
            seconds=values["seconds"],
        )


class Journal:
    """The trainings of a study so far.

    Args:
        path: file of JSON lines. An incomplete last line, which a killed study leaves, is removed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: dict[Key, Entry] = {}
        if not path.exists():
            return
        content = path.read_bytes()
        complete = content[: content.rfind(b"\n") + 1]
        if complete != content:
            with path.open("r+b") as file:
                file.truncate(len(complete))
        for line in complete.splitlines():
            entry = Entry.from_json(line)
            self.entries[entry.key] = entry

    def get(self, key: Key, config: Config, train: Callable[[], TrainingResult]) -> Entry:
        """Return a training from the journal; run and record it first if it is not there."""
        if key not in self.entries:
            started = time.process_time()
            result = train()
            entry = Entry(key, config, result, time.process_time() - started)
            with self.path.open("a") as file:
                file.write(entry.to_json() + "\n")
            self.entries[key] = entry
        return self.entries[key]
