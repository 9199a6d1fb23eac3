"""Data classes that hold the values that a run's steps return, for callers and for the run's record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gatesearch.cost.model import CostModel
from gatesearch.export.verify import Parity
from gatesearch.model import GatedModel
from gatesearch.pipeline.composed_order import ComposedOrder
from gatesearch.pipeline.export import PlanBundle
from gatesearch.pipeline.firmware import FirmwareRecord
from gatesearch.pipeline.pick import BestPlan
from gatesearch.pipeline.problem import Problem
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.pipeline.training import Baseline
from gatesearch.plan import GatePlan
from gatesearch.report.record import RunRecord
from gatesearch.runtime.listening_timing import ListeningTiming
from gatesearch.runtime.stream_timing import StreamTiming
from gatesearch.search.result import SearchResult


@dataclass(frozen=True)
class RunResult:
    """The values that the steps of a run return; None for a step that was not done.

    Args:
        folder: the run folder.
        problem: data, network, sites, device and space.
        baseline: the trained ungated backbone.
        cost: the cost model, which prices plans.
        trials: the trials of the search.
        path_times: for each plan digest, the measured and predicted time on the host, the machine of the run [us].
        order: figures of composed plans beside those of their trainings; None where all plans are trained.
        best: the best plan, retrained.
        bundle: the bundle of the best plan.
        parity: the agreement of the bundle with the model.
        shortfalls: a line for each figure of ``parity`` below the bound in the recipe's ``verify``.
        record: the content of summary.json and record.json.
    """

    folder: RunFolder
    problem: Problem
    baseline: Baseline
    cost: CostModel
    trials: SearchResult
    path_times: Mapping[str, Mapping[str, float]]
    order: ComposedOrder | None = None
    best: BestPlan | None = None
    bundle: PlanBundle | None = None
    parity: Parity | None = None
    shortfalls: tuple[str, ...] = ()
    record: RunRecord | None = None

    @property
    def plan(self) -> GatePlan:
        """The best plan.

        Raises:
            ValueError: the run has not retrained a plan.
        """
        return self._require_best().trial.plan

    @property
    def ungated(self) -> GatedModel:
        """The ungated backbone, retrained in the same way as the best plan.

        Raises:
            ValueError: the run has not retrained a plan.
        """
        return self._require_best().ungated

    @property
    def model(self) -> GatedModel:
        """The model of the best plan, retrained; after the export, with the thresholds of the artifacts.

        Raises:
            ValueError: the run has not retrained a plan.
        """
        return self._require_best().model if self.bundle is None else self.bundle.model

    def _require_best(self) -> BestPlan:
        if self.best is None:
            raise ValueError("the run has not retrained a plan")
        return self.best


@dataclass(frozen=True)
class RunOutputs:
    """The values of a run's steps from which its record is made; see :class:`RunResult`."""

    problem: Problem
    cost: CostModel
    trials: SearchResult
    path_times: Mapping[str, Mapping[str, float]]
    best: BestPlan
    bundle: PlanBundle
    parity: Parity
    stream: StreamTiming
    listening: ListeningTiming | None = None
    firmware: FirmwareRecord | None = None
    order: ComposedOrder | None = None
