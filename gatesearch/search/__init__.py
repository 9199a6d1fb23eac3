"""Search: the space of plans, the engine, fronts. Usable without the command line.

What these names stand for is imported when it is asked for: a worker process begins without the space and torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gatesearch.search.engine import SearchResult, Trial, search
    from gatesearch.search.evaluation import Evaluated, Objectives
    from gatesearch.search.space import Space

__all__ = ["Evaluated", "Objectives", "SearchResult", "Space", "Trial", "search"]

_PLACES = {
    "Evaluated": "evaluation",
    "Objectives": "evaluation",
    "SearchResult": "engine",
    "Space": "space",
    "Trial": "engine",
    "search": "engine",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
