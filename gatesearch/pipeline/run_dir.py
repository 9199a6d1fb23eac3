"""The run folder: what a run leaves behind, written so that a run cut off at any moment can go on."""

from __future__ import annotations

import csv
import io
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from gatesearch._lib import console
from gatesearch._lib.files import DISK_FULL, write_whole
from gatesearch.errors import UserError

SECONDS_FILE = "logs/seconds.json"
WARNINGS_FILE = "logs/warnings.json"
P = ParamSpec("P")
R = TypeVar("R")


class RunFolder:
    """Paths of a run, and whole-file writes.

    Args:
        path: the folder; made if it does not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            (path / "best").mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError) as error:  # ValueError: the path holds a NUL, or is no text of the file system
            if getattr(error, "errno", None) in DISK_FULL:
                raise
            reason = getattr(error, "strerror", None) or str(error)
            raise UserError(f"out={path}: cannot be a run folder: {reason}") from None
        if not os.access(path, os.W_OK | os.X_OK):
            raise UserError(f"out={path}: cannot be a run folder: it cannot be written")

    @classmethod
    def new(cls, name: str, out: Path | None) -> RunFolder:
        """Make the folder that the user names, or the next free runs/NAME-N.

        Raises:
            UserError: the folder holds a run already.
        """
        if out is not None:
            if not str(out).isprintable():
                raise UserError(f"out={out}: a path with line breaks or bytes that are no text; take another")
            if _exists(out / "recipe.yaml"):
                raise UserError(f"out={out}: holds a run already; go on with it: gatesearch run resume={out}")
            return cls(out)
        number = 1
        while True:
            path = Path("runs") / f"{name}-{number}"
            try:
                path.mkdir(parents=True)
            except FileExistsError:
                if not path.exists():  # runs is a file, or a link to nowhere
                    raise UserError(f"{path}: cannot be a run folder: runs is no folder; name one with out=") from None
                number += 1
                continue
            except OSError as error:
                if error.errno in DISK_FULL:
                    raise
                raise UserError(f"{path}: cannot be a run folder: {error.strerror}; name one with out=") from None
            return cls(path)

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def write(self, name: str, content: str | bytes) -> Path:
        """Write a file so that it is there whole or not at all."""
        return write_whole(self.path / name, content)

    def write_json(self, name: str, value: Any) -> Path:
        """Write JSON, whole or not at all."""
        return self.write(name, json.dumps(value, indent=1, allow_nan=False))

    def read_json(self, name: str) -> Any:
        """Read JSON, or return None where the file is not there yet."""
        path = self.path / name
        return json.loads(path.read_text()) if path.exists() else None

    def write_csv(self, name: str, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> Path:
        """Write a table, whole or not at all."""
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, columns)
        writer.writeheader()
        writer.writerows(rows)
        return self.write(name, text.getvalue())

    def seconds(self) -> dict[str, float]:
        """Return the seconds of each step and of all (``total``), summed over the sessions of the run."""
        return dict(self.read_json(SECONDS_FILE) or {})

    def timed(self, step: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Do a step; keep its seconds in the run folder, also where it is interrupted."""
        started = time.monotonic()
        try:
            return step(*args, **kwargs)
        finally:
            account, seconds = self.seconds(), time.monotonic() - started
            for name in (step.__name__, "total"):
                account[name] = account.get(name, 0.0) + seconds
            self.write_json(SECONDS_FILE, account)

    def warnings(self) -> list[str]:
        """Return the fallbacks and doubts that were printed, of all sessions of the run, each once."""
        return list(self.read_json(WARNINGS_FILE) or [])

    @contextmanager
    def stored_warnings(self) -> Iterator[None]:
        """Store every warning of the context in the folder, at once: a run that is killed keeps them."""

        def store(text: str) -> None:
            before = self.warnings()
            if text not in before:
                self.write_json(WARNINGS_FILE, [*before, text])

        with console.pass_warnings(store):
            yield

    @contextmanager
    def named_in_errors(self) -> Iterator[None]:
        """Attach the folder to any error, so that the command line can say how to go on."""
        try:
            yield
        except BaseException as error:
            error.run_dir = self.path  # type: ignore[attr-defined]
            raise


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # the name is too long, or holds a NUL: making the folder says which
        return False
