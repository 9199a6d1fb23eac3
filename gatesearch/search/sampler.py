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
from scipy.special import ndtr

from gatesearch.plan import GatePlan
from gatesearch.search import pareto
from gatesearch.search.acquisition import LogNormal, expected_improvement
from gatesearch.search.candidates import Choices, candidates, offered_by, replay
from gatesearch.search.features import Features
from gatesearch.search.pass_rates import Passed, PassRates
from gatesearch.search.space import Space
from gatesearch.search.surrogate import Surrogate

Array = npt.NDArray[np.float64]
Price = Callable[[GatePlan, Passed], Sequence[float]]
PASSED = "passed"  # user attribute of a trial: for each kind the share of windows that reach stage k, the first being 1
FEWEST = 4  # complete trials before anything is believed
LEAST_ERROR = 1e-3
ROUNDS = 50  # of drawing on, before a plan is proposed that was tried before


class Seen(NamedTuple):
    """A finished trial."""

    plan: GatePlan
    choices: Choices
    minimised: tuple[float, ...] | None  # error and costs; None where it was not tried
    violations: Mapping[str, float]
    passed: Passed | None


class GateSampler(BaseSampler):
    """Proposes the plans of a space in a study that maximises accuracy and minimises two costs.

    The objective function has to let the space choose, and may tell what the gates let through::

        sampler = GateSampler(space, lambda plan, passed: cost(plan, passed), reference=(0.2, 5e3, 400.0))
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
        price: of a plan whose gates let through these shares: the two costs, exactly.
        reference: error (1 - accuracy) and costs up to which the hypervolume counts.
        allowed: whether a plan may be proposed at all; ask what cost alone rules out.
        kinds: of windows, and the share of each that an unknown gate is taken to let through.
        seed: of every random choice.
        count: candidates to choose among, each time.
    """

    def __init__(
        self,
        space: Space,
        price: Price,
        *,
        reference: Sequence[float],
        allowed: Callable[[GatePlan], bool] = lambda plan: True,
        kinds: Mapping[str, float] | None = None,
        seed: int = 0,
        count: int = 200,
    ) -> None:
        self._space, self._price, self._allowed = space, price, allowed
        self._reference, self._seed, self._count = tuple(reference), seed, count
        self._kinds = dict(kinds or {"positive": 1.0})
        self._features = Features(space)
        self._rest = RandomSampler(seed)
        self._seen: dict[int, Seen] = {}
        self._chosen: dict[int, Choices] = {}

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
        if len(study.directions) == len(self._reference):
            self._chosen = {trial.number: self.propose(study, trial.number)}

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

    def propose(self, study: Study, number: int) -> Choices:
        """Return what the trial of that number should choose, by name.

        Args:
            study: with the trials so far; running ones are taken to come out as believed.
            number: of the trial that asks.
        """
        seen, running = self._read(study, number)
        generator = np.random.default_rng([self._seed, len(seen) + len(running)])
        tried = {one.plan for one in seen} | set(running)
        parents = [one.choices for one in self._front(seen)]

        def barred(plan: GatePlan) -> bool:
            return plan in tried or not self._allowed(plan)

        offered = offered_by(candidates(self._space, self._count, generator, parents), barred)
        for _ in range(ROUNDS):  # where little is left, it is where few gates and good parents do not lead
            if offered:
                break
            offered = offered_by(candidates(self._space, self._count, generator, evenly=True), barred)
        if not offered:
            return {}
        complete = [one for one in seen if one.minimised is not None]
        plans = list(offered)
        if len(complete) < FEWEST:
            return offered[plans[0]]
        return offered[plans[int(np.argmax(self._worth(plans, complete, running)))]]

    def _worth(self, plans: Sequence[GatePlan], complete: Sequence[Seen], running: Sequence[GatePlan]) -> Array:
        """Return the expected improvement of each plan, weighed by how likely it keeps the constraints, [m]."""
        known = self._described([one.plan for one in complete])
        errors = np.log([max(LEAST_ERROR, one.minimised[0]) for one in complete if one.minimised is not None])
        quality = Surrogate(known, errors)
        passed = PassRates(self._features, [(one.plan, one.passed) for one in complete if one.passed], self._kinds)
        asked = self._described(plans)
        costs = np.array([self._price(plan, shares) for plan, shares in zip(plans, passed(plans), strict=True)])
        front = [one.minimised for one in self._front(complete) if one.minimised is not None]
        for plan, shares in zip(running, passed(running), strict=True):
            error = float(np.exp(quality(self._described([plan]))[0][0]))
            front.append((error, *self._price(plan, shares)))
        scale = np.array(self._reference)
        worth = expected_improvement(
            LogNormal(*_shifted(quality(asked), -np.log(scale[0]))),
            costs / scale[1:],
            [tuple(np.array(point) / scale) for point in front],
            (1.0,) * len(scale),
        )
        for name in {name for one in complete for name in one.violations}:
            over = np.array([one.violations.get(name, 0.0) for one in complete])
            if (over > 0).any():
                mean, deviation = Surrogate(known, over)(asked)
                worth = worth * ndtr(-mean / np.maximum(deviation, 1e-9))
        return worth

    def _described(self, plans: Sequence[GatePlan]) -> Array:
        return np.array([self._features.of_plan(plan) for plan in plans])

    @staticmethod
    def _front(seen: Sequence[Seen]) -> list[Seen]:
        feasible = [one for one in seen if one.minimised and all(over <= 0 for over in one.violations.values())]
        kept = pareto.front([one.minimised for one in feasible if one.minimised])
        return [feasible[i] for i in kept]

    def _read(self, study: Study, number: int) -> tuple[list[Seen], list[GatePlan]]:
        """Return the finished trials, and the plans of those that are running."""
        running = []
        for trial in study.get_trials(deepcopy=False):
            if trial.number in self._seen or trial.number == number:
                continue
            found = replay(
                self._space, trial.params
            )  # None where the trial is not of this space, or has not chosen yet
            if found is None:
                continue
            if trial.state == TrialState.RUNNING:
                running.append(found[1])
            elif trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
                error, *costs = (1.0 - trial.values[0], *trial.values[1:]) if trial.values else (None,)
                self._seen[trial.number] = Seen(
                    found[1],
                    found[0],
                    None if error is None else (error, *costs),
                    trial.constraints,
                    trial.user_attrs.get(PASSED),
                )
        return [self._seen[key] for key in sorted(self._seen)], running


def _shifted(belief: tuple[Array, Array], by: float) -> tuple[Array, Array]:
    return belief[0] + by, belief[1]
