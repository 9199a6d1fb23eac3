"""Which study a run folder's search is: where its trials are, and under which name."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import NamedTuple

from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.recipe import Recipe
from gatesearch.search import SearchResult, engine
from gatesearch.search.storage import STUDY, Place

NAMED = "study.json"


class Study(NamedTuple):
    """A place that Optuna opens, and the name of the study there."""

    where: Place
    name: str

    @classmethod
    def of(cls, recipe: Recipe, folder: RunFolder) -> Study:
        """Return the study of a run; in a database, which many runs share, it gets a name of its own, kept here."""
        if recipe.search.storage == "journal":
            return cls(folder / "study.journal", STUDY)
        kept = folder.read_json(NAMED)
        if kept is None:
            kept = {"study": f"{folder.path.absolute().name}-{uuid.uuid4().hex[:8]}"}
            folder.write_json(NAMED, kept)
        return cls(recipe.search.storage, kept["study"])

    def read(self) -> SearchResult:
        """Return the trials so far, also while another process searches."""
        if isinstance(self.where, Path) and not self.where.exists():
            return SearchResult(())
        return engine.read(self.where, self.name)
