"""Types of single values: numbers with a range, names, lists without repetitions, names of plug-ins."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from gatesearch.recipe.errors import describe_unknown, wrong

Scalar = bool | int | float | str | None


def check_plain(value: Any) -> Any:
    """Let through what YAML and JSON both hold; what else a plug-in's own keys mean is the plug-in's affair."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if not isinstance(name, str):
                raise wrong(f"key {name!r} is not text; quote it")
            check_plain(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            check_plain(inner)
    elif not isinstance(value, bool | int | float | str | None):
        raise wrong(f"{type(value).__name__} values have no place in a recipe")
    return value


def _check_distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    for index, value in enumerate(values):
        # 1 == True, and yet they are two settings.
        if any(value == other and type(value) is type(other) for other in values[:index]):
            raise wrong(f"{value!r} is there twice")
    return values


def _check_rising(values: tuple[float, float]) -> tuple[float, float]:
    if values[0] > values[1]:
        raise wrong(f"[{values[0]:g}, {values[1]:g}] is a range from high to low")
    return values


def _check_all_or_list(value: Any) -> Any:
    if value == "all" or isinstance(value, list | tuple):
        return value
    raise wrong(f"{value!r} is neither 'all' nor a list of names")


def _check_number_or_auto(value: Any) -> Any:
    if isinstance(value, str) and value != "auto":
        raise wrong(f"{value!r} is neither a number nor 'auto'")
    return value


def _make_absolute(root: str) -> str:
    """Make a folder's path absolute: a run may be resumed from another folder."""
    try:
        return str(Path(root).expanduser().absolute())
    except RuntimeError:  # "~user" has no home: the loader says that there is no such folder
        return root


@functools.cache
def plugin_names(group: str) -> tuple[str, ...]:
    """Return the names registered under an entry-point group, such as ``gatesearch.data``."""
    return tuple(sorted({entry.name for entry in entry_points(group=group)}))


def module_or_plugin(group: str, what: str) -> AfterValidator:
    """Return the check for ``package.module:Class`` or the name of an entry point.

    Args:
        group: of the entry points.
        what: what an error calls it.
    """

    def check(written: str) -> str:
        names = plugin_names(group)
        # A package that is not installed has no entry points; names are then checked where they are used.
        if names and written not in names and not re.fullmatch(r"[\w.]+:\w+", written):
            raise wrong(f"{describe_unknown(what, written, names)}, or package.module:Name")
        return written

    return AfterValidator(check)


Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
PositiveShare = Annotated[float, Field(gt=0, le=1)]
ShareBelowOne = Annotated[float, Field(ge=0, lt=1)]
Text = Annotated[str, Field(min_length=1)]
Folder = Annotated[Text, AfterValidator(_make_absolute)]
Names = Annotated[tuple[Text, ...], Field(strict=False, min_length=1), AfterValidator(_check_distinct)]
Range = Annotated[tuple[float, float], Field(strict=False), AfterValidator(_check_rising)]
Prevalences = Annotated[tuple[PositiveShare, ...], Field(strict=False), AfterValidator(_check_distinct)]
AllOrNames = Annotated[Names | Literal["all"], Field(union_mode="left_to_right"), BeforeValidator(_check_all_or_list)]
Choices = Annotated[tuple[Scalar, ...], Field(strict=False, min_length=1), AfterValidator(_check_distinct)]
CountOrAuto = Annotated[Count | Literal["auto"] | None, BeforeValidator(_check_number_or_auto)]
PlainMapping = Annotated[dict[Text, Any], AfterValidator(check_plain)]
Plain = Annotated[Any, AfterValidator(check_plain)]
