"""Loads plug-ins that a user names, and checks that the packages of extras are installed.

A plug-in is an entry point, or any object that a user names by ``package.module:Name``. Each kind of plug-in, such as
backbones or gates, has its own group of entry points. Only this module looks up the names of plug-ins.
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

# The noun that errors use for a member of each group.
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
"""The packages that each extra of ``pyproject.toml`` installs, by the names under which Python imports them."""


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
        name: name of an entry point, or ``package.module:Name``.
        where: key of the recipe, for errors.

    Raises:
        UserError: there is no such name, module or attribute; the message gives the nearest name.

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
    """Return the class or function at an import path; the working folder is searched, too.

    Objects of Python's standard library are refused, even if another module imports them. They are no plug-ins, and
    some of them run programs (``os:system``).

    Args:
        path: import path, such as ``my_package.models:MyNet``.
        where: key of the recipe, for errors.

    Raises:
        UserError: the module cannot be imported, has no such name, or the object is of Python's standard library.

    >>> import_object("gatesearch.backbones.ds_cnn:DSCNN", "backbone").__name__
    'DSCNN'
    """
    module_name, _, attribute = path.partition(":")
    _refuse_standard_library(where, path, module_name)
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # a console script does not search the working folder
    try:
        module = importlib.import_module(module_name)
    except (ImportError, ValueError, TypeError) as error:  # an empty name raises ValueError, a relative one TypeError
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
    """Raise a one-line error that gives class, text, file and line of the exception of a plug-in.

    Two kinds of errors are raised as they are: a UserError, which has one line already, and the error of a full disk.
    """
    if isinstance(error, UserError) or getattr(error, "errno", None) in DISK_FULL:
        raise error
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    raise UserError(f"{what} fails: {type(error).__name__}: {' '.join(str(error).split())}{place}") from error


def check_types(where: str, parameters: Mapping[str, inspect.Parameter], arguments: Mapping[str, Any]) -> None:
    """Refuse arguments whose type is not that of their parameter's annotation.

    Only int, float, str, bool and None are checked; a plug-in checks arguments of other types itself.

    Raises:
        UserError: an argument has the wrong type; the message names the first one, its value and the right type.
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
    """Return the type names in an annotation such as ``int | None``; an empty list if one of them is not checked."""
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

    If the constructor of a class has ``**keywords``, the parameters of its base class follow, too.

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
    """Return the name of the first argument that has no parameter; None if all have one."""
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return None
    return next((name for name in arguments if name not in parameters), None)


def need(user: str, *modules: str) -> None:
    """Check that packages of an extra are installed; call this function before importing them.

    The core works without extras, so packages of an extra are imported only inside functions.

    Args:
        user: the key of the recipe, the command or the step that needs the packages, for the error.
        modules: top-level names of the packages, each in :data:`EXTRAS`.

    Raises:
        UserError: a package is missing; the message names the extra that installs it.

    >>> need("report", "jinja2")
    """
    for module in modules:
        if not _is_installed(module):
            extra = next(extra for extra, brought in EXTRAS.items() if module in brought)
            raise UserError(f"{user}: needs {module} of the extra {extra!r}: pip install 'gatesearch[{extra}]'")


def missing_packages(extra: str) -> list[str]:
    """Return the packages of an extra that are not installed, by the names under which Python imports them.

    >>> missing_packages("report")
    []
    """
    return [module for module in EXTRAS[extra] if not _is_installed(module)]


def _is_installed(module: str) -> bool:
    if sys.modules.get(module) is not None:
        return True
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # an import hook refuses the package, or its import is incomplete
        return False
