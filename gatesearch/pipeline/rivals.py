"""Trains the rivals of a detection run: simpler methods with which the picked plan is compared.

ungated_hops     the ungated backbone; each hop computes only the new frames
ungated_windows  the ungated backbone; each hop computes the whole window
level_gate       a gate that decides by the signal's level; front end and backbone run only while this gate is open
hand_placed      a gate of the recipe's first kind behind the third block, with default parameters
smaller_ungated  the same backbone with fewer channels, at about the mean power of the picked plan
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from gatesearch._lib import console
from gatesearch.cost.model import CostModel
from gatesearch.cost.price import Price
from gatesearch.errors import UserError
from gatesearch.metrics.streams import STEADY, Activity
from gatesearch.model import GatedModel
from gatesearch.pipeline.hand_placed import place_by_hand
from gatesearch.pipeline.problem import Problem
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.pipeline.smaller_network import train_smaller
from gatesearch.pipeline.training import Baseline, retrain
from gatesearch.plan import GatePlan

EVERY_WINDOW = Activity(open_share=1.0, openings=1.0)
"""The activity of a part that computes the whole window at every hop."""


@dataclass(frozen=True)
class Rival:
    """A trained model, and the ways in which cores can run it.

    Args:
        model: the trained and calibrated model.
        plans: the model's gates on each choice of cores; the comparison takes the plan with the least mean power.
        cost: the cost model that prices the plans.
        has_signal_gate: whether a gate on the signal may stand before the front end.
        whole_windows: whether every hop computes the whole window.
        densities, layers: shares that were measured at the model's gates; see :meth:`CostModel.stages`.
    """

    model: GatedModel
    plans: Sequence[GatePlan]
    cost: CostModel
    has_signal_gate: bool = False
    whole_windows: bool = False
    densities: Sequence[float] | None = None
    layers: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def price(self, activities: Sequence[Activity], signal: str | None = None) -> tuple[GatePlan, Price]:
        """Return the plan with the least energy at the activities of the front end and of each stage, and its price."""
        priced = [(plan, self.price_plan(plan, activities, signal)) for plan in self.plans]
        return min(priced, key=lambda pair: pair[1].energy.total_uj)

    def price_plan(self, plan: GatePlan, activities: Sequence[Activity], signal: str | None = None) -> Price:
        """Return the price of one of the rival's plans at the activities of the front end and of each stage.

        Args:
            plan: one of :attr:`plans`.
            activities: the activities of the front end and of each stage.
            signal: statistic of the gate before the front end; None for no such gate.
        """
        own = [EVERY_WINDOW] * len(activities) if self.whole_windows else activities
        return self.cost.price_stream(plan, own, self.densities, self.layers, signal)


@dataclass(frozen=True)
class Rivals:
    """The rivals of a run, and the reasons why others could not be built.

    Args:
        models: the rivals by name.
        missing: the reason in one line for each rival that could not be built, by its name.
    """

    models: Mapping[str, Rival] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RivalInputs:
    """The values from which rivals are built.

    Args:
        problem, baseline, cost, folder: the run's problem, baseline, cost model and folder.
        ungated: the ungated backbone, retrained in the same way as the best plan.
        power_mw: mean power of the picked plan over the validation stream.
    """

    problem: Problem
    baseline: Baseline
    cost: CostModel
    folder: RunFolder
    ungated: GatedModel
    power_mw: float


def train_rivals(inputs: RivalInputs, names: Sequence[str]) -> Rivals:
    """Train the rivals with these names, or load them if the run folder holds them.

    A rival that cannot be built is missing in the result, and a warning says why.
    """
    models, missing = {}, {}
    for name in names:
        try:
            models[name] = RIVALS[name](inputs)
        except UserError as error:
            missing[name] = str(error)
            console.warn(f"rival {name}: missing: {error}")
    return Rivals(models, missing)


def _run_ungated(inputs: RivalInputs) -> Rival:
    return Rival(inputs.ungated, inputs.cost.ungated_plans(), inputs.cost)


def _run_windows(inputs: RivalInputs) -> Rival:
    return Rival(inputs.ungated, inputs.cost.ungated_plans(), inputs.cost, whole_windows=True)


def _gate_by_level(inputs: RivalInputs) -> Rival:
    stream = inputs.problem.features.validation.stream
    if inputs.problem.frontend.recursive:
        raise UserError(
            f"the front end {inputs.problem.frontend.name} needs every hop, so that no gate stands before it"
        )
    if stream is None or not stream.signal:
        raise UserError("the stream is no sound, so that it has no level")
    return Rival(inputs.ungated, inputs.cost.ungated_plans(), inputs.cost, has_signal_gate=True)


def _gate_by_hand(inputs: RivalInputs) -> Rival:
    problem = inputs.problem
    plans = place_by_hand(problem, inputs.cost)
    model = retrain("hand_placed", plans[0], problem, inputs.baseline, inputs.folder)
    return Rival(model, plans, inputs.cost)


def _shrink(inputs: RivalInputs) -> Rival:
    best_mw = inputs.power_mw
    steady = Rival(inputs.ungated, inputs.cost.ungated_plans(), inputs.cost).price([STEADY, STEADY])[1]
    network = train_smaller(inputs.problem, steady, best_mw, inputs.folder)
    return Rival(network.model, network.cost.ungated_plans(), network.cost)


RIVALS: Mapping[str, Callable[[RivalInputs], Rival]] = {
    "ungated_hops": _run_ungated,
    "ungated_windows": _run_windows,
    "level_gate": _gate_by_level,
    "hand_placed": _gate_by_hand,
    "smaller_ungated": _shrink,
}
