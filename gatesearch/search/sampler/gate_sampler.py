"""GateSampler, an Optuna sampler that predicts quality and costs of plans from their gates.

A generic sampler sees parameter names and choices. GateSampler sees plans. From the positions and strengths of gates it
predicts a plan's quality and the share of windows that each gate passes. Costs follow from these shares. Among its
candidates the sampler proposes the plan that is expected to raise the hypervolume most under the constraints.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any
from weakref import WeakKeyDictionary

from optuna import Study
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from gatesearch.errors import UserError
from gatesearch.plan import GatePlan, Scalar
from gatesearch.search.sampler.combinations import MAX_CACHED, Combination, Combinations, StageCosts
from gatesearch.search.sampler.history import FIXED_PARAMS, PLAN_CLAIM, History, read_claim
from gatesearch.search.sampler.initial import simplest_gates
from gatesearch.search.sampler.neighbours import Candidates
from gatesearch.search.sampler.posterior import FitCaches, Posterior
from gatesearch.search.sampler.scoring import MIN_COMBINATIONS, score_plans
from gatesearch.search.slots import Gates
from gatesearch.search.space import Space

DIRECTIONS = (StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE, StudyDirection.MINIMIZE)
MAX_ROUNDS = 50  # most rounds of candidates for a proposal; another round follows if all plans were tried already
MAX_CLAIMS = 8  # most claims of plans for a trial; another claim follows if two processes claim one plan


def allow_every_plan(plan: GatePlan) -> bool:
    """Return True for every plan: the default of :class:`GateSampler`, which excludes no plan."""
    return True


class GateSampler(BaseSampler):
    """Proposes the plans of a space in a study that maximises accuracy and minimises two costs.

    The objective function lets the space propose a plan. It may report, for each kind of window, the share that reaches
    each stage::

        sampler = GateSampler(space, cost.run_costs, shares={"positive": 0.1, "silence": 0.9})
        study = optuna.create_study(directions=["maximize", "minimize", "minimize"], sampler=sampler)

        def objective(trial):
            plan = space.propose(trial)
            ...
            trial.set_user_attr("passed", {"positive": [1.0, 0.99], "silence": [1.0, 0.02]})
            return accuracy, latency_us, energy_uj

    After the initial gates the sampler proposes the cheapest plan of
    :func:`gatesearch.search.sampler.initial.simplest_gates`. It proposes more of these plans as long as no plan keeps
    the constraints. If trainings are short and a constraint is tight, few plans keep the constraint, most likely the
    simplest ones. This order was compared with a random second plan, on synthetic tables in which the plan without
    gates breaks the constraint. After 10 evaluations, searches with this order reach 0.55 to 0.72 of the hypervolume
    (means), and searches with a random second plan reach 0.39 to 0.49.

    A parameter that does not belong to the space is drawn at random. Once every allowed plan was tried, plans are drawn
    at random, too. Proposals depend only on the seed and on the trials so far, so an interrupted study continues like
    an uninterrupted one. Threads, batches and processes that share a storage may ask at the same time. The sampler
    proposes no plan whose trial ended, failed, is running or waits in the queue. ``study.enqueue_trial`` can fix some
    parameters of a trial. Such a trial gets the best plan with these parameters.

    Args:
        space: the space of plans.
        stage_costs: a function that returns the two costs of each stage of a plan; see
            :meth:`gatesearch.cost.model.CostModel.run_costs` and
            :class:`gatesearch.search.sampler.combinations.Combinations`.
        shares: the share of each kind of window in the stream.
        prior_rates: for each kind of window, the share that a gate passes, for use until a gate has been observed.
        reference: corner of the hypervolume, as error (1 - accuracy) and two costs; None: a corner a little beyond the
            predicted front.
        allowed: a function that returns whether the costs of a plan keep the constraints on cost.
        initial: gates of the first proposals, each on the cores where they cost least.
        seed: the seed of all random choices.
        candidates: number of combinations of gates to choose among for each proposal, each on every choice of cores.
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
        self._candidates, self._combinations = Candidates(space), Combinations(space, stage_costs)
        self._random = RandomSampler(seed)
        self._is_allowed: dict[GatePlan, bool] = {}
        self._start()

    def _start(self) -> None:
        """Create the state that a pickle omits: the lock, and values that can be loaded from the studies again."""
        self._studies: WeakKeyDictionary[BaseStorage, dict[int, _StudyState]] = WeakKeyDictionary()
        self._lock = threading.RLock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_lock", "_studies")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return no parameters: they depend on the plan, which :meth:`before_trial` chooses."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return no values, because :meth:`before_trial` chooses the plan."""
        return {}

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Choose the plan of a trial."""
        if tuple(study.directions) == DIRECTIONS:
            with self._lock:
                self._assign(study, trial, trial.system_attrs.get(FIXED_PARAMS, {}))

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Forget the proposal of a trial that ended, because the study holds it now."""
        with self._lock:
            self._state(study).params.pop(trial.number, None)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return the value that a parameter has in the chosen plan.

        Raises:
            UserError: the study has other directions, or the objective uses a parameter name of the space for a
                parameter of its own.
        """
        with self._lock:
            if param_name in self._space.param_names:
                _check_parameter(study, param_name, param_distribution)
                params = self._params(study, trial, param_name)
                if param_name in params and params[param_name] in param_distribution.choices:  # type: ignore[attr-defined]
                    return params[param_name]
            return self._random.sample_independent(study, trial, param_name, param_distribution)

    def reseed_rng(self) -> None:
        """Give this copy of the sampler its own random draws, for parameters that do not belong to the space."""
        self._random.reseed_rng()

    def propose(
        self, study: Study, number: int, fixed: Mapping[str, Any] | None = None, rank: int = 0
    ) -> GatePlan | None:
        """Return the plan that a trial should try; None where every allowed plan was tried.

        Args:
            study: the study of the trial.
            number: the number of the trial.
            fixed: parameters that the plan has to have.
            rank: 0 for the best plan, 1 for the second, and so on.
        """
        state = self._state(study)
        history = state.history
        under_way = history.read(study, number)
        if len(history.plans) >= len(self._space):
            return None
        generator = Random(self._seed * 1_000_003 + history.count + len(under_way))
        stages = self._space.max_gates + 1
        posterior = Posterior(history, self._combinations, stages, self._shares, self._prior_rates, state.fits)
        running = [self._place(plan) for plan in under_way]
        tried = history.plans.union(under_way) if under_way else history.plans
        candidates, in_order = self._choose_candidates(history, under_way, posterior, generator)
        for _ in range(MAX_ROUNDS):
            scored = score_plans(
                candidates, posterior, history.front, running, reference=self._reference, in_order=in_order
            )
            for plan in scored.best_first():
                if plan not in tried and self._allows(plan) and (not fixed or self._agrees(plan, fixed)):
                    if rank == 0:
                        return plan
                    rank -= 1
            # No plan of the round can be proposed. The few untried plans have many gates, and are no neighbours of good
            # plans. So the next round draws from all plans with equal probabilities.
            drawn, in_order = dict.fromkeys(self._candidates.draw_evenly(self._count, generator)), True
            candidates = self._combinations.lookup_many(list(drawn))
        return None

    def _choose_candidates(
        self, history: History, under_way: Sequence[GatePlan], posterior: Posterior, generator: Random
    ) -> tuple[list[Combination], bool]:
        """Return the candidates, and whether earlier ones rank higher while too few trials allow predictions."""
        lookup = self._combinations.lookup
        tried = history.gates.union(plan.gates for plan in under_way)
        initial = [gates for gates in self._initial if gates not in tried]
        if initial:
            return [lookup(initial[0])], True
        parents = [one.plan.gates for one in history.front]
        if posterior.count < MIN_COMBINATIONS or not parents:
            simplest = [lookup(gates) for gates in self._simplest if gates not in tried]
            simplest = [one for one in simplest if any(map(self._allows, one.plans))]
            if simplest:
                return simplest, False
        drawn = self._candidates.draw_many(self._count, generator, parents)
        # Gates that were tried are candidates, too: their quality is observed, and other cores may cost less.
        return list(dict.fromkeys([*self._combinations.lookup_many(list(drawn)), *posterior.observed])), True

    def _assign(self, study: Study, trial: FrozenTrial, fixed: Mapping[str, Any]) -> dict[str, Scalar]:
        """Choose the plan of a trial, and write a claim of this plan into the study's storage for other processes.

        Two processes may choose the same plan at the same time. Each process writes its claim, then reads all claims.
        It chooses again if another process claims the same plan. The process that writes last reads both claims, so at
        least one process chooses again.
        """
        fixed = {name: value for name, value in fixed.items() if name in self._space.param_names}
        state, plan = self._state(study), self._space.read(fixed) if fixed else None
        if plan is None:
            for attempt in range(MAX_CLAIMS):
                # After a collision, trials choose plans of different ranks; otherwise they would collide again.
                plan = self.propose(study, trial.number, fixed, rank=trial.number % (attempt + 1))
                if plan is None:
                    break
                study._storage.set_trial_system_attr(trial._trial_id, PLAN_CLAIM, plan.to_json())
                under_way = state.history.read(study, trial.number)
                if plan not in under_way and plan not in state.history.plans:
                    break
        params = state.params[trial.number] = {} if plan is None else self._space.describe(plan)
        return params

    def _params(self, study: Study, trial: FrozenTrial, name: str) -> dict[str, Scalar]:
        """Return the parameters of a trial's plan; choose another plan where the trial already has other values."""
        params = self._state(study).params.get(trial.number)
        if params is None:  # a copy of this sampler in another process chose the plan
            plan = read_claim(trial)
            params = None if plan is None else self._space.describe(plan)
        settled = {key: value for key, value in trial.params.items() if key in self._space.param_names}
        agrees = params is not None and all(params.get(key) == value for key, value in settled.items())
        if params is None or (params and not (name in params and agrees)):
            return self._assign(study, trial, settled)
        return params

    def _state(self, study: Study) -> _StudyState:
        studies = self._studies.setdefault(study._storage, {})
        if study._study_id not in studies:
            studies[study._study_id] = _StudyState(History(self._space, tuple(self._shares)))
        return studies[study._study_id]

    def _place(self, plan: GatePlan) -> tuple[Combination, int]:
        """Return a plan's combination of gates, and the index of the plan in the combination."""
        combination = self._combinations.lookup(plan.gates)
        return combination, combination.plans.index(plan)

    def _allows(self, plan: GatePlan) -> bool:
        """Return whether a plan keeps the constraints on cost; the result is cached, because pricing takes long."""
        if plan not in self._is_allowed:
            if len(self._is_allowed) >= MAX_CACHED:
                self._is_allowed.clear()
            self._is_allowed[plan] = self._allowed(plan)
        return self._is_allowed[plan]

    def _agrees(self, plan: GatePlan, fixed: Mapping[str, Any]) -> bool:
        params = self._space.describe(plan)
        return all(params.get(name) == value for name, value in fixed.items())


@dataclass
class _StudyState:
    """The values that a sampler holds for a study between proposals; all can be loaded from the study again.

    Args:
        history: the trials of the study.
        params: for each trial that this process runs, by number, the parameters of its plan.
        fits: hyperparameters of earlier posteriors.
    """

    history: History
    params: dict[int, dict[str, Scalar]] = field(default_factory=dict)
    fits: FitCaches = field(default_factory=FitCaches)


def _check_parameter(study: Study, name: str, distribution: BaseDistribution) -> None:
    """Refuse a study or a parameter for which the sampler cannot choose a plan.

    Raises:
        UserError: the study has other directions, or the parameter is not categorical.
    """
    if tuple(study.directions) != DIRECTIONS:
        directions = ", ".join(direction.name.lower() for direction in study.directions)
        raise UserError(
            f"GateSampler: the study's directions are [{directions}]; plans are searched with "
            "[maximize, minimize, minimize]: accuracy, then two costs"
        )
    if not isinstance(distribution, CategoricalDistribution):
        raise UserError(f"GateSampler: {name!r} is a parameter of plans; the objective suggests its own by that name")
