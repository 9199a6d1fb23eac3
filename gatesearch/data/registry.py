"""Data sets by the names that recipes use: entry points of the group ``gatesearch.data``, or import paths."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

from gatesearch import errors
from gatesearch._lib.plugins import imported
from gatesearch.data.types import Dataset
from gatesearch.errors import UserError

GROUP = "gatesearch.data"


def dataset_names() -> tuple[str, ...]:
    """Return the names that :func:`load_dataset` knows, sorted."""
    return tuple(sorted(entry_points(group=GROUP).names))


def shows_progress(name: str) -> bool:
    """Return whether a data set takes a ``progress`` to call with (done, total)."""
    found = entry_points(group=GROUP)
    return name in found.names and "progress" in inspect.signature(found[name].load()).parameters


def load_dataset(name: str, **kwargs: Any) -> Dataset:
    """Load a data set by name; a plug-in adds one as an entry point of the group ``gatesearch.data``.

    Args:
        name: what the recipe says under ``data.name``: an entry point, or ``package.module:function`` for any function
            that returns a :class:`Dataset`.
        **kwargs: passed on as they are.

    Raises:
        UserError: an unknown name or argument, a missing argument, or whatever the data set finds wrong.
    """
    function = imported("data.name", name) if ":" in name else _entry_point(name)
    if not callable(function):
        raise UserError(f"data.name: {name} is a {type(function).__name__}, not a function")
    parameters = inspect.signature(function).parameters
    # Checked before the call, so that a TypeError from inside the data set keeps its traceback.
    if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        for key in kwargs:
            if key not in parameters:
                raise errors.unknown("data", f"key of {name}", key, parameters)
    for key, parameter in parameters.items():
        if parameter.default is parameter.empty and key not in kwargs and parameter.kind < parameter.VAR_POSITIONAL:
            raise UserError(f"data.{key}: data set {name!r} needs this key")
    data = function(**kwargs)
    if not isinstance(data, Dataset):
        raise TypeError(f"data set {name!r} returned {type(data).__name__}, not a gatesearch.data.Dataset")
    return data


def _entry_point(name: str) -> Callable[..., Any]:
    found = entry_points(group=GROUP)
    if name not in found.names:
        raise errors.unknown("data.name", "data set", name, [*dataset_names(), "package.module:function"])
    loaded: Callable[..., Any] = found[name].load()
    return loaded
