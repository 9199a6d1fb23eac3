"""Says in one line what is wrong with the settings of a scene."""

from __future__ import annotations

import re
from typing import Any

from pydantic import ValidationError

from gatesearch.errors import quote, unknown_name

KEY_OF_MAPPING = "[key]"  # pydantic's last step of a location, if a key itself is wrong


def describe_fault(error: ValidationError, where: str, tags: tuple[str, ...]) -> str:
    """Return a line with the key of the first fault, what the user wrote, and the nearest valid choice.

    Args:
        error: pydantic's error.
        where: the name of the settings, such as ``data``.
        tags: the kinds of sources; pydantic adds the kind of a source to its location.
    """
    detail: Any = error.errors(include_url=False)[0]
    keys = detail.get("ctx", {}).get("keys", ())  # a rule across keys names them here, and not in ``loc``
    location = [
        str(step)
        for before, step in zip(("", *detail["loc"]), detail["loc"], strict=False)
        if step != KEY_OF_MAPPING and not (isinstance(before, int) and step in tags)
    ]
    if detail["type"] == "literal_error" and detail["loc"][-1] == KEY_OF_MAPPING:
        location.pop()  # the wrong key is quoted in the message
    return ".".join((where, *location, *keys[:1])) + f": {_message(detail)}"


def _message(detail: Any) -> str:
    kind, written, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind == "literal_error":
        return unknown_name("kind", str(written), _names(context["expected"]))
    if kind == "union_tag_invalid":
        return unknown_name("kind of source", context["tag"], _names(context["expected_tags"]))
    if kind == "union_tag_not_found":
        return f"{quote(written)} has no kind; wanted: {{kind: KIND, ...}}, such as {{kind: synthetic_noise}}"
    if kind == "too_short":
        return f"{quote(written)} has too few entries; wanted: {context['min_length']} or more"
    return str(detail["msg"])


def _names(text: str) -> list[str]:
    return re.findall(r"'([^']*)'", text)
