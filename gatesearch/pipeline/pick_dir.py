"""The folder of a pick: the artifacts and the report of a plan that a user chose after the search."""

from __future__ import annotations

from typing import Any

from gatesearch.pipeline.pick import BestPlan
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.search.result import SearchResult

PICKS = "picks"


class PickFolder(RunFolder):
    """The folder RUN/picks/DIGEST, with the files of a run's end: best/, summary.json, record.json, report.html.

    Trainings are stored in the folder of the run. So picks of the same plan, and the run itself, share them.

    Args:
        run: the folder of the run.
        digest: the digest of the plan.
    """

    def __init__(self, run: RunFolder, digest: str) -> None:
        super().__init__(run / PICKS / digest)
        self.trainings = run
        self.digest = digest

    @property
    def command(self) -> tuple[str, ...]:
        """The command that makes the results of this folder again."""
        return ("gatesearch", "pick", str(self.trainings.path), f"plan={self.digest}")

    @property
    def resume_command(self) -> str:
        """The command that goes on with the work in this folder."""
        return " ".join(self.command)


def describe_pick(best: BestPlan, trials: SearchResult, folder: RunFolder) -> dict[str, Any] | None:
    """Return the entry ``pick`` of summary.json; None for the plan that the recipe's rule picked."""
    if best.choice is None:
        return None
    return {
        "run": str(folder.trainings.path),
        "choice": best.choice,
        "on_front": best.trial.plan in {trial.plan for trial in trials.front},
    }
