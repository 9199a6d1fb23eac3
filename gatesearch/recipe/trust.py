"""Asks for trust before a recipe of somebody else may run code or write outside its run folder.

A recipe is data, except for three kinds of value: an import path (``package.module:Name``), whose module is imported
and called; the address of a Ray cluster, to which the search is sent; and a storage, to which trials are written.
gatesearch uses such a value without a question only where the user wrote it:

- on the command line, or as arguments in Python;
- in a recipe file that belongs to the user or to root and that not every user can write; the same holds for its folder;
- in a run folder that the user made on this machine: it holds a mark that only this user can make, an HMAC of its
  recipe by a key in the user's configuration folder (RFC 2104).

For any other recipe, an error names the value and asks for ``trust=true``. A downloaded file belongs to the user and
passes this check, so read the recipe of somebody else before you run it. docs/security.md describes all rules of trust.
"""

from __future__ import annotations

import hmac
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import platformdirs

from gatesearch._lib.files import write_whole
from gatesearch.errors import UserError
from gatesearch.recipe.overrides import Key, Override, last_writer
from gatesearch.recipe.schema import Recipe

MARK_FILE = "logs/made_here"
STAND_INS = ("gatesearch.api:data", "gatesearch.api:backbone")
"""The names in a recipe that stand for a network and data of the calling program; they run no code."""

_KEY_BYTES = 32
_PURPOSE = b"gatesearch run folder 1\0"
_MARK_BYTES = 2 * (2 * sha256().digest_size + 1)  # two lines, each with a digest in hexadecimal


class UntrustedValue(NamedTuple):
    """A value of a recipe through which other code may run, or data may leave the run folder.

    Args:
        key: the key of the value.
        value: the value.
        effect: the effect of using the value, as the rest of a sentence that begins with the value.
    """

    key: Key
    value: str
    effect: str


def list_untrusted(recipe: Recipe) -> list[UntrustedValue]:
    """Return the values of a recipe that need the user's trust, in the order of its keys."""
    return list(_find_untrusted(recipe))


def _find_untrusted(recipe: Recipe) -> Iterator[UntrustedValue]:
    """Yield the values of a recipe that run other code, or that write outside the run folder."""
    names: dict[Key, str] = {
        ("data", "name"): recipe.data.name,
        ("frontend", "name"): recipe.frontend.name,
        ("backbone",): recipe.backbone,
    }
    for key, name in names.items():
        module, colon, _ = name.partition(":")
        if colon and name not in STAND_INS:
            yield UntrustedValue(key, name, f"runs code of the module {module!r}")
    address, storage = recipe.search.executor.address, recipe.search.storage
    if address is not None:
        yield UntrustedValue(
            ("search", "executor", "address"), address, "sends the search to a cluster, which can run code here"
        )
    if storage != "journal":
        yield UntrustedValue(("search", "storage"), storage, "writes trials outside the run folder")


def require_own_file(recipe: Recipe, path: Path, overrides: Sequence[Override] = ()) -> None:
    """Refuse a recipe file that needs trust and is not the user's own.

    Args:
        recipe: the recipe that was loaded from the file.
        path: the path of the file.
        overrides: the overrides of the command line; the user wrote their values.

    Raises:
        UserError: the file names a module, a cluster or a storage, and it is not the user's own.
    """
    values = [value for value in list_untrusted(recipe) if not _is_written_by(value.key, overrides)]
    if not values:
        return
    if _lies_in_run_folder(path):
        reason = None if is_marked(path.parent) else "this run folder was not made here"
    else:
        reason = _why_not_own(path)
    if reason:
        raise _refusal(path, values[0], reason)


def require_own_run(recipe: Recipe, folder: Path) -> None:
    """Refuse a run folder whose recipe needs trust, if this user did not make the folder on this machine.

    Raises:
        UserError: the recipe names a module, a cluster or a storage, and the user did not make the folder on this
            machine.
    """
    values = list_untrusted(recipe)
    if values and not is_marked(folder):
        raise _refusal(folder / "recipe.yaml", values[0], "this run folder was not made here")


def mark_run(folder: Path, recipe: Recipe, next_text: str | None = None) -> None:
    """Mark a run folder as made on this machine, or as trusted, if its recipe names anything that needs trust.

    If the configuration folder cannot be written, the function writes no mark, and the next step asks for
    ``trust=true``.

    Args:
        folder: the run folder.
        recipe: the recipe of the folder.
        next_text: the text that is about to replace the folder's recipe; the mark then holds for both, so that a kill
            between the two writes leaves a marked folder. None for no other text.
    """
    if list_untrusted(recipe) and (key := _read_key(create=True)):
        texts = [(folder / "recipe.yaml").read_bytes(), *([] if next_text is None else [next_text.encode()])]
        write_whole(folder / MARK_FILE, "".join(f"{_digest(text, key)}\n" for text in texts))


def is_marked(folder: Path) -> bool:
    """Return whether a run folder holds the mark that this user's key makes of the folder's recipe."""
    key = _read_key(create=False)
    try:
        marks = (folder / MARK_FILE).read_bytes()[:_MARK_BYTES].splitlines()
        digest = None if key is None else _digest((folder / "recipe.yaml").read_bytes(), key).encode()
        return digest is not None and any(hmac.compare_digest(mark, digest) for mark in marks)
    except OSError:
        return False


def _digest(text: bytes, key: bytes) -> str:
    return hmac.new(key, _PURPOSE + text, sha256).hexdigest()


def _refusal(path: Path, value: UntrustedValue, reason: str) -> UserError:
    key = ".".join(value.key)
    return UserError(f"{path}: {key}: {value.value!r} {value.effect}, and {reason}; if you trust it: trust=true")


def _is_written_by(key: Key, overrides: Sequence[Override]) -> bool:
    """Return whether an override wrote a value itself; a reference in an override takes the value from the file."""
    override = last_writer(key, overrides)
    return override is not None and not override.drops and "${" not in override.text


def _lies_in_run_folder(path: Path) -> bool:
    return path.name == "recipe.yaml" and any((path.parent / name).is_dir() for name in ("best", "logs"))


def _why_not_own(path: Path) -> str | None:
    """Return why a file is not the user's own; None if it is."""
    for place in (path, path.resolve(), path.resolve().parent):
        status = place.stat()
        what = "its folder" if stat.S_ISDIR(status.st_mode) else "this file"
        if status.st_uid not in (os.geteuid(), 0):
            return f"{what} belongs to another user"
        if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
            return f"{what} can be written by every user"
    return None


def _key_path() -> Path:
    return Path(platformdirs.user_config_dir("gatesearch")) / "run_key"


def _read_key(create: bool) -> bytes | None:
    """Return this user's key; None if there is none, or if others can read or change it."""
    path = _key_path()
    try:
        if create and not path.exists():
            _make_key(path)
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            key = file.read(_KEY_BYTES + 1)
    except OSError:
        return None
    private = status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    return key if private and len(key) == _KEY_BYTES else None


def _make_key(path: Path) -> None:
    """Write a new key, completely or not at all, unless another program has written one in the meantime."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}.part")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(_KEY_BYTES))
        os.link(part, path)
    except FileExistsError:
        pass
    finally:
        part.unlink(missing_ok=True)
