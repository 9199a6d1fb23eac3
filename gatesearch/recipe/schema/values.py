"""Types of the values in a recipe: numbers with a range, names, lists without repetitions, names of plug-ins."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from gatesearch.recipe.errors import describe_unknown, invalid

RIVALS: Final = ("ungated_hops", "ungated_windows", "level_gate", "hand_placed", "smaller_ungated")
Scalar = bool | int | float | str | None

MAX_NAME_BYTES = 100
MAX_NATURAL = 2**32 - 1  # the largest seed
_MAX_PLAIN_INTEGER = 2**53  # beyond it, floats do not hold every integer
_MIN_SIZE, _MAX_SIZE = 1e-9, 1e12


def check_plain(value: Any) -> Any:
    """Accept a value that YAML and JSON can both hold; the plug-in that gets the value checks its meaning."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if not isinstance(name, str):
                raise invalid(f"key {name!r} is not text; quote it")
            check_plain(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            check_plain(inner)
    elif not isinstance(value, bool | int | float | str | None):
        raise invalid(f"{type(value).__name__} values have no place in a recipe")
    elif isinstance(value, float) and not math.isfinite(value):
        raise invalid(f"{value} is not a finite number")
    elif isinstance(value, int) and abs(value) > _MAX_PLAIN_INTEGER:
        raise invalid(f"{_write_integer(value)} is out of range; it must be at most {_MAX_PLAIN_INTEGER} either way")
    return value


def _check_size(value: float) -> float:
    """Refuse numbers that can only be typing errors; a division by 1e-320, for example, gives infinity."""
    if value and not _MIN_SIZE <= abs(value) <= _MAX_SIZE:
        limit = f"at least {_MIN_SIZE:g}" if abs(value) < _MIN_SIZE else f"at most {_MAX_SIZE:g}"
        raise invalid(f"{value!r} is out of range; it must be {limit}")
    return value


def _check_count(value: int) -> int:
    if value > MAX_NATURAL:
        raise invalid(f"{_write_integer(value)} is out of range; it must be at most {MAX_NATURAL}")
    return value


def _write_integer(value: int) -> str:
    """Return an integer as a message shows it, because Python refuses to write thousands of digits."""
    return str(value) if value.bit_length() <= 64 else f"a number of {value.bit_length()} bits"


def make_folder_name(text: str) -> str:
    """Return a text as the name of a folder, with an underscore in place of each unsuitable character.

    >>> make_folder_name("../my set")
    'my set'
    """
    name = "".join(letter if letter.isalnum() or letter in " _-+=,.()" else "_" for letter in text)
    short = name.strip(" ._").encode()[:MAX_NAME_BYTES].decode(errors="ignore")
    return short.strip(" ._") or "run"


def _check_folder_name(name: str) -> str:
    """Refuse a name that is not the plain name of a folder directly under runs/."""
    if name != name.strip() or name.startswith(".") or "/" in name or not name.isprintable():
        raise invalid(f"{name!r} is no name of a folder under runs/; write {make_folder_name(name)!r}")
    if len(name.encode()) > MAX_NAME_BYTES:
        raise invalid(f"{len(name.encode())} bytes are too long for a folder's name; at most {MAX_NAME_BYTES}")
    return name


def _check_distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    for index, value in enumerate(values):
        # In Python 1 == True, but they are two different settings.
        if any(value == other and type(value) is type(other) for other in values[:index]):
            raise invalid(f"{value!r} occurs twice")
    return values


def _check_rising(values: tuple[float, float]) -> tuple[float, float]:
    if values[0] > values[1]:
        raise invalid(f"[{values[0]:g}, {values[1]:g}] is a range from high to low")
    return values


def _check_all_or_list(value: Any) -> Any:
    if value == "all" or isinstance(value, list | tuple):
        return value
    raise invalid(f"{value!r} is neither 'all' nor a list of names")


def _check_number_or_auto(value: Any) -> Any:
    if isinstance(value, str) and value != "auto":
        raise invalid(f"{value!r} is neither a number nor 'auto'")
    return value


def _make_absolute(root: str) -> str:
    """Return a folder's path as an absolute path, because a run may be resumed from another folder."""
    try:
        return str(Path(root).expanduser().absolute())
    except RuntimeError:  # "~user" has no home; the loader reports the missing folder
        return root


@functools.cache
def plugin_names(group: str) -> tuple[str, ...]:
    """Return the names registered under an entry-point group, such as ``gatesearch.data``."""
    return tuple(sorted({entry.name for entry in entry_points(group=group)}))


def module_or_plugin(group: str, what: str) -> AfterValidator:
    """Return the check for ``package.module:Class`` or the name of an entry point.

    Args:
        group: the group of the entry points.
        what: the word for the plug-in in an error.
    """

    def check(written: str) -> str:
        names = plugin_names(group)
        # A package that is not installed has no entry points; names are then checked where they are used.
        if names and written not in names and not re.fullmatch(r"[\w.]+:\w+", written):
            raise invalid(f"{describe_unknown(what, written, names)}, or package.module:Name")
        return written

    return AfterValidator(check)


Count = Annotated[int, Field(ge=1), AfterValidator(_check_count)]
Workers = Annotated[int, Field(ge=1, le=10_000)]
Natural = Annotated[int, Field(ge=0), AfterValidator(_check_count)]
Positive = Annotated[float, Field(gt=0), AfterValidator(_check_size)]
Period = Annotated[float, Field(gt=0, le=86_400), AfterValidator(_check_size)]
NonNegative = Annotated[float, Field(ge=0), AfterValidator(_check_size)]
Share = Annotated[float, Field(ge=0, le=1), AfterValidator(_check_size)]
PositiveShare = Annotated[float, Field(gt=0, le=1), AfterValidator(_check_size)]
ShareBelowOne = Annotated[float, Field(ge=0, lt=1), AfterValidator(_check_size)]
Text = Annotated[str, Field(min_length=1)]
FolderName = Annotated[Text, AfterValidator(_check_folder_name)]
Folder = Annotated[Text, AfterValidator(_make_absolute)]
Names = Annotated[tuple[Text, ...], Field(strict=False, min_length=1), AfterValidator(_check_distinct)]
Bounded = Annotated[float, AfterValidator(_check_size)]
Range = Annotated[tuple[Bounded, Bounded], Field(strict=False), AfterValidator(_check_rising)]
Prevalences = Annotated[tuple[PositiveShare, ...], Field(strict=False), AfterValidator(_check_distinct)]
Rivals = Annotated[
    tuple[Literal["ungated_hops", "ungated_windows", "level_gate", "hand_placed", "smaller_ungated"], ...],
    Field(strict=False),
    AfterValidator(_check_distinct),
]
AllOrNames = Annotated[Names | Literal["all"], Field(union_mode="left_to_right"), BeforeValidator(_check_all_or_list)]
Choices = Annotated[
    tuple[Scalar, ...], Field(strict=False, min_length=1), BeforeValidator(check_plain), AfterValidator(_check_distinct)
]
CountOrAuto = Annotated[Count | Literal["auto"] | None, BeforeValidator(_check_number_or_auto)]
PlainMapping = Annotated[dict[Text, Any], AfterValidator(check_plain)]
Plain = Annotated[Any, AfterValidator(check_plain)]
