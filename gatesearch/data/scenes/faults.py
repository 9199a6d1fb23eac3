"""Says in one line what is wrong with the settings of a scene."""

from __future__ import annotations

import re
from typing import Any, get_args

from pydantic import ValidationError

from gatesearch.data.scenes.settings import OWN_RULE, SceneSettings, SourceSettings
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
    return ".".join((where, *location, *keys[:1])) + f": {_message(detail, tags)}"


def _message(detail: Any, tags: tuple[str, ...]) -> str:
    kind, written, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        return unknown_name("key", str(detail["loc"][-1]), _keys_beside(detail["loc"], tags))
    if kind == "literal_error":
        return unknown_name("kind", str(written), _names(context["expected"]))
    if kind == "union_tag_invalid":
        return unknown_name("kind of source", context["tag"], _names(context["expected_tags"]))
    if kind == "union_tag_not_found":
        return f"{quote(written)} has no kind; wanted: {{kind: KIND, ...}}, such as {{kind: synthetic_noise}}"
    if kind == "too_short":
        return f"{quote(written)} has too few entries; wanted: {context['min_length']} or more"
    if kind in ("missing", OWN_RULE):
        return str(detail["msg"])  # there is no value to quote, or the rule quotes it
    return f"{quote(written)}: {str(detail['msg']).removeprefix('Input ')}"


def _keys_beside(location: tuple[int | str, ...], tags: tuple[str, ...]) -> list[str]:
    """Return the keys that are valid in the place of an unknown one: those of its source, or of a scene."""
    union, _ = get_args(SourceSettings)
    models = {get_args(model.model_fields["kind"].annotation)[0]: model for model in get_args(union)}
    tag = next((step for step in location if step in tags), None)
    return list((SceneSettings if tag is None else models[tag]).model_fields)


def _names(text: str) -> list[str]:
    return re.findall(r"'([^']*)'", text)
