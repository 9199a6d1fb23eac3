"""What comes from outside: objects named by ``package.module:Name``, entry points, and packages of the extras."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
from importlib.metadata import entry_points
from typing import Any

from gatesearch.errors import UserError, unknown

EXTRAS = {
    "export": (
        "litert_torch",
        "ai_edge_litert",
        "ai_edge_quantizer",
        "tflite_micro",
        "ethosu",
        "onnx",
        "onnxscript",
        "onnxruntime",
    ),
    "report": ("jinja2", "matplotlib", "tensorboard"),
    "data": ("sklearn", "soundfile"),
    "speech": ("espeakng_loader",),
    "dashboard": ("optuna_dashboard",),
    "ray": ("ray",),
    "postgresql": ("psycopg",),
}
"""The packages that each extra of ``pyproject.toml`` installs, by the name under which they are imported."""


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

    >>> sorted(entries("gatesearch.kernels"))[:2]
    ['average', 'conv']
    """
    return {point.name: point.load() for point in sorted(entry_points(group=group), key=lambda point: point.name)}


def need(user: str, *modules: str) -> None:
    """Check that packages of an extra are installed; call it before the function that imports them.

    The core does without every extra, so that only functions import such a package.

    Args:
        user: what cannot work without them, for the error: a key of the recipe, a command or a step.
        modules: top-level names, each in :data:`EXTRAS`.

    Raises:
        UserError: one is missing; the message names the extra that brings it.

    >>> need("report", "jinja2")
    """
    for module in modules:
        if not _is_installed(module):
            extra = next(extra for extra, brought in EXTRAS.items() if module in brought)
            raise UserError(f"{user}: needs {module} of the extra {extra!r}: pip install 'gatesearch[{extra}]'")


def _is_installed(module: str) -> bool:
    if sys.modules.get(module) is not None:
        return True
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # a finder refuses it, or it is half imported
        return False
