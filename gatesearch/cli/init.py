"""The command ``init``: asks for data, goal, network and device, and writes a recipe."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gatesearch.cli.arguments import refuse_rest, take
from gatesearch.cli.completion import ANSWER_KEYS, complete_answer
from gatesearch.errors import UserError, unknown

if TYPE_CHECKING:
    from gatesearch.cli.starts import Start

DEFAULT_DEVICE = "stm32u3c5"
SHIPPED_NETWORK = "recipe"  # the answer that keeps the network of the shipped recipe
AnswerWords = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[data=DIR | phrase=TEXT] [goal=G words=A,B network=N device=D out=FILE]",
        help="Answers; on a terminal, the command asks for the others, and elsewhere it takes their defaults.",
        show_default=False,
        autocompletion=complete_answer,
    ),
]


def init(settings: AnswerWords = None) -> None:
    """Write a recipe for your own data, network and device.

    data is a folder with one folder of WAV files for each class, a shipped data set, or package.module:function. phrase
    is a phrase to wake for, without recordings. words are the folders to wake for. network is a shipped network or
    package.module:Class. The command looks at the data first, asks for what it cannot know, and overwrites no file.
    """
    words = list(settings or [])
    written = {key: take(words, key) for key in ANSWER_KEYS}
    refuse_rest("init", words, ANSWER_KEYS)
    from gatesearch._lib import console
    from gatesearch._lib.plugins import plugin_names
    from gatesearch.cli.first_recipe import Answers, write_text
    from gatesearch.devices import profile

    start = _find_start(written["data"], written["phrase"])
    console.say(start.what)
    goals = list(start.recipes)
    goal = _ask("goal", "What should the network do", written["goal"], goals[0], goals)
    chosen = _ask_for_words(start, written["words"])
    networks = [SHIPPED_NETWORK, *plugin_names("gatesearch.backbones")]
    network = _ask("network", "Network, or package.module:Class", written["network"], SHIPPED_NETWORK, networks, ":")
    device = _ask("device", "Device, or the path of a profile", written["device"], DEFAULT_DEVICE, profile.names(), ".")
    out = _ask("out", "File of the recipe", written["out"], f"{start.name}.yaml", None)
    answers = Answers(goal, chosen, None if network == SHIPPED_NETWORK else network, device, out)
    text = write_text(start, answers)
    _write_new(Path(out), text)
    for doubt in start.doubts:
        console.warn(doubt)
    console.say(f"recipe: {out}")
    console.say(f"run it by: gatesearch run recipe={shlex.quote(out)}")


def _find_start(data: str | None, phrase: str | None) -> Start:
    """Return the start for the data that the user names."""
    from gatesearch.cli import starts

    if phrase is not None:
        if data is not None:
            raise UserError("init: data= names recordings, and phrase= needs none; leave one of them out")
        return starts.speak(phrase)
    if data is None and not sys.stdin.isatty():
        raise UserError("init: no data named; write: gatesearch init data=DIR, or gatesearch init phrase='hey robin'")
    question = f"Data: a folder, {', '.join(starts.SHIPPED)}, or package.module:function"
    return starts.look_at(data or _prompt(question, None))


def _ask_for_words(start: Start, written: str | None) -> Sequence[str]:
    """Return the folders to wake for; all folders of words are the default."""
    if not start.words:
        if written is not None:
            raise UserError(f"words={written}: these data have no folders of words; leave it out")
        return ()
    answer = _ask("words", "Folders to wake for", written, ",".join(start.words), None)
    chosen = [word.strip() for word in answer.split(",") if word.strip()]
    for word in chosen:
        if word not in start.words:
            raise unknown(f"words={answer}", "folder", word, start.words)
    return chosen


def _ask(
    key: str, question: str, written: str | None, default: str, choices: Sequence[str] | None, other: str = ""
) -> str:
    """Return the answer on the command line, else that of the terminal; the default where there is no terminal.

    Args:
        key: the key of the answer on the command line, for errors.
        question: the question for the terminal.
        written: the answer on the command line; None if there is none.
        default: the answer if the user gives none.
        choices: the answers that are accepted; None accepts all.
        other: text that marks an answer which is not among the choices, such as ``:`` for an import path.
    """
    is_asked = written is None and sys.stdin.isatty()
    line = f"{question} ({', '.join(choices)})" if choices else question
    answer = _prompt(line, default) if is_asked else written or default
    if choices and answer not in choices and not (other and other in answer):
        raise unknown(f"{key}={answer}", key, answer, choices)
    return answer


def _prompt(question: str, default: str | None) -> str:
    prompt: Callable[..., str] = typer.prompt
    try:
        return str(prompt(question, default=default))
    except typer.Abort:  # Ctrl-C and the end of the input
        raise KeyboardInterrupt from None


def _write_new(path: Path, text: str) -> None:
    """Write a file that does not exist yet.

    Raises:
        UserError: there is a file already, or no such folder.
    """
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UserError(f"out={path}: is there already, and init overwrites nothing; take another out=") from None
    except FileNotFoundError:
        raise UserError(f"out={path}: no folder {path.parent}") from None
