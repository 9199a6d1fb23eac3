"""Stores a run's recipe and digests of its data and network, and names changes when the run resumes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor

from gatesearch._lib import console
from gatesearch._lib.tensors import digest_tensors
from gatesearch.pipeline.problem import Problem
from gatesearch.pipeline.run_dir import RunFolder

ORIGIN_FILE = "logs/origin.json"
EXTENSIONS = "extensions"  # the key of the extensions by which a run got more trials
TRIALS = "search.trials"
MAX_KEYS = 8  # largest number of keys that one warning names
NEUTRAL_KEYS = ("search.executor", "search.storage")  # where trials are tried and stored; this changes no result
DIGEST_DIGITS = 16
# Keys that runs of older versions lack, each with the value by which those runs worked.
OLDER_DEFAULTS = (("stream.by", "windows"), ("search.compose", False), ("search.finalists", 4))


def check_origin(problem: Problem, folder: RunFolder) -> None:
    """Store the origin of a new run; in a resumed run, warn of each difference from the stored origin."""
    now = describe_origin(problem)
    stored = folder.load(ORIGIN_FILE, _parse_origin, "this session cannot tell whether recipe or data changed")
    if stored is None:
        folder.write_json(ORIGIN_FILE, now)
        return
    trials = now["recipe"][TRIALS]
    if any(each["trials"] == trials for each in stored[EXTENSIONS]):
        stored["recipe"][TRIALS] = trials
    for difference in list_differences(stored, now):
        console.warn(f"{folder.path}: {difference}; results of earlier sessions stay as they are")


def describe_origin(problem: Problem) -> dict[str, Any]:
    """Return the recipe's keys, and digests of the data and of the network's initial weights, as values for JSON."""
    splits = {name: getattr(problem.data, name) for name in ("train", "validation", "test")}
    return {
        "recipe": dict(_flatten(problem.recipe.model_dump(mode="json"))),
        "data": {name: _digest([split.inputs, split.labels]) for name, split in splits.items()},
        "weights": _digest(problem.backbone.state_dict().values()),
    }


def list_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each of these that changed: the recipe, the data, the network's initial weights.

    >>> origin = {"recipe": {"seed": 0, "name": "kws"}, "data": {"train": "ab"}, "weights": "cd"}
    >>> list_differences(origin, origin | {"recipe": {"seed": 1, "name": "kws"}})
    ['recipe.yaml is not what the run began with: seed was 0, is 1']
    >>> list_differences(origin, origin | {"data": {"train": "ef"}})
    ['the data are not those that the run began with: the digest of train was "ab", is "ef"']
    """
    sentences = []
    changes = list(_describe_changes(before["recipe"], now["recipe"]))
    if changes:
        more = f" and {len(changes) - MAX_KEYS} more" if len(changes) > MAX_KEYS else ""
        sentences.append(f"recipe.yaml is not what the run began with: {', '.join(changes[:MAX_KEYS])}{more}")
    changes = list(_describe_changes(before["data"], now["data"]))
    if changes:
        sentences.append(f"the data are not those that the run began with: the digest of {', '.join(changes)}")
    if before["weights"] != now["weights"]:
        sentences.append(
            "the network starts from other weights than the run began with: their digest was "
            f"{before['weights']}, is {now['weights']}"
        )
    return sentences


def _describe_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for key in dict.fromkeys([*before, *now]):
        if any(key == neutral or key.startswith(f"{neutral}.") for neutral in NEUTRAL_KEYS):
            continue
        if key not in now:
            yield f"{key} was {json.dumps(before[key])}, is gone"
        elif key not in before:
            if (key, now[key]) not in OLDER_DEFAULTS:
                yield f"{key} is new"
        elif before[key] != now[key]:
            yield f"{key} was {json.dumps(before[key])}, is {json.dumps(now[key])}"


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested mappings by dotted key; lists and empty mappings are leaves."""
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _digest(tensors: Iterable[Tensor]) -> str:
    """Return a digest of tensors without their names."""
    return digest_tensors(("", tensor) for tensor in tensors)[:DIGEST_DIGITS]


def _parse_origin(text: bytes) -> dict[str, Any]:
    origin: dict[str, Any] = json.loads(text)
    return {
        "recipe": dict(origin["recipe"]),
        "data": dict(origin["data"]),
        "weights": str(origin["weights"]),
        EXTENSIONS: list(origin.get(EXTENSIONS, ())),
    }
