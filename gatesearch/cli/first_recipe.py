"""Writes the recipe of ``gatesearch init``: a shipped recipe, changed to the user's data, network and device."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gatesearch.cli.starts import Start
from gatesearch.data.folders import ANY_OTHER
from gatesearch.errors import UserError
from gatesearch.recipe import Recipe, build_recipe, find
from gatesearch.recipe.yaml_file import dump_yaml, read_yaml

POSITIVE_SHARE, SILENCE_SHARE, OTHER_SHARE = 0.1, 0.8, 0.1
LINE_CHARACTERS = 100


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers to the questions of ``init``.

    Args:
        goal: a goal that the start allows.
        words: folders of the words to wake for; empty if the data have no such folders.
        network: the backbone; None keeps that of the shipped recipe.
        device: the device profile.
        out: the path of the recipe's file.
    """

    goal: str
    words: Sequence[str]
    network: str | None
    device: str
    out: str


def write_text(start: Start, answers: Answers) -> str:
    """Return the text of a recipe that :func:`gatesearch.recipe.load` accepts.

    Raises:
        UserError: an answer does not fit, such as a device that does not exist.
    """
    tree = build_tree(start, answers)
    build_recipe(tree, "init")
    head = [
        f"# Made by gatesearch init for {start.what}.",
        f"# Run it by: gatesearch run recipe={shlex.quote(answers.out)}",
        f"# Its other keys are those of {start.recipes[answers.goal]}. "
        "`gatesearch show --help-keys` explains every key.",
    ]
    lines = [line for paragraph in head for line in textwrap.wrap(paragraph, 118, subsequent_indent="# ")]
    for key, value in tree.items():
        description = (Recipe.model_fields[key].description or "").partition(". ")[0].rstrip(".")
        comment = textwrap.wrap(description, LINE_CHARACTERS, initial_indent="# ", subsequent_indent="# ")
        lines += ["", *comment, _dump_key(key, value)]
    return "\n".join(lines) + "\n"


def _dump_key(key: str, value: Any) -> str:
    """Return a key at the top level with its value, as YAML."""
    text = dump_yaml({key: value}).rstrip("\n")
    return text if isinstance(value, Mapping) else text.removeprefix("{").removesuffix("}")


def build_tree(start: Start, answers: Answers) -> dict[str, Any]:
    """Return the keys of the recipe."""
    tree = read_yaml(find(start.recipes[answers.goal], "recipes", "recipe"))
    tree["title"] = start.name.replace("_", " ")
    tree |= start.groups
    tree["data"] = dict(start.data) if "name" in start.data else _without_sources(tree["data"]) | dict(start.data)
    if answers.words:
        tree |= _choose_words(tree, start, answers)
    if answers.network is not None:
        tree |= {"backbone": answers.network, "backbone_args": {}}
    return tree | {"device": answers.device}


def _without_sources(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of a shipped recipe's data without the origin of its clips."""
    return {key: value for key, value in data.items() if key not in ("sources", "clips_per_class")}


def _choose_words(tree: Mapping[str, Any], start: Start, answers: Answers) -> dict[str, Any]:
    """Return the groups ``data`` and ``stream`` for the words to wake for; all other folders are negatives."""
    data = tree["data"] | {"positives": list(answers.words)}
    if answers.goal == "detection":
        return {"data": data}
    negatives = {"_silence_": list(start.others)} if start.others else {}
    if set(start.words) - set(answers.words):
        negatives["_other_"] = [ANY_OTHER]
    if not negatives:
        raise UserError(
            "words: all folders are words to wake for, and goal=classification needs other folders; "
            f"name some of them: words={answers.words[0]}, or take goal=detection"
        )
    weights = {"positive": POSITIVE_SHARE, "_silence_": SILENCE_SHARE, "_other_": OTHER_SHARE}
    used = {name: weights[name] for name in ("positive", *negatives)}
    shares = {name: round(weight / sum(used.values()), 3) for name, weight in used.items()}
    shares["positive"] = round(1 - sum(share for name, share in shares.items() if name != "positive"), 3)
    return {"data": data | {"negatives": negatives}, "stream": tree["stream"] | {"shares": shares}}
