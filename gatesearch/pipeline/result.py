"""What a run has come to: the values of its steps, as far as it went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gatesearch.cost.model import CostModel
from gatesearch.export.verify import Parity
from gatesearch.model import GatedModel
from gatesearch.pipeline.export import Exported
from gatesearch.pipeline.pick import Chosen
from gatesearch.pipeline.problem import Problem
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.pipeline.training import Baseline
from gatesearch.report.record import RunRecord
from gatesearch.search.result import SearchResult, Trial


@dataclass(frozen=True)
class RunResult:
    """The values that the steps of a run return; None for a step that was not asked for.

    Args:
        folder: run folder.
        problem: data, network, sites, device and space.
        baseline: the trained ungated backbone.
        cost: prices of plans.
        trials: of the search.
        path_times: measured and predicted microseconds of plans on this host, by digest.
        chosen: the plan that was retrained.
        exported: its bundle.
        parity: the bundle against the model.
        record: summary.json and record.json.
    """

    folder: RunFolder
    problem: Problem
    baseline: Baseline
    cost: CostModel
    trials: SearchResult
    path_times: Mapping[str, Mapping[str, float]]
    chosen: Chosen | None = None
    exported: Exported | None = None
    parity: Parity | None = None
    record: RunRecord | None = None

    @property
    def picked(self) -> Trial:
        """The trial whose plan was chosen; ValueError where no plan is chosen yet."""
        return self._choice().trial

    @property
    def ungated(self) -> GatedModel:
        """The ungated backbone, retrained as the chosen plan is; ValueError where no plan is chosen yet."""
        return self._choice().ungated

    @property
    def model(self) -> GatedModel:
        """The chosen plan, retrained; with the thresholds of the artifacts where they are exported.

        Raises:
            ValueError: the run did not come to the choice.
        """
        return self._choice().model if self.exported is None else self.exported.model

    def _choice(self) -> Chosen:
        if self.chosen is None:
            raise ValueError("the run has not retrained a plan")
        return self.chosen
