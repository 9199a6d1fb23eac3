"""The run folder: what a run leaves behind, written so that a run cut off at any moment can go on."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gatesearch.errors import UserError


class RunFolder:
    """Paths of a run, and whole-file writes.

    Args:
        path: the folder; made if it does not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            (path / "best").mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError, PermissionError) as error:
            raise UserError(f"out={path}: cannot be a run folder: {error.strerror}") from None

    @classmethod
    def new(cls, name: str, out: Path | None) -> RunFolder:
        """Make the folder that the user names, or the next free runs/NAME-N.

        Raises:
            UserError: the folder holds a run already.
        """
        if out is not None:
            if (out / "recipe.yaml").exists():
                raise UserError(f"out={out}: holds a run already; go on with it: gatesearch run resume={out}")
            return cls(out)
        number = 1
        while True:
            path = Path("runs") / f"{name}-{number}"
            try:
                path.mkdir(parents=True)
            except FileExistsError:
                number += 1
                continue
            return cls(path)

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def write(self, name: str, content: str | bytes) -> Path:
        """Write a file so that it is there whole or not at all."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            part.write_bytes(content.encode() if isinstance(content, str) else content)
            part.replace(path)
        except OSError:
            part.unlink(missing_ok=True)
            raise
        return path

    def write_json(self, name: str, value: Any) -> Path:
        """Write JSON, whole or not at all."""
        return self.write(name, json.dumps(value, indent=1, allow_nan=False))

    def read_json(self, name: str) -> Any:
        """Read JSON, or return None where the file is not there yet."""
        path = self.path / name
        return json.loads(path.read_text()) if path.exists() else None

    def write_csv(self, name: str, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> Path:
        """Write a table, whole or not at all."""
        path = self.path / name
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        with part.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)
        part.replace(path)
        return path
