"""GateSampler: an Optuna sampler for plans.

Generic samplers see names and choices. This one sees plans: where gates stand and how strong they are tell something of
quality and of the share of windows that they let through; costs follow from that share; and of all candidates it
proposes the plan that is expected to raise the hypervolume most under the constraints.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from gatesearch.errors import UserError
from gatesearch.plan import GatePlan, Scalar
from gatesearch.search.sampler.encoding import PlanEncoder
from gatesearch.search.sampler.history import EndedTrial, History, feasible_front
from gatesearch.search.sampler.initial import simplest_gates
from gatesearch.search.sampler.neighbours import Candidates
from gatesearch.search.sampler.plan_costs import PlanCosts, StageCosts
from gatesearch.search.sampler.posterior import Observation, Posterior, PosteriorCache
from gatesearch.search.sampler.scoring import MIN_COMBINATIONS, score_plans
from gatesearch.search.slots import Gates
from gatesearch.search.space import Space

DIRECTIONS = (StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE, StudyDirection.MINIMIZE)
MAX_ROUNDS = 50  # of candidates, where all plans of a round were tried before


def allow_every_plan(plan: GatePlan) -> bool:
    """Allow a plan."""
    return True


class GateSampler(BaseSampler):
    """Proposes the plans of a space in a study that maximises accuracy and minimises two costs.

    The objective lets the space choose, and may report what the gates let through::

        sampler = GateSampler(space, cost.runs, shares={"positive": 0.1, "silence": 0.9})
        study = optuna.create_study(directions=["maximize", "minimize", "minimize"], sampler=sampler)

        def objective(trial):
            plan = space.propose(trial)
            ...
            trial.set_user_attr("passed", {"positive": [1.0, 0.99], "silence": [1.0, 0.02]})
            return accuracy, latency_us, energy_uj

    After the initial gates it tries a gentle gate, where that costs least, and more of
    :func:`gatesearch.search.sampler.initial.simplest_gates` while no plan keeps the constraints: few plans do where
    training is short and the constraint tight, and those are the likeliest. On synthetic tables in which the plan
    without gates breaks the constraint, it has .55 to .72 of the hypervolume after 10 evaluations so (means), and .39
    to .49 where the second plan is drawn.

    Parameters that are not the space's are drawn at random, and so are plans once every allowed one was tried.
    Proposals depend on the seed and on the trials so far alone, so that a study that was cut off goes on as if it had
    not been. Threads and batches may ask at the same time: plans that are being tried are not proposed again.

    Args:
        space: of plans.
        stage_costs: what the two costs of a plan are made of; see
            :class:`gatesearch.search.sampler.plan_costs.PlanCosts` and :meth:`gatesearch.cost.model.CostModel.runs`.
        shares: of each kind of window in the stream.
        prior_rates: for each kind, the share that a gate lets through while nothing is known of it.
        reference: error (1 - accuracy) and costs up to which volume counts; None: a little beyond the predicted front.
        allowed: whether a plan may be proposed at all, as far as its costs alone decide.
        initial: gates to begin with, on the cores that cost least.
        seed: of all random choices.
        candidates: combinations of gates to choose among for each proposal, each on all cores.
    """

    def __init__(
        self,
        space: Space,
        stage_costs: StageCosts,
        *,
        shares: Mapping[str, float] | None = None,
        prior_rates: Mapping[str, float] | None = None,
        reference: Sequence[float] | None = None,
        allowed: Callable[[GatePlan], bool] = allow_every_plan,
        initial: Sequence[Gates] = (),
        seed: int = 0,
        candidates: int = 100,
    ) -> None:
        self._space, self._allowed, self._reference = space, allowed, reference
        self._seed, self._count = seed, candidates
        self._shares = dict(shares or {"positive": 1.0})
        self._prior_rates = {kind: 1.0 if kind == "positive" else 0.5 for kind in self._shares} | dict(
            prior_rates or {}
        )
        self._initial, self._simplest = tuple(initial), simplest_gates(space)
        self._encoder, self._candidates, self._cache = PlanEncoder(space), Candidates(space), PosteriorCache()
        self._costs = PlanCosts(space, stage_costs)
        self._random = RandomSampler(seed)
        self._histories: dict[str, History] = {}  # by name of the study
        self._params: dict[tuple[str, int], dict[str, Scalar]] = {}  # of proposals under way, by study and trial
        self._lock = threading.RLock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.RLock())

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return nothing: which parameters there are depends on the plan, which is chosen before."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return nothing; see :meth:`before_trial`."""
        return {}

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Choose the plan of a trial."""
        if tuple(study.directions) != DIRECTIONS:
            return
        with self._lock:
            plan = self.propose(study, trial.number)
            if plan is not None:
                self._history(study).proposals[trial.number] = plan
                self._params[study.study_name, trial.number] = self._space.describe(plan)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Forget the proposal: from here on the study has it."""
        with self._lock:
            self._history(study).proposals.pop(trial.number, None)
            self._params.pop((study.study_name, trial.number), None)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return a parameter of the chosen plan.

        Raises:
            UserError: the study has other directions, and the parameter is the space's.
        """
        if param_name in self._space.param_names and tuple(study.directions) != DIRECTIONS:
            directions = ", ".join(direction.name.lower() for direction in study.directions)
            raise UserError(
                f"GateSampler: the study's directions are [{directions}]; plans are searched with "
                "[maximize, minimize, minimize]: accuracy, then two costs"
            )
        params = self._params.get((study.study_name, trial.number), {})
        choices = param_distribution.choices if isinstance(param_distribution, CategoricalDistribution) else ()
        if param_name in params and params[param_name] in choices:
            return params[param_name]
        with self._lock:
            return self._random.sample_independent(study, trial, param_name, param_distribution)

    def reseed_rng(self) -> None:
        """Draw foreign parameters otherwise than copies of this sampler in other threads do."""
        self._random.reseed_rng()

    def propose(self, study: Study, number: int) -> GatePlan | None:
        """Return the plan that the trial of that number should try; None where every allowed plan was tried."""
        ended, running = self._history(study).read(study, number)
        generator = Random(self._seed * 1_000_003 + len(ended) + len(running))
        observations = [
            Observation(gates=one.plan.gates, error=one.minimised[0], violations=one.violations, reached=one.reached)
            for one in ended
            if one.minimised
        ]
        stages = self._space.max_gates + 1
        posterior = Posterior(self._encoder, stages, observations, self._shares, self._prior_rates, self._cache)
        tried_plans = {one.plan for one in ended} | set(running)
        candidates, in_order = self._choose_candidates(ended, running, posterior, generator)
        for _ in range(MAX_ROUNDS):
            scored = score_plans(
                candidates, self._costs, posterior, ended, running, reference=self._reference, in_order=in_order
            )
            for plan in scored.best_first(candidates):
                if plan not in tried_plans and self._allowed(plan):
                    return plan
            # Where few plans are left, they are those that neither few gates nor good parents lead to.
            candidates, in_order = list(dict.fromkeys(self._candidates.draw_evenly(self._count, generator))), True
        return None

    def _choose_candidates(
        self, ended: Sequence[EndedTrial], running: Sequence[GatePlan], posterior: Posterior, generator: Random
    ) -> tuple[list[Gates], bool]:
        """Return the gates to choose among, and whether earlier ones come first while nothing can be predicted."""
        tried = {one.plan.gates for one in ended} | {plan.gates for plan in running}
        initial = [gates for gates in self._initial if gates not in tried]
        if initial:
            return initial[:1], True
        parents = [one.plan.gates for one in feasible_front(ended)]
        if posterior.combinations < MIN_COMBINATIONS or not parents:
            simplest = [gates for gates in self._simplest if gates not in tried and self._is_allowed(gates)]
            if simplest:
                return simplest, False
        drawn = self._candidates.draw_many(self._count, generator, parents)
        # Gates that were tried may be worth trying on other cores: their quality is known.
        trained = [one.plan.gates for one in ended if one.minimised]
        return list(dict.fromkeys([*drawn, *trained])), True

    def _is_allowed(self, gates: Gates) -> bool:
        return any(self._allowed(GatePlan(gates, cores)) for cores in self._costs.core_choices(gates))

    def _history(self, study: Study) -> History:
        return self._histories.setdefault(study.study_name, History(self._space))
