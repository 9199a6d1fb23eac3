"""Constants of a device profile: numbers, each with its unit and its provenance."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from gatesearch.errors import nearest

MIN_SIZE, MAX_SIZE = 1e-12, 1e15
DAYS_PER_YEAR = 365.25
Provenance = Literal["measured", "published", "derived", "simulated", "modelled", "assumed"]
"""Where a number comes from, strongest first.

- measured: on the device itself, or on the host that stands in for it.
- published: taken from a data sheet, a paper or a list of results, which the source names.
- derived: calculated from measured or published numbers; the source gives the arithmetic.
- simulated: counted while a simulator executes the program (instructions, not the cycles of a board).
- modelled: computed without executing the program: a compiler's estimate, or work times a rate.
- assumed: chosen without a measurement or a model of this device; its source says why.
"""
PROVENANCES: tuple[str, ...] = get_args(Provenance)


class StrictModel(BaseModel):
    """Frozen model; an unknown key raises an error that suggests the nearest valid key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            for key in data:
                if key not in cls.model_fields:
                    raise profile_error(f"{key}: unknown key {str(key)!r}", str(key), cls.model_fields)
        return data


def profile_error(text: str, user_text: str, choices: Iterable[str]) -> PydanticCustomError:
    """Return an error that ends with all valid choices, and names the nearest one if one is close.

    Args:
        text: the place of the mistake and a description of it.
        user_text: the text that the user wrote.
        choices: the valid choices for this text.
    """
    choices = list(choices)
    suggestion = nearest(user_text, choices)
    hint = f"choices: {', '.join(choices)}"
    if suggestion:
        hint = f"nearest: {suggestion!r} ({hint})"
    return plain_error(f"{text}; {hint}")


def plain_error(text: str) -> PydanticCustomError:
    """Return an error whose text is complete: the place of the mistake and a description of it."""
    return PydanticCustomError("gatesearch", "{text}", {"text": text})


def _check_size(value: Any) -> Any:
    """Return a value unchanged, if it is 0 or a number of a plausible size.

    Numbers such as 1e-320 are typing errors, and would make quotients infinite.
    """
    if isinstance(value, bool):
        raise PydanticCustomError("gatesearch.number", "{text}", {"text": "must be a number"})
    if isinstance(value, int | float) and value and not MIN_SIZE <= value <= MAX_SIZE:
        limits = f"must be 0, or from {MIN_SIZE:g} to {MAX_SIZE:g}"
        raise PydanticCustomError("gatesearch.number", "{text}", {"text": limits})
    return value


number_size = BeforeValidator(_check_size)
"""Validates a number of a profile: 0, or a positive number from MIN_SIZE to MAX_SIZE."""


class Constant(StrictModel):
    """A number with its unit and its origin.

    Args:
        value: the number.
        unit: the unit of the number.
        provenance: the kind of the origin, one of :data:`PROVENANCES`.
        source: the origin in a sentence; if the number is derived, with the arithmetic.
        condition: the circumstances in which the number holds: clock, supply, temperature, benchmark round.
        date: date of the source, such as ``"2025-09"`` or ``"2025-09-14"``.
        low, high: the range in which the true number lies, if the source states one.

    >>> Constant(value=8.0, unit="mW", provenance="assumed", source="order of magnitude").value
    8.0
    """

    value: Annotated[float, number_size]
    unit: str
    provenance: Provenance
    source: Annotated[str, Field(min_length=1)]
    condition: str = ""
    date: Annotated[str, Field(pattern=r"^(?:19|20)\d\d-(?:0[1-9]|1[0-2])(?:-(?:0[1-9]|[12]\d|3[01]))?$")] | None = None
    low: Annotated[float, number_size] | None = None
    high: Annotated[float, number_size] | None = None

    @model_validator(mode="after")
    def _check_range(self) -> Constant:
        low, high = self.ends
        if low <= self.value <= high:
            return self
        name, end = ("low", low) if low > self.value else ("high", high)
        raise plain_error(
            f"{name}: {end:g} is on the wrong side of the value, {self.value:g}; must be low <= value <= high"
        )

    @property
    def ends(self) -> tuple[float, float]:
        """The ends of the range; the value itself stands for an end that the profile does not state."""
        return self.value if self.low is None else self.low, self.value if self.high is None else self.high

    def age_years(self, today: datetime.date) -> float | None:
        """Return the years from the date of the source to a day; None without a date.

        >>> constant = Constant(value=8.0, unit="mW", provenance="published", source="data sheet", date="2024-06")
        >>> round(constant.age_years(datetime.date(2025, 12, 1)), 1)
        1.5
        """
        if self.date is None:
            return None
        numbers = [int(part) for part in self.date.split("-")]
        year, month, day = [*numbers, 1][:3]
        return (today.year - year) + (today.month - month) / 12 + (today.day - day) / DAYS_PER_YEAR


def require_unit(unit: str, positive: bool = False) -> AfterValidator:
    """Return a validator that requires the unit and, if ``positive``, a value above 0."""

    def check(constant: Constant) -> Constant:
        if constant.unit != unit:
            raise plain_error(f"unit: {constant.unit!r} does not fit; must be {unit!r}")
        if positive and constant.value == 0:
            raise plain_error("value: 0.0 does not fit; must be above 0")
        return constant

    return AfterValidator(check)


def list_constants(device: BaseModel) -> list[tuple[str, Constant]]:
    """Return every constant of a device, or of a part of one, with its path.

    >>> from gatesearch.devices.profile import load
    >>> list_constants(load("three_core"))[0][0]
    'cores.mcu.timing.macs_per_value'
    """
    return list(_walk("", device))


def _walk(path: str, node: object) -> Iterator[tuple[str, Constant]]:
    if isinstance(node, Constant):
        yield path, node
    elif isinstance(node, BaseModel):
        for name in type(node).model_fields:
            yield from _walk(f"{path}.{name}".lstrip("."), getattr(node, name))
    elif isinstance(node, tuple):
        for index, item in enumerate(node):
            yield from _walk(f"{path}.{path_segment(item, index)}", item)


def path_segment(item: object, index: int) -> str:
    """Return how a path names an item of a list: by its name, as SOURCE-TARGET for a link, else by its index.

    Args:
        item: a validated model, or the mapping that the user wrote.
        index: index of the item in the list.
    """
    get: Callable[[str], Any] = item.get if isinstance(item, Mapping) else lambda key: getattr(item, key, None)
    if get("name"):
        return str(get("name"))
    return f"{get('source')}-{get('target')}" if get("source") else str(index)
