"""Writes folders of sources, such as firmware: replaced as a whole, with the sha256 of each file."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gatesearch._lib.files import digest, write_whole
from gatesearch.errors import UserError

SUMS = "SHA256SUMS"


@contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """Yield a new folder, which replaces ``folder`` when the ``with`` block ends without an error."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as place:
        new = Path(place) / "new"
        new.mkdir()
        yield new
        if folder.exists():
            folder.rename(Path(place) / "old")
        new.rename(folder)


def check_replaceable(what: str, folder: Path, own: Collection[str], places: tuple[str, ...]) -> None:
    """Refuse to replace a folder that holds other files than those that were written or built there.

    Args:
        what: name of the folder's content, with which the error begins.
        folder: the folder; it need not exist.
        own: the files that may be replaced, by path, beside those that the folder's :data:`SUMS` names.
        places: beginnings of further paths that may be replaced.

    Raises:
        UserError: the folder is a file, or holds another file.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{what}: {folder}: is a file; wanted: a folder for the {what}")
    allowed = {*own, SUMS, *read_sums(folder)}
    for path in sorted(each for each in folder.rglob("*") if not each.is_dir()):
        name = path.relative_to(folder).as_posix()
        if name not in allowed and not name.startswith(places):
            raise UserError(f"{what}: {folder} would be replaced, and holds {name}; name a new or an empty folder")


def read_sums(folder: Path) -> dict[str, str]:
    """Return the sha256 of each file of a folder when it was written, by path; empty if it is not known."""
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    return {name: sha256 for sha256, _, name in (line.partition("  ") for line in lines)}


def write_sums(folder: Path) -> None:
    """Write the sha256 of each file of a folder, as ``sha256sum`` does."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    write_whole(folder / SUMS, "".join(f"{digest((folder / name).read_bytes())}  {name}\n" for name in names))


def find_changed(folder: Path, files: Mapping[str, str]) -> Path | None:
    """Return the first file that is missing or has another sha256; None if there is none."""
    for name, expected in files.items():
        path = folder / name
        if not path.is_file() or digest(path.read_bytes()) != expected:
            return path
    return None


def render(templates: Path, name: str, values: Mapping[str, Any]) -> str:
    """Return the text of a Jinja template of a folder, without spaces at the ends of lines."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates), undefined=jinja2.StrictUndefined, autoescape=False, trim_blocks=True
    )
    lines = environment.get_template(name).render(values).splitlines()
    return "".join(f"{line.rstrip()}\n" for line in lines)
