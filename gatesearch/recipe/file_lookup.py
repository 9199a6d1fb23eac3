"""Finds recipes and search spaces in the working folder, beside a recipe, or in the package."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gatesearch.errors import unknown


def available(folder: str = "recipes") -> list[str]:
    """Return the names of the YAML files in ./FOLDER and in the shipped folder of that name."""
    return sorted({path.name for place in _places(folder) for path in place.glob("*.yaml")})


def find(name_or_path: str | Path, folder: str, what: str, where: str = "", beside: Path | None = None) -> Path:
    """Return the file that a name or path means.

    Args:
        name_or_path: the name or path as the user wrote it; ``.yaml`` may be left out.
        folder: ``recipes`` or ``search_spaces``; it is searched in the working folder and among the shipped folders.
        what: the word for the file in an error, such as ``recipe``.
        where: the beginning of an error, such as the file and key that named the file.
        beside: a further folder to search, before ``folder``.

    Raises:
        UserError: there is no such file; the error names the nearest existing one.
    """
    for suffix in ("", ".yaml"):
        for place in [Path(), *([beside] if beside else []), *_places(folder)]:
            try:
                path = place / f"{Path(name_or_path).expanduser()}{suffix}"
                if path.is_file():
                    return path
            except (OSError, RuntimeError):  # the name is too long for the file system, or "~user" has no home
                continue
    names = available(folder)
    if not Path(name_or_path).suffix:
        names = [Path(name).stem for name in names]
    raise unknown(where or what, what, str(name_or_path), names)


def _places(folder: str) -> Iterator[Path]:
    """Yield ./FOLDER and the shipped folder, which lies inside the package in a wheel, and beside it in a checkout."""
    package = Path(__file__).parent.parent
    packaged = package / f"_{folder}"
    yield Path(folder)
    yield packaged if packaged.is_dir() else package.parent / folder
