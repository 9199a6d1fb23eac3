"""Searches where gates go in a network: the space of plans, the search itself, and its result.

Each public name is imported at its first use, so a worker process starts without loading the space or torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gatesearch.search.engine import search
    from gatesearch.search.evaluation import Evaluated, Objectives
    from gatesearch.search.result import SearchResult, Trial
    from gatesearch.search.settings import SearchSettings
    from gatesearch.search.space import Space
    from gatesearch.search.space_builder import build_space

__all__ = ["Evaluated", "Objectives", "SearchResult", "SearchSettings", "Space", "Trial", "build_space", "search"]

_MODULES = {
    "Evaluated": "evaluation",
    "Objectives": "evaluation",
    "SearchResult": "result",
    "SearchSettings": "settings",
    "Space": "space",
    "Trial": "result",
    "build_space": "space_builder",
    "search": "engine",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
