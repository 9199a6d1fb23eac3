"""Loads data sets by the names in recipes: entry points of group ``gatesearch.data`` or import paths."""

from __future__ import annotations

from typing import Any

from gatesearch._lib.plugins import (
    check_types,
    fail_plugin,
    load_plugin,
    parameters_of,
    plugin_names,
    unknown_argument,
)
from gatesearch.data.dataset_checks import check_dataset
from gatesearch.data.types import Dataset
from gatesearch.errors import UserError, unknown

GROUP = "gatesearch.data"


def dataset_names() -> tuple[str, ...]:
    """Return the names of all installed data sets, sorted."""
    return plugin_names(GROUP)


def takes_argument(name: str, argument: str) -> bool:
    """Return whether the loader of an installed data set takes an argument that a recipe does not set.

    ``progress`` is a function that the loader calls with (done, total). With ``only_shapes``, it loads little data of
    the same shapes.
    """
    return name in dataset_names() and argument in parameters_of(load_plugin(GROUP, name, "data.name"))


def load_dataset(name: str, **arguments: Any) -> Dataset:
    """Load a data set by name; a plug-in adds a data set by an entry point of the group ``gatesearch.data``.

    Args:
        name: the recipe's ``data.name``: an entry point, or ``package.module:Name`` for any function that returns a
            :class:`Dataset`.
        **arguments: arguments of that function.

    Raises:
        UserError: a name or an argument is unknown, an argument is missing, the function refuses an argument, or the
            data set would give wrong figures; see :func:`gatesearch.data.check_dataset`.
    """
    function = load_plugin(GROUP, name, "data.name")
    if not callable(function):
        raise UserError(f"data.name: {name} is a {type(function).__name__}, not a function")
    parameters = parameters_of(function)
    if key := unknown_argument(parameters, arguments):
        raise unknown("data", f"key of {name}", key, parameters)
    for key, parameter in parameters.items():
        required = parameter.default is parameter.empty and parameter.kind < parameter.VAR_POSITIONAL
        if required and key not in arguments:
            raise UserError(f"data.{key}: data set {name!r} needs this key")
    check_types("data", parameters, arguments)
    try:
        data = function(**arguments)
    except Exception as error:
        fail_plugin(f"data: {name}", error)
    if not isinstance(data, Dataset):
        raise UserError(f"data.name: {name} returned a {type(data).__name__}, not a gatesearch.data.Dataset")
    return check_dataset(data)
