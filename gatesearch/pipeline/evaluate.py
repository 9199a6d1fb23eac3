"""Evaluates the plan of a trial: trains it briefly, and prices it with the pass rates of its gates."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from gatesearch.cost.model import CostModel
from gatesearch.model import GatedModel
from gatesearch.pipeline.constraints import quality_violations
from gatesearch.pipeline.problem import Problem
from gatesearch.pipeline.stream_prices import operation_for, price_figures, stream_details
from gatesearch.pipeline.training import Baseline, train_trial, untrained_model
from gatesearch.plan import GatePlan, PlacedGate
from gatesearch.search.evaluation import Evaluated, Objectives
from gatesearch.search.result import COMPOSED, METHOD, TRAINED
from gatesearch.search.sampler.history import REACH_ATTR
from gatesearch.training import Figures
from gatesearch.training.composition import Heads


class Evaluator:
    """Evaluates plans; worker processes get a copy of this object.

    Args:
        problem, baseline, cost: the run's problem, baseline and cost model.
        folder: the folder for checkpoints of trials.
        heads: the heads from which plans are composed; None to train each plan.
    """

    def __init__(
        self, problem: Problem, baseline: Baseline, cost: CostModel, folder: Path, heads: Heads | None = None
    ) -> None:
        self.problem, self.baseline, self.cost, self.folder, self.heads = problem, baseline, cost, folder, heads
        self._assessments: dict[GatePlan, tuple[Figures, str | None]] = {}
        self._models: dict[tuple[PlacedGate, ...], GatedModel] = {}

    def __call__(self, plan: GatePlan) -> Evaluated:
        """Return a plan's quality on the validation split, its expected costs, and its violations of constraints."""
        figures, doubt = self._judge(plan)
        price = price_figures(self.cost, plan, figures)
        return Evaluated(
            Objectives(figures.value, price.expected_latency_us, price.energy.total_uj),
            {
                **quality_violations(self.problem, figures, self._reference),
                **{f"{core}.mean utilisation": share - 1.0 for core, share in price.utilisation.items() if share > 1},
            },
            {
                REACH_ATTR: {kind: list(row) for kind, row in figures.passed.items()},
                "layers": {site: dict(row) for site, row in figures.layers.items()},
                METHOD: COMPOSED if self._is_composed(plan) else TRAINED,
                **stream_details(figures, doubt),
            },
        )

    @cached_property
    def _reference(self) -> float:
        """The quality of the ungated backbone with which a plan is compared.

        On a stream, one more epoch of training can change the miss rate by more than the constraints allow gates to
        change it. So the ungated backbone trains for as long as a plan does.
        """
        if self.problem.features.validation.stream is None:
            return self.baseline.quality
        if self.heads is not None:
            return self.heads.goal.assess(self.heads.compose(GatePlan()), self.heads.validation).value
        # The search also tries the plan without gates; its trial uses this model.
        ungated = self._models[()] = train_trial(GatePlan(), self.problem, self.baseline, self.folder)
        return self.problem.goal.assess(ungated, self.problem.features.validation).value

    def _judge(self, plan: GatePlan) -> tuple[Figures, str | None]:
        """Return the figures of a plan's model, and a line about its gates if they miss the targets of calibration.

        The cores of a plan do not change its training. On a stream, calibration sets the gates by the plan's price,
        which depends on the cores. Without a stream, plans with equal gates have the same figures.
        """
        problem, goal, validation = self.problem, self.problem.goal, self.problem.features.validation
        operation = operation_for(problem, self.cost, plan, self._reference)
        key = plan if operation is not None else GatePlan(plan.gates)
        if key not in self._assessments:
            model: GatedModel
            if self.heads is not None and self._is_composed(plan):
                goal, validation, model = self.heads.goal, self.heads.validation, self.heads.compose(plan)
            else:
                model = self._models.get(plan.gates) or train_trial(plan, problem, self.baseline, self.folder)
                if operation is not None:
                    self._models[plan.gates] = model
            doubt = goal.calibrate(model, validation, problem.features.positive, operation)
            self._assessments[key] = goal.assess(model, validation), doubt
        return self._assessments[key]

    def _is_composed(self, plan: GatePlan) -> bool:
        return self.heads is not None and self.heads.covers(plan)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state that a worker needs: features and weights, without raw data and the traced graph."""
        return {
            "problem": replace(self.problem, data=None),  # type: ignore[arg-type]
            "weights": self.baseline.model.state_dict(),
            "saliency": self.baseline.saliency,
            "quality": self.baseline.quality,
            "cost": self.cost,
            "folder": self.folder.absolute(),  # a worker may have another working folder
            "heads": self.heads,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        model = untrained_model(state["problem"])
        model.load_state_dict(state["weights"])
        baseline = Baseline(model.eval(), state["saliency"], state["quality"])
        Evaluator.__init__(self, state["problem"], baseline, state["cost"], state["folder"], state["heads"])
