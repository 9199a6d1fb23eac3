"""Loads plug-ins that a user names, and checks that the packages of extras are installed.

A plug-in is an entry point of a group, a group a plug point, or any object by ``package.module:Name``. This is the one
place that looks such names up.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import math
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any, NoReturn

from gatesearch._lib.files import DISK_FULL
from gatesearch.errors import UserError, quote, unknown

# What errors call a member of a group.
_NOUNS: Mapping[str, str] = {
    "gatesearch.backbones": "backbone",
    "gatesearch.data": "data set",
    "gatesearch.devices": "device",
    "gatesearch.exporters": "format",
    "gatesearch.frontends": "front end",
    "gatesearch.gates": "gate kind",
    "gatesearch.kernels": "kernel",
}
IMPORT_PATH = "package.module:Name"

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


def plugin_names(group: str) -> tuple[str, ...]:
    """Return the names that are registered under a group of entry points, sorted.

    >>> "ds_cnn" in plugin_names("gatesearch.backbones")
    True
    """
    return tuple(sorted(entry_points(group=group).names))


def load_plugin(group: str, name: str, where: str) -> Any:
    """Return the object that a user names: an entry point of a group, or any object by its import path.

    Args:
        group: the group of entry points, such as ``gatesearch.backbones``.
        name: an entry point's name, or ``package.module:Name``.
        where: key of the recipe, for errors.

    Raises:
        UserError: there is no such name, module or attribute; the message names the nearest.

    >>> load_plugin("gatesearch.backbones", "ds_cnn", "backbone").__name__
    'DSCNN'
    """
    if ":" in name:
        return import_object(name, where)
    points = entry_points(group=group)
    if name not in points.names:
        raise unknown(where, _NOUNS.get(group, "plug-in"), name, [*plugin_names(group), IMPORT_PATH])
    return points[name].load()


def load_plugins(group: str) -> dict[str, Any]:
    """Return every object that is registered under a group of entry points, by name, in alphabetical order.

    >>> list(load_plugins("gatesearch.kernels"))[:2]
    ['average', 'conv']
    """
    return {point.name: point.load() for point in sorted(entry_points(group=group), key=lambda point: point.name)}


def import_object(path: str, where: str) -> Any:
    """Return the class or function at an import path; modules in the working folder are found, too.

    Python's own library holds no plug-in, and much that runs programs (``os:system``): it is refused, also where
    another module has it under a name of its own.

    Args:
        path: such as ``my_package.models:MyNet``.
        where: key of the recipe, for errors.

    Raises:
        UserError: the module cannot be imported, has no such name, or the name is part of Python's own library.

    >>> import_object("gatesearch.backbones.ds_cnn:DSCNN", "backbone").__name__
    'DSCNN'
    """
    module_name, _, attribute = path.partition(":")
    _refuse_standard_library(where, path, module_name)
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # a console script does not search the working folder
    try:
        module = importlib.import_module(module_name)
    except (ImportError, ValueError, TypeError) as error:  # the last two: an empty or a relative name
        raise UserError(f"{where}: cannot import {module_name!r} of {path!r}: {error}") from error
    except (Exception, SystemExit) as error:
        fail_plugin(f"{where}: {module_name!r} of {path!r}", error)
    if attribute not in vars(module):
        public = [name for name, value in vars(module).items() if name[:1] != "_" and not inspect.ismodule(value)]
        raise unknown(f"{where}: {module_name}", "name", attribute, public)
    value = getattr(module, attribute)
    if callable(value):
        inner = value.func if isinstance(value, functools.partial) else value
        _refuse_standard_library(where, path, getattr(inner, "__module__", None) or "")
    return value


def _refuse_standard_library(where: str, path: str, module_name: str) -> None:
    if module_name.partition(".")[0] in sys.stdlib_module_names:
        raise UserError(
            f"{where}: {path!r} is of Python's own module {module_name!r}, which has nothing to plug in here; "
            f"name a class or function of your own, as {IMPORT_PATH}"
        )


def fail_plugin(what: str, error: BaseException) -> NoReturn:
    """Raise the error for an exception that left a plug-in: one line that says class, text, file and line.

    An error of one line and a full disk, which is no fault of the plug-in, stay as they are.
    """
    if isinstance(error, UserError) or getattr(error, "errno", None) in DISK_FULL:
        raise error
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    raise UserError(f"{what} fails: {type(error).__name__}: {' '.join(str(error).split())}{place}") from error


def check_types(where: str, parameters: Mapping[str, inspect.Parameter], arguments: Mapping[str, Any]) -> None:
    """Refuse arguments that are not what their parameters' annotations say: numbers, text, true or false.

    Annotations of other types are left to the plug-in.

    Raises:
        UserError: names the first such argument, its value, and what it has to be.
    """
    for name, value in arguments.items():
        parameter = parameters.get(name)
        words = [] if parameter is None else _plain_types(parameter.annotation)
        if words and not any(_fits(value, word) for word in words):
            meanings = " or ".join(dict.fromkeys(_MEANINGS[word] for word in words))
            raise UserError(f"{where}.{name}: {quote(value)} is not {meanings}")


_MEANINGS: Mapping[str, str] = {
    "int": "an integer",
    "float": "a finite number",
    "str": "text",
    "bool": "true or false",
    "None": "null",
}


def _plain_types(annotation: Any) -> list[str]:
    """Return the words of an annotation such as ``int | None``; none where one of them is of another type."""
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
    words = [word.strip() for word in text.split("|")]
    return words if all(word in _MEANINGS for word in words) else []


def _fits(value: Any, word: str) -> bool:
    if word == "None" or value is None:
        return word == "None" and value is None
    if word == "bool" or isinstance(value, bool):
        return word == "bool" and isinstance(value, bool)
    if word == "float":
        return isinstance(value, int | float) and _is_finite(value)
    return isinstance(value, int if word == "int" else str)


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer that is larger than any float
        return False


def parameters_of(factory: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Return the parameters of a plug-in by name.

    A class whose constructor ends in ``**keywords`` passes them on to its base class, whose parameters then follow.

    >>> class Base:
    ...     def __init__(self, size=1): ...
    >>> class Child(Base):
    ...     def __init__(self, colour="red", **base): ...
    >>> list(parameters_of(Child))
    ['colour', 'size']
    """
    if not inspect.isclass(factory):
        return dict(inspect.signature(factory).parameters)
    parameters: dict[str, inspect.Parameter] = {}
    for base in factory.__mro__:
        if "__init__" not in vars(base):
            continue
        own = list(inspect.signature(base.__init__).parameters.values())[1:]  # type: ignore[misc]
        parameters = {name: p for name, p in parameters.items() if p.kind is not p.VAR_KEYWORD}
        parameters |= {p.name: p for p in own if p.name not in parameters}
        if not any(p.kind is p.VAR_KEYWORD for p in own):
            break
    return parameters


def unknown_argument(parameters: Mapping[str, inspect.Parameter], arguments: Mapping[str, Any]) -> str | None:
    """Return the first argument that fits no parameter, or None where all fit."""
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return None
    return next((name for name in arguments if name not in parameters), None)


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
