"""Constants of a device profile: numbers that each say their unit and where they come from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from gatesearch.errors import nearest

Provenance = Literal["measured", "simulated", "modelled", "assumed"]


class Strict(BaseModel):
    """Frozen, and a key that it does not know is an error that names the nearest one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            for key in data:
                if key not in cls.model_fields:
                    raise profile_error(f"{key}: unknown key {str(key)!r}", str(key), cls.model_fields)
        return data


def profile_error(text: str, written: str, choices: Any) -> PydanticCustomError:
    """Return an error that ends with the nearest valid choice."""
    close = nearest(written, choices)
    hint = f"nearest: {close!r} (choices: {', '.join(choices)})" if close else f"choices: {', '.join(choices)}"
    return PydanticCustomError("gatesearch", "{text}", {"text": f"{text}; {hint}"})


class Constant(Strict):
    """A number with its unit and its origin.

    >>> Constant(value=8.0, unit="mW", provenance="assumed", source="order of magnitude").value
    8.0
    """

    value: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    unit: str
    provenance: Provenance
    source: Annotated[str, Field(min_length=1)]


def in_unit(unit: str, positive: bool = False) -> AfterValidator:
    """Return a validator of constants: their unit, and where ``positive`` that they are not zero."""

    def check(constant: Constant) -> Constant:
        if constant.unit != unit:
            raise PydanticCustomError(
                "gatesearch", "{text}", {"text": f"unit: {constant.unit!r} does not fit; nearest: {unit!r}"}
            )
        if positive and constant.value == 0:
            raise PydanticCustomError("gatesearch", "{text}", {"text": "value: 0.0 does not fit; it must exceed 0"})
        return constant

    return AfterValidator(check)


def constants(device: BaseModel) -> list[tuple[str, Constant]]:
    """Return every constant of a device, or of a part of one, with its path.

    >>> from gatesearch.devices.profile import load
    >>> constants(load("three_core"))[0][0]
    'cores.mcu.timing.instructions_per_mac'
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
            yield from _walk(f"{path}.{label(item, index)}", item)


def label(item: object, index: int) -> str:
    """Name a list's item as a reader would: a core by its name, a link by its ends."""
    get: Callable[[str], Any] = item.get if isinstance(item, Mapping) else lambda key: getattr(item, key, None)
    if get("name"):
        return str(get("name"))
    return f"{get('source')}-{get('target')}" if get("source") else str(index)
