"""Finds the Optuna study of a run: the file or database that stores its trials, and the study's name there."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import NamedTuple

from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.recipe import Recipe
from gatesearch.search import SearchResult, engine
from gatesearch.search.storage import STUDY, Place
from gatesearch.search.storage.place import show_place

STUDY_FILE = "study.json"
JOURNAL_FILE = "study.journal"


class Study(NamedTuple):
    """The file or database of a study, which Optuna opens, and the name of the study there."""

    place: Place
    name: str

    @classmethod
    def find(cls, recipe: Recipe, folder: RunFolder) -> Study:
        """Return the study of a run.

        Several runs may share a database. So a study in a database has a name of its own, which the run folder stores.
        """
        if recipe.search.storage == "journal":
            return cls(folder / JOURNAL_FILE, STUDY)
        stored = folder.read_json(STUDY_FILE)
        if stored is None:
            stored = {"study": f"{folder.path.absolute().name}-{uuid.uuid4().hex[:8]}"}
            folder.write_json(STUDY_FILE, stored)
        return cls(recipe.search.storage, stored["study"])

    def read(self) -> SearchResult:
        """Return the trials so far, even while another process searches."""
        if isinstance(self.place, Path) and not self.place.exists():
            return SearchResult(())
        return engine.read(self.place, self.name)

    def describe_loss(self, trials: SearchResult, folder: RunFolder) -> str | None:
        """Return a clause on trials that the study has lost; None if it has lost none.

        A file that was emptied or deleted holds fewer trials than ``trials.csv``, which each search writes at its end.

        Args:
            trials: the trials that the study holds.
            folder: the folder of the run.
        """
        listed, stored = folder.listed_trials(), len(trials.trials)
        if listed <= stored:
            return None
        return f"{show_place(self.place)}: holds {stored} trials, and trials.csv lists {listed}"
