"""The run folder: writes and reads the files of a run, which may stop at any moment and continue later."""

from __future__ import annotations

import csv
import io
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from gatesearch._lib import console, interrupts
from gatesearch._lib.files import DISK_FULL, DamagedFile, read_bytes, set_aside, write_whole
from gatesearch._lib.locks import lock_with_owner
from gatesearch.errors import UserError, first_line
from gatesearch.pipeline.checksums import Checksums

DRIVER_FILE = "logs/driver.json"
SECONDS_FILE = "logs/seconds.json"
WARNINGS_FILE = "logs/warnings.json"
# Files for people and other programs. Steps write these files, but no step reads them.
OUTPUT_FILES = ("summary.json", "record.json", "trials.csv", "pareto.csv", "best/plan.json", "logs/begun.json")
P = ParamSpec("P")
R = TypeVar("R")


class RunFolder:
    """The folder of a run. Its methods write files completely or not at all, and detect damaged files when they read.

    Args:
        path: the folder, which is created if it does not exist.

    Attributes:
        trainings: the folder of the run that stores all trainings; the folder itself, except for a pick.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.trainings: RunFolder = self
        self.checksums = Checksums(path)
        try:
            (path / "best").mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError) as error:  # ValueError: the path holds a NUL or cannot be encoded
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
            UserError: the folder holds a run already, or cannot be made.
        """
        if out is not None:
            if not str(out).isprintable():
                raise UserError(f"out={out}: a path with line breaks or bytes that are no text; take another")
            check_unused(out)
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

    @property
    def final_path(self) -> Path:
        """The folder in which the results lie when the run has ended."""
        return self.path

    @property
    def command(self) -> tuple[str, ...]:
        """The command that makes the results of this folder again."""
        return ("gatesearch", "run", f"recipe={self / 'recipe.yaml'}")

    @property
    def resume_command(self) -> str:
        """The command that goes on with the work in this folder."""
        return f"gatesearch run resume={self.path}"

    def driver_lock(self) -> AbstractContextManager[None]:
        """Keep other processes from driving this run, until the context or this process ends.

        Raises:
            UserError: another process drives a step of this run; the error names the process.
        """
        return lock_with_owner(self.path / DRIVER_FILE, f"run folder {self.path}")

    def write(self, name: str, content: str | bytes) -> Path:
        """Write a file completely or not at all.

        Raises:
            UserError: a folder has the name of the file, or the run folder cannot be written.
            OSError: the disk is full.
        """
        content = content.encode() if isinstance(content, str) else content
        try:
            self.checksums.expect(name, content)
            return write_whole(self.path / name, content)
        except OSError as error:
            if error.errno in DISK_FULL:
                raise
            raise UserError(f"{self.path / name}: cannot be written: {error.strerror or error}") from None

    def write_json(self, name: str, value: Any) -> Path:
        """Write a JSON file, completely or not at all."""
        return self.write(name, json.dumps(value, indent=1, allow_nan=False))

    def write_csv(self, name: str, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> Path:
        """Write a table as a CSV file, completely or not at all."""
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, columns)
        writer.writeheader()
        writer.writerows(rows)
        return self.write(name, text.getvalue())

    def read(self, name: str, parse: Callable[[bytes], R]) -> R | None:
        """Return the value in a file, or None if the file does not exist yet.

        Args:
            name: the name of the file.
            parse: turns the bytes of the file into a value.

        Raises:
            DamagedFile: the file does not hold what the run wrote, or cannot be parsed.
            UserError: the file cannot be read.
        """
        content = read_bytes(self.path / name)
        if content is None:
            return None
        self.checksums.check(name, content)
        try:
            return parse(content)
        except UserError:
            raise
        except Exception as error:  # a parser may raise any error of its format's library
            raise DamagedFile(self.path / name, f"is damaged: {first_line(error)}") from error

    def read_json(self, name: str) -> Any:
        """Return the JSON in a file, or None if the file does not exist yet; see :meth:`read` for errors."""
        return self.read(name, json.loads)

    def load(self, name: str, parse: Callable[[bytes], R], remedy: str) -> R | None:
        """Return the value in a file, or None if it is missing or damaged; a damaged file is renamed with a warning.

        Args:
            name: the name of the file.
            parse: turns the bytes of the file into a value.
            remedy: a clause for the warning; it says what the run does because the file is damaged.
        """
        try:
            return self.read(name, parse)
        except DamagedFile as error:
            aside = set_aside(self.path / name)
            console.warn(f"{error}; {remedy}; the damaged file is now {aside.name}")
            return None

    def check_outputs(self) -> None:
        """Rename each damaged file among those that no step reads, with a warning."""
        for name in OUTPUT_FILES:
            self.load(name, bytes, "a run that ends writes it again")

    def listed_trials(self) -> int:
        """Return the number of trials in ``trials.csv``, which a search writes at its end; 0 without that file."""
        rows = self.read("trials.csv", lambda text: list(csv.DictReader(io.StringIO(text.decode()))))
        return len(rows or [])

    def warnings(self) -> list[str]:
        """Return the warnings of all sessions of the run, each once."""
        texts = self.load(WARNINGS_FILE, json.loads, "warnings of earlier sessions are lost")
        return list(texts or [])

    @contextmanager
    def stored_warnings(self) -> Iterator[None]:
        """Store each warning of the context in the folder immediately, so that a killed run keeps its warnings."""

        with console.pass_warnings(self.store_warning):
            yield

    def store_warning(self, text: str) -> None:
        """Store a warning that was printed; an equal warning is not stored again."""
        self.warnings()  # if the file of warnings or of checksums is damaged, this call stores a warning about it first
        stored = self.warnings()
        if text not in stored:
            self.write_json(WARNINGS_FILE, [*stored, text])

    def seconds(self) -> dict[str, float]:
        """Return the seconds of each step and of all steps (``total``), each summed over the sessions of the run."""
        account = self.load(SECONDS_FILE, json.loads, "the seconds of earlier sessions are lost")
        return dict(account or {})

    def timed(self, step: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Do a step, and add its seconds to the run's account, even if the step is interrupted."""
        interrupts.check()
        started = time.monotonic()
        try:
            return step(*args, **kwargs)
        finally:
            self.add_seconds(step.__name__, time.monotonic() - started)

    def add_seconds(self, step: str, seconds: float) -> None:
        """Add the seconds of a step to the account of the run."""
        account = self.seconds()
        for name in (step, "total"):
            account[name] = account.get(name, 0.0) + seconds
        self.write_json(SECONDS_FILE, account)

    def named_in_errors(self) -> AbstractContextManager[None]:
        """Attach the command that continues the run to any error, so that the command line can print it."""
        return resume_hint(self.resume_command)

    def set_aside_obstacles(self, directory: str, files: Sequence[str]) -> None:
        """Rename a file that stands in the place of a folder, and folders that stand in the places of files."""
        if (self.path / directory).is_file():
            set_aside(self.path / directory)
        for file in files:
            if (self.path / file).is_dir():
                set_aside(self.path / file)


@contextmanager
def resume_hint(command: str) -> Iterator[None]:
    """Attach a command to any error of the context; the command line prints that the work goes on with it."""
    try:
        yield
    except BaseException as error:
        error.resume_command = command  # type: ignore[attr-defined]
        raise


def check_unused(path: Path) -> None:
    """Check that a folder holds no run.

    Raises:
        UserError: the folder holds a run.
    """
    if _exists(path / "recipe.yaml"):
        raise UserError(f"out={path}: holds a run already; go on with it: gatesearch run resume={path}")


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # the name is too long or holds a NUL; making the folder reports which
        return False
