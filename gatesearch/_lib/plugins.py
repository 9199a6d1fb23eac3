"""Plug-ins: what a user names by ``package.module:Name``, and what packages register as entry points."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from importlib.metadata import entry_points
from typing import Any

from gatesearch.errors import UserError, unknown


def imported(where: str, path: str) -> Any:
    """Return what an import path names, looked for in the working folder too.

    Args:
        where: key of the recipe, for errors.
        path: such as ``my_package.models:MyNet``.

    Raises:
        UserError: the module cannot be imported, or has no such name.

    >>> imported("backbone", "collections:OrderedDict").__name__
    'OrderedDict'
    """
    module_name, _, attribute = path.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # a console script does not look where the user stands
    try:
        module = importlib.import_module(module_name)
    except (ImportError, ValueError, TypeError) as error:  # the latter two: an empty or a relative name
        raise UserError(f"{where}: cannot import {module_name!r} of {path!r}: {error}") from error
    if attribute not in vars(module):
        public = [name for name, value in vars(module).items() if name[0] != "_" and not inspect.ismodule(value)]
        raise unknown(f"{where}: {module_name}", "name", attribute, public)
    return getattr(module, attribute)


def entries(group: str) -> dict[str, Any]:
    """Return what installed packages register under an entry-point group, by name, in alphabetical order.

    >>> sorted(entries("gatesearch.data"))[:2]
    ['cifar10', 'digits']
    """
    return {point.name: point.load() for point in sorted(entry_points(group=group), key=lambda point: point.name)}
