"""Shell completion of recipe names, run folders, keys and devices.

``gatesearch --install-completion`` installs the completion. At each Tab, the shell then calls gatesearch, with the
command line so far in environment variables. An answer must be fast, so each function in this module imports only what
its own answer needs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, MutableMapping
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

VARIABLE = "_GATESEARCH_COMPLETE"
"""Environment variable by which a shell asks for completions; the variable is named after the program."""

ANSWER_KEYS = ("data", "phrase", "goal", "words", "network", "device", "out")
"""The keys of the answers to ``gatesearch init``."""

_BASH = "complete_bash"


def complete_setting(incomplete: str) -> list[str]:
    """Return the completions of a ``key=value`` or ``~key`` argument, which changes a key of the recipe.

    >>> complete_setting("recipe=kws_l"), complete_setting("training.ep")
    (['recipe=kws_lstm_hmd.yaml'], ['training.epochs='])
    """
    key, equals, value = incomplete.partition("=")
    if equals:
        values = {"recipe": _recipe_names, "device": complete_device, "resume": complete_run_folder}
        return [f"{key}={name}" for name in values.get(key, _no_names)(value)]
    from gatesearch.recipe.check import list_keys
    from gatesearch.recipe.schema import Recipe

    drop = "~" if incomplete.startswith("~") else ""
    keys = ["recipe", *dict.fromkeys(".".join(key) for key in list_keys(Recipe))]
    words = [f"~{key}" if drop else f"{key}=" for key in keys]
    return [word for word in words if word.startswith(incomplete)]


def complete_run_folder(incomplete: str) -> list[str]:
    """Return the run folders under ./runs whose paths start with ``incomplete``."""
    folders = [str(path.parent) for path in sorted(Path("runs").glob("*/recipe.yaml"))]
    return [folder for folder in folders if folder.startswith(incomplete)]


def complete_device(incomplete: str) -> list[str]:
    """Return the devices whose names start with ``incomplete``.

    >>> complete_device("three")
    ['three_core']
    """
    from gatesearch.devices import profile

    return [name for name in profile.names() if name.startswith(incomplete)]


def complete_answer(incomplete: str) -> list[str]:
    """Return the completions of an answer to ``gatesearch init``.

    >>> complete_answer("goal=det"), complete_answer("dev")
    (['goal=detection'], ['device='])
    """
    key, equals, value = incomplete.partition("=")
    if not equals:
        return [f"{name}=" for name in ANSWER_KEYS if name.startswith(incomplete)]
    values = {"device": complete_device, "goal": _goal_names, "data": _folder_names}
    return [f"{key}={name}" for name in values.get(key, _no_names)(value)]


def complete_schema(incomplete: str) -> list[str]:
    """Return the names of files with a JSON Schema, such as ``recipe``, that start with ``incomplete``."""
    from gatesearch.cli.documents.schemas import MODELS

    return [name for name in MODELS if name.startswith(incomplete)]


def answer(complete: Callable[[], None], environment: MutableMapping[str, str] = os.environ) -> None:
    """Print the completions for the command line that a shell puts into the environment.

    bash breaks words at ``=`` and replaces only the part after the last ``=``. So this function joins the broken words
    before it asks for completions, and then cuts the part up to the last ``=`` from each completion.

    Args:
        complete: function that prints the completions, one on each line; it may raise SystemExit.
        environment: the environment variables, which hold the words of the command line.
    """
    if environment[VARIABLE] != _BASH:
        complete()
        return
    words, index = join_bash_words(environment["COMP_WORDS"].split("\n"), int(environment["COMP_CWORD"]))
    environment["COMP_WORDS"] = "\n".join(words)
    environment["COMP_CWORD"] = str(index)
    before, equals, _ = words[index].rpartition("=")
    lines = StringIO()
    try:
        with redirect_stdout(lines):
            complete()
    except SystemExit:
        pass
    for line in lines.getvalue().splitlines():
        print(line.removeprefix(before + equals))


def join_bash_words(words: list[str], index: int) -> tuple[list[str], int]:
    """Join words that bash broke at ``=``, and return them with the index of the word at the cursor.

    >>> join_bash_words(["gatesearch", "run", "recipe", "=", "kw"], 4)
    (['gatesearch', 'run', 'recipe=kw'], 2)
    >>> join_bash_words(["gatesearch", "run", "seed=1", ""], 3)
    (['gatesearch', 'run', 'seed=1', ''], 3)
    """
    joined: list[str] = []
    for word in words[: index + 1]:
        if joined and word and (word == "=" or joined[-1].endswith("=")):
            joined[-1] += word
        else:
            joined.append(word)
    return joined, len(joined) - 1


def _recipe_names(incomplete: str) -> list[str]:
    from gatesearch.recipe import available

    return [name for name in available() if name.startswith(incomplete)]


def _goal_names(incomplete: str) -> list[str]:
    return [name for name in ("classification", "detection") if name.startswith(incomplete)]


def _folder_names(incomplete: str) -> list[str]:
    parent = Path(incomplete).parent if not incomplete.endswith("/") else Path(incomplete)
    folders = sorted(path for path in parent.glob("*") if path.is_dir())
    return [str(path) for path in folders if str(path).startswith(incomplete)]


def _no_names(incomplete: str) -> list[str]:
    return []
