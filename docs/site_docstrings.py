"""Extension of Griffe: turns reStructuredText in docstrings into Markdown, which the site shows."""

from __future__ import annotations

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:func|class|mod|meth|data|attr|exc):`~?([^`]+)`")
EXAMPLE = re.compile(r"^>>> .*?(?=\n\s*\n|\Z)", re.MULTILINE | re.DOTALL)


def to_markdown(text: str) -> str:
    """Return a docstring as Markdown: roles become code, examples become blocks of code.

    >>> to_markdown("See :func:`here.run`. Such as::")
    'See `here.run`. Such as:'
    """
    text = ROLE.sub(r"`\1`", text)
    text = re.sub(r"::$", ":", text, flags=re.MULTILINE)
    return EXAMPLE.sub(lambda match: f"```pycon\n{match[0]}\n```", text)


class Docstrings(griffe.Extension):
    """Turns the docstring of each object when Griffe has read it."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Turn one docstring."""
        if obj.docstring is not None:
            obj.docstring.value = to_markdown(obj.docstring.value)
