"""GateSampler: an Optuna sampler that knows what gates are.

Generic samplers see names and choices. This one sees plans: it believes something of their quality and of how many
windows their gates let through, from where gates stand and how they are turned; what they cost follows exactly; and it
proposes the plan that is expected to raise the hypervolume most, under the constraints, none twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from optuna import Study
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState

from gatesearch.plan import GatePlan, Scalar
from gatesearch.search import pareto
from gatesearch.search.acquisition import LogNormal, expected_improvement
from gatesearch.search.beliefs import Belief, Memory, Tried
from gatesearch.search.candidates import Candidates, Gates, cores_of, replay
from gatesearch.search.features import Features
from gatesearch.search.pass_rates import Passed
from gatesearch.search.space import Space

Array = npt.NDArray[np.float64]
Runs = Callable[[GatePlan], Sequence[Sequence[float]]]
PASSED = "passed"  # user attribute of a trial: for each kind the share of windows that reach stage k, the first being 1
FEWEST = 4  # combinations of gates that were tried, before anything is believed
ROUNDS = 50  # of drawing on, where all that was drawn was tried before
MARGIN = 0.1  # of the front's range: how far beyond its ends volume counts where no reference is given


class Seen(NamedTuple):
    """A finished trial."""

    plan: GatePlan
    minimised: tuple[float, ...] | None  # error and costs; None where it was not tried
    violations: Mapping[str, float]
    passed: Passed | None


class GateSampler(BaseSampler):
    """Proposes the plans of a space in a study that maximises accuracy and minimises two costs.

    The objective function has to let the space choose, and may tell what the gates let through::

        sampler = GateSampler(space, cost.runs, shares={"positive": 0.1, "silence": 0.9})
        study = optuna.create_study(directions=["maximize", "minimize", "minimize"], sampler=sampler)

        def objective(trial):
            plan = space.propose(trial)
            ...
            trial.set_user_attr("passed", {"positive": [1.0, 0.99], "silence": [1.0, 0.02]})
            return accuracy, latency_us, energy_uj

    Parameters that are not the space's are drawn at random. Proposals depend on the seed and on the trials so far
    alone, so that a study that was cut off goes on as if it had not been.

    Args:
        space: of plans.
        runs: what the two costs of a plan are made of: first what every window costs, then what one that reaches stage
            k adds, [1 + stages, 2]; infinite where that cannot be. :meth:`gatesearch.hardware.cost.CostModel.runs`.
        shares: of each kind of window in the stream.
        unknown: for each kind, the share that a gate is taken to let through of which nothing is known.
        reference: error (1 - accuracy) and costs up to which volume counts; None: a little beyond the front so far.
        allowed: whether a plan may be proposed at all; ask what cost alone rules out.
        first: gates to begin with, on the cores that cost least.
        seed: of every random choice.
        count: combinations of gates to choose among, each time; each is looked at on all cores.
    """

    def __init__(
        self,
        space: Space,
        runs: Runs,
        *,
        shares: Mapping[str, float] | None = None,
        unknown: Mapping[str, float] | None = None,
        reference: Sequence[float] | None = None,
        allowed: Callable[[GatePlan], bool] = lambda plan: True,
        first: Sequence[Gates] = (),
        seed: int = 0,
        count: int = 200,
    ) -> None:
        self._space, self._runs, self._allowed = space, runs, allowed
        self._reference, self._seed, self._count = reference, seed, count
        self._shares = dict(shares or {"positive": 1.0})
        self._unknown = {kind: 1.0 if kind == "positive" else 0.5 for kind in self._shares} | dict(unknown or {})
        self._first = tuple(first)
        self._features, self._candidates, self._memory = Features(space), Candidates(space), Memory()
        self._rest = RandomSampler(seed)
        self._priced: dict[GatePlan, Array] = {}
        self._seen: dict[int, Seen] = {}
        self._chosen: dict[int, dict[str, Scalar]] = {}

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return nothing: which parameters there are depends on the plan, which is chosen before."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return nothing; see :meth:`before_trial`."""
        return {}

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Choose the plan."""
        if len(study.directions) == 3:
            plan = self.propose(study, trial.number)
            self._chosen = {} if plan is None else {trial.number: self._space.named(plan)}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return what the chosen plan needs."""
        chosen = self._chosen.get(trial.number, {})
        offered = param_distribution.choices if isinstance(param_distribution, CategoricalDistribution) else ()
        if param_name in chosen and chosen[param_name] in offered:
            return chosen[param_name]
        return self._rest.sample_independent(study, trial, param_name, param_distribution)

    def reseed_rng(self) -> None:
        """Part ways with copies of this sampler in other threads, as far as foreign parameters go."""
        self._rest.reseed_rng()

    def propose(self, study: Study, number: int) -> GatePlan | None:
        """Return the plan that the trial of that number should try; None where all were.

        Args:
            study: with the trials so far; running ones are taken to come out as believed.
            number: of the trial that asks.
        """
        seen, running = self._read(study, number)
        generator = np.random.default_rng([self._seed, len(seen) + len(running)])
        barred = {one.plan for one in seen} | set(running)
        complete = [one for one in seen if one.minimised is not None]
        tried = [
            Tried(one.plan.gates, one.minimised[0], one.violations, one.passed) for one in complete if one.minimised
        ]
        belief = Belief(self._features, self._space, tried, self._shares, self._unknown, self._memory)
        gone = {plan.gates for plan in barred}
        offered = [gates for gates in self._first if gates not in gone][:1]
        if not offered:
            front = [one.plan.gates for one in _front(complete)]
            drawn = self._candidates(self._count, generator, front)
            # What was tried is known on all cores.
            offered = list(dict.fromkeys([*drawn, *(one.gates for one in tried)]))
        for _ in range(ROUNDS):
            plans, worth = self._worth(offered, belief, complete, running)
            best = (plans[i] for i in np.argsort(-worth, kind="stable"))
            if (found := next((p for p in best if p not in barred and self._allowed(p)), None)) is not None:
                return found
            # Where little is left, it is where few gates and good parents do not lead.
            offered = list(dict.fromkeys(self._candidates.evenly(self._count, generator)))
        return None

    def _worth(
        self, offered: Sequence[Gates], belief: Belief, complete: Sequence[Seen], running: Sequence[GatePlan]
    ) -> tuple[list[GatePlan], Array]:
        """Return the plans that gates make on all cores, and what each is worth, [m]."""
        plans = [
            (i, GatePlan(gates, cores)) for i, gates in enumerate(offered) for cores in cores_of(self._space, gates)
        ]
        index, every = np.array([i for i, _ in plans], dtype=int), [plan for _, plan in plans]
        costs = self._costs(every, belief.reach(offered)[index])
        if belief.combinations < FEWEST or len(offered) == 1:  # as they were drawn, on the cores that cost least
            with np.errstate(invalid="ignore"):
                cheap = np.nan_to_num((costs / costs.min(0)).sum(1), nan=np.inf)
            return every, -index - cheap / (1 + cheap)
        quality, kept = belief.quality(offered)
        front = [one.minimised for one in _front(complete) if one.minimised]
        for plan in running:
            error = float(np.exp(belief.quality([plan.gates])[0].mean[0]))
            front.append((error, *self._costs([plan], belief.reach([plan.gates]))[0]))
        scale = self._corner(front, complete)
        believed = LogNormal(quality.mean[index] - np.log(scale[0]), quality.deviation[index])
        scaled = [tuple(np.array(point) / scale) for point in front]
        worth = expected_improvement(believed, costs / scale[1:], scaled, (1.0, 1.0, 1.0)) * kept[index]
        # Where no improvement is to be hoped for, what is likeliest to be good.
        return every, worth - 1e-12 * np.exp(believed.mean)

    def _corner(self, front: Sequence[Sequence[float]], complete: Sequence[Seen]) -> Array:
        """Return up to where volume counts."""
        if self._reference is not None:
            return np.array(self._reference)
        points = np.array(front if len(front) > 1 else [one.minimised for one in complete if one.minimised])
        worst = points.max(0)
        corner: Array = worst + MARGIN * np.maximum(worst - points.min(0), MARGIN * np.abs(worst))
        return corner

    def _costs(self, plans: Sequence[GatePlan], reach: Array) -> Array:
        """Return the expected costs of plans, [m, 2], of which these shares of the stream reach each stage."""
        made = np.zeros((len(plans), 1 + reach.shape[1], 2))
        for i, plan in enumerate(plans):
            row = self._priced.get(plan)
            if row is None:
                row = self._priced[plan] = np.array(self._runs(plan))
            made[i, : len(row)] = row
        with np.errstate(invalid="ignore"):  # nobody reaches what cannot be: infinite all the same
            costs: Array = made[:, 0] + np.nan_to_num(reach[:, :, None] * made[:, 1:], nan=np.inf).sum(1)
        return costs

    def _read(self, study: Study, number: int) -> tuple[list[Seen], list[GatePlan]]:
        """Return the finished trials, and the plans of those that are running."""
        running = []
        for trial in study.get_trials(deepcopy=False):
            if trial.number in self._seen or trial.number == number:
                continue
            # None where the trial is not of this space, or has not chosen yet.
            plan = replay(self._space, trial.params)
            if plan is None:
                continue
            if trial.state == TrialState.RUNNING:
                running.append(plan)
            elif trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
                minimised = (1.0 - trial.values[0], *trial.values[1:]) if trial.values else None
                self._seen[trial.number] = Seen(plan, minimised, trial.constraints, trial.user_attrs.get(PASSED))
        return [self._seen[key] for key in sorted(self._seen)], running


def _front(seen: Sequence[Seen]) -> list[Seen]:
    feasible = [one for one in seen if one.minimised and all(over <= 0 for over in one.violations.values())]
    kept = pareto.front([one.minimised for one in feasible if one.minimised])
    return [feasible[i] for i in kept]
