"""Arguments that several commands have: ``key=value`` words, recipes and run folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gatesearch.cli.completion import complete_device, complete_run_folder, complete_setting
from gatesearch.errors import UserError, unknown

if TYPE_CHECKING:
    from gatesearch.recipe import Recipe

FIRST_RECIPE = "kws.yaml"
"""The recipe that errors suggest to a new user."""

# An unknown option counts as a key=value word; the error about that word says what to write instead.
CONTEXT: dict[str, Any] = {"ignore_unknown_options": True, "help_option_names": ["-h", "--help"]}

Settings = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="recipe=NAME key=value ~key",
        help="A recipe, values to change in it, and keys to remove from it.",
        show_default=False,
        autocompletion=complete_setting,
    ),
]
RunFolder = Annotated[
    str,
    typer.Argument(
        metavar="RUN_DIR",
        help="A run folder, such as runs/kws-1.",
        show_default=False,
        autocompletion=complete_run_folder,
    ),
]
Trust = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[trust=true]",
        help="Allow a run folder that was not made here to name modules, and run their code.",
        show_default=False,
    ),
]
DeviceNames = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[NAME] | compare A B",
        help="A device to show, or two devices to compare.",
        show_default=False,
        autocompletion=complete_device,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document for programs.")]


def take(words: list[str], key: str) -> str | None:
    """Remove ``key=value`` from the words of a command line and return the value; None if there is no such key.

    Raises:
        UserError: the words have the key twice, or without a value.
    """
    matches = [word for word in words if word.startswith(f"{key}=")]
    if len(matches) > 1:
        raise UserError(f"{' '.join(matches)}: give {key}= once")
    for word in matches:
        words.remove(word)
        value = word.removeprefix(f"{key}=")
        if not value:
            raise UserError(f"{word} names nothing")
        return value
    return None


def refuse_rest(where: str, words: Sequence[str], keys: Sequence[str]) -> None:
    """Check that no words are left over.

    Raises:
        UserError: a word is left over; the error names the nearest key of the command.
    """
    from gatesearch.recipe.overrides import split_argument

    for word in words:
        key, _ = split_argument(word)
        raise unknown(where, "key", key, keys)


def read_positive(key: str, written: str) -> float:
    """Return the value of ``key=written`` as a number above 0.

    Raises:
        UserError: the text is no number above 0.
    """
    try:
        value = float(written)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise UserError(f"{key}={written}: wanted: a number above 0")
    return value


def read_count(key: str, written: str) -> int:
    """Return the value of ``key=written`` as a whole number above 0.

    Raises:
        UserError: the text is no such number.
    """
    if not (written.isascii() and written.isdigit() and int(written) > 0):
        raise UserError(f"{key}={written}: wanted: a whole number above 0")
    return int(written)


def take_flag(words: list[str], key: str) -> bool:
    """Remove ``key=true`` from the words and say whether it was there.

    Raises:
        UserError: the key has another value.
    """
    written = take(words, key)
    if written not in (None, "true", "false"):
        raise UserError(f"{key}={written}: write {key}=true, or leave it out")
    return written == "true"


def take_trust(words: list[str]) -> bool:
    """Remove ``trust=true`` from the words and say whether it was there; see :func:`take_flag` for the error."""
    return take_flag(words, "trust")


def load_recipe(command: str, words: Sequence[str], *, trust: bool = False) -> Recipe:
    """Return the recipe that ``recipe=NAME`` names, with the other words as overrides.

    Args:
        command: the name of the command, for errors.
        words: the arguments of the command line. With ``trust=true`` among them, a recipe that was made elsewhere may
            name modules, whose code then runs.
        trust: whether any recipe may name modules, as for a command that imports none of them.

    Raises:
        UserError: there is no ``recipe=``, or the recipe or an override cannot be used.
    """
    from gatesearch.recipe import available, load

    overrides = list(words)
    trust = take_trust(overrides) or trust
    name = take(overrides, "recipe")
    if name is None:
        names = available()
        suggestion = FIRST_RECIPE if FIRST_RECIPE in names else [*names, "FILE"][0]
        line = f"gatesearch {command} recipe={suggestion}"
        raise UserError(f"no recipe= given; write: {line} (available: {', '.join(names)})")
    return load(name, overrides, trust=trust)


def run_folders() -> list[str]:
    """Return the run folders under ./runs."""
    return [str(path.parent) for path in sorted(Path("runs").glob("*/recipe.yaml"))]


def find_run_folder(command: str, written: str) -> Path:
    """Return the path of the run folder that the user named.

    Args:
        command: the command line up to the folder, for errors.
        written: the folder as the user wrote it; empty if the user wrote none.

    Raises:
        UserError: the folder is no run folder; the error names the nearest one under ./runs.
    """
    names = run_folders()
    if not written:
        raise UserError(f"no run folder given; write: gatesearch {command}{names[-1] if names else 'RUN_DIR'}")
    folder = Path(written)
    if not folder.is_dir():
        if not names:
            raise UserError(f"{written}: no such run folder, and none under ./runs")
        raise unknown("command line", "run folder", written, names)
    if not (folder / "recipe.yaml").is_file():
        raise UserError(f"{written}: not a run folder: it holds no recipe.yaml")
    return folder
