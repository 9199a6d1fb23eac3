"""Finds recipes and search spaces: in the working folder, beside a recipe, or shipped with the package."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gatesearch.errors import unknown


def available(folder: str = "recipes") -> list[str]:
    """Return the names of the YAML files in ./FOLDER and of the shipped ones."""
    return sorted({path.name for place in _places(folder) for path in place.glob("*.yaml")})


def find(name_or_path: str | Path, folder: str, what: str, where: str = "", beside: Path | None = None) -> Path:
    """Return the file that a name or path means.

    Args:
        name_or_path: as written; ``.yaml`` may be left out.
        folder: ``recipes`` or ``search_spaces``, looked for here and as shipped.
        what: what the error calls it.
        where: what the error begins with, such as the file and key that named it.
        beside: a folder to look in before these.

    Raises:
        UserError: there is no such file; names the nearest that there is.
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
    """Yield ./FOLDER and the shipped folder: in a wheel beside this package's files, in a checkout one up."""
    package = Path(__file__).parent.parent
    packaged = package / f"_{folder}"
    yield Path(folder)
    yield packaged if packaged.is_dir() else package.parent / folder
