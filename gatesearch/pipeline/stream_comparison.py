"""Compares the picked plan with simpler methods, its rivals, on streams of sound or other signals.

The gates and the detector of each model are set on the validation stream. Each model runs once on the test stream.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from gatesearch.cost.price import Price
from gatesearch.metrics.streams import (
    Claim,
    DetCurve,
    Detection,
    SceneCounts,
    StreamFigures,
    stream_figures,
)
from gatesearch.pipeline.best_record import BestFigures
from gatesearch.pipeline.perfect_gates import price_perfect_gates
from gatesearch.pipeline.problem import Problem
from gatesearch.pipeline.result import RunOutputs
from gatesearch.pipeline.rivals import Rival, RivalInputs, train_rivals
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.pipeline.stream_prices import linear_price, price_signal_gates, signal_statistic
from gatesearch.pipeline.training import Baseline
from gatesearch.plan import GatePlan
from gatesearch.runtime.chain import ChainRun, ChainSettings, run_chain
from gatesearch.runtime.chain_tuning import tune_chain
from gatesearch.runtime.detector_tuning import SceneOutputs, TunedDetector, det_curve
from gatesearch.training.goals.detection import Detection as DetectionGoal
from gatesearch.training.goals.detection import chain_settings
from gatesearch.training.goals.detection_quality import count_chain


@dataclass(frozen=True)
class StreamResult:
    """The result of one model on the test stream.

    Args:
        rival: the model and its prices.
        plan: the model's gates, and the cores of its stages.
        settings: the settings of the gates, set on the validation stream.
        detector: the detector, tuned on the validation stream.
        run: the parts that run at each hop of the test stream.
        price: the mean price of a hop of the test stream.
        detections, counts, figures: the detections, their counts of hits and errors, and the figures from these counts.
        curve: the DET curve over thresholds of the detector, with the gates unchanged.
        perfect: the mean price of a hop of the test stream if each gate were open only while a window holds an event.
    """

    rival: Rival
    plan: GatePlan
    settings: ChainSettings
    detector: TunedDetector
    run: ChainRun
    price: Price
    detections: Sequence[Detection]
    counts: SceneCounts
    figures: StreamFigures
    curve: DetCurve
    perfect: Price

    @property
    def total_uj(self) -> float:
        """Energy of the whole device for one hop, in microjoules."""
        return self.price.energy.total_uj

    @property
    def signal(self) -> str | None:
        """The statistic of the gate before the front end; None where there is none."""
        return signal_statistic(self.settings)

    @property
    def signal_uj(self) -> float:
        """Energy of the gate before the front end at each hop, in microjoules; 0 without such a gate."""
        return 0.0 if self.signal is None else self.rival.cost.at_clocks(self.plan.clocks).signal_gate_uj(self.signal)

    @property
    def sense_core(self) -> str:
        """The core of the front end and of the gate on the signal."""
        return self.rival.cost.sense_core.name

    def power_parts(self, price: Price) -> dict[str, float]:
        """Return the energy of a hop [uJ] by part, from a price of the plan; parts that always run come first."""
        stages = [math.fsum(terms.values()) for terms in price.energy.by_stage]
        stages = [uj + math.fsum(price.exits.get(k, {}).values()) for k, uj in enumerate(stages)]
        frontend_uj = price.energy.by_term["frontend"]
        gate = {} if self.signal is None else {"level gate": self.signal_uj}
        return {
            "idle and sensor": price.energy.total_uj - frontend_uj - math.fsum(stages),
            **gate,
            "front end": frontend_uj - self.signal_uj,
            **{f"stage {k}": uj for k, uj in enumerate(stages)},
        }


@dataclass(frozen=True)
class StreamComparison:
    """The results of the picked plan and of its rivals.

    Args:
        max_miss_rate: the bound on the miss rate on the validation stream; a rival may be unable to keep the bound.
        picked: the result of the best plan.
        rivals: the result of each rival, by name.
        missing: by the name of a missing rival, the reason in one line.
        doubt: why the test stream is too short for the wanted false accepts per hour; None if it is long enough.
    """

    max_miss_rate: float
    picked: StreamResult
    rivals: Mapping[str, StreamResult] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    doubt: str | None = None

    @property
    def strongest(self) -> str | None:
        """The name of the rival with the least mean power, among rivals that keep the bound, or else among all."""
        able = {
            name: result
            for name, result in self.rivals.items()
            if result.detector.point.miss_rate <= self.max_miss_rate + 1e-9
        }
        ranked = able or dict(self.rivals)
        return min(ranked, key=lambda name: ranked[name].total_uj) if ranked else None


def compare_stream(
    outputs: RunOutputs, figures: BestFigures, baseline: Baseline, folder: RunFolder
) -> StreamComparison | None:
    """Train the rivals and run each on the test stream; return None for a goal without streams.

    A warning says if the test stream is too short for the wanted false accepts per hour.

    All models have the same bound on false accepts per hour. Their largest miss rate is the miss rate of the ungated
    backbone plus the rise that the recipe allows.

    Args:
        outputs: the outputs of the run's steps; the best plan has the thresholds of its bundle.
        figures: the figures of the best plan and of the ungated backbone on the test split.
        baseline, folder: the run's baseline and folder.
    """
    problem, cost = outputs.problem, outputs.cost
    picked, ungated, goal = outputs.bundle.model, outputs.best.ungated, problem.goal
    if not isinstance(goal, DetectionGoal):
        return None
    rise = problem.recipe.constraints.max_miss_rise or 0.0
    max_miss_rate = goal.tune(ungated).point.miss_rate + rise
    settings = chain_settings(picked)
    own = Rival(picked, [picked.plan], cost, densities=figures.densities, layers=figures.gated.layers)
    best = judge(problem, own, settings, goal.tune(picked))
    validation_run = run_chain(goal.run(picked, goal.validation), settings)
    validation_uj = own.price(validation_run.activities(), best.signal)[1].energy.total_uj
    inputs = RivalInputs(
        problem=problem,
        baseline=baseline,
        cost=cost,
        folder=folder,
        ungated=ungated,
        power_mw=validation_uj / goal.validation.hop_s / 1e3,
    )
    rivals = train_rivals(inputs, problem.recipe.stream.rivals)
    return StreamComparison(
        max_miss_rate=max_miss_rate,
        picked=best,
        rivals={name: judge_rival(problem, rival, max_miss_rate) for name, rival in rivals.models.items()},
        missing=rivals.missing,
        doubt=best.figures.doubt(Claim(fa_per_hour=goal.fa_per_hour)),
    )


def judge_rival(problem: Problem, rival: Rival, max_miss_rate: float) -> StreamResult:
    """Set the gates and the detector of a rival on the validation stream, for the least mean power."""
    goal = problem.goal
    assert isinstance(goal, DetectionGoal)
    scores = goal.run(rival.model, goal.validation)
    prices = [linear_price(rival.cost, plan) for plan in rival.plans]
    tuned = tune_chain(
        scores if rival.has_signal_gate else replace(scores, signal={}),
        goal.settings(),
        goal.fa_per_hour,
        max_miss_rate,
        lambda activities: min(price(activities) for price in prices),
        min_gate_recall=problem.recipe.constraints.min_gate_recall or 0.0,
        signal_prices=price_signal_gates(rival.cost),
    )
    return judge(problem, rival, tuned.settings, tuned.detector)


def judge(problem: Problem, rival: Rival, settings: ChainSettings, detector: TunedDetector) -> StreamResult:
    """Run a model on the test stream, with settings of its gates and its detector."""
    goal, test = problem.goal, problem.features.test.stream
    assert isinstance(goal, DetectionGoal) and test is not None
    run = run_chain(goal.run(rival.model, test), settings)
    detections, counts = count_chain(run, test, detector)
    plan, price = rival.price(run.activities(), signal_statistic(settings))
    return StreamResult(
        rival=rival,
        plan=plan,
        settings=settings,
        detector=detector,
        run=run,
        price=price,
        detections=detections,
        counts=counts,
        figures=stream_figures([counts]),
        curve=det_curve([SceneOutputs(run.posteriors, test.events, run.stopped)], detector.settings),
        perfect=price_perfect_gates(rival, settings, detector.settings, test),
    )
