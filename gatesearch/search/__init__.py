"""Search: the space of plans, the engine, fronts. Usable without the command line."""

from gatesearch.search.engine import SearchResult, Trial, search
from gatesearch.search.outcome import Evaluated, Objectives
from gatesearch.search.space import Space

__all__ = ["Evaluated", "Objectives", "SearchResult", "Space", "Trial", "search"]
