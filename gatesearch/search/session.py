"""A search under way: asks the sampler for plans, prices them, and keeps the outcomes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import optuna
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial, TrialState

from gatesearch.errors import UserError
from gatesearch.plan import GatePlan
from gatesearch.search.evaluation import Evaluated
from gatesearch.search.executors import Proposal
from gatesearch.search.result import TRAINED_STATES, SearchResult, Trial
from gatesearch.search.sampler import choice
from gatesearch.search.sampler.gate_sampler import DIRECTIONS
from gatesearch.search.settings import SearchSettings
from gatesearch.search.space import Space
from gatesearch.search.storage import STUDY
from gatesearch.search.stored_trial import (
    BROKEN_ATTR,
    DETAILS_ATTR,
    INITIAL_ATTR,
    PLAN_ATTR,
    STATE_ATTR,
    match_params,
    read_trial,
    share_values,
)

PriceViolations = Callable[[GatePlan], Mapping[str, float]]


class Session:
    """A search under way.

    Args:
        space: of plans.
        price_violations: for each constraint that cost alone can break, by how much (positive: broken).
        settings: see :class:`gatesearch.search.settings.SearchSettings`.
        store: puts a trial that ended on disk.
        stored: the trials that are on disk already, in order.
    """

    def __init__(
        self,
        space: Space,
        price_violations: PriceViolations,
        settings: SearchSettings,
        *,
        store: Callable[[FrozenTrial], None],
        stored: Sequence[FrozenTrial],
    ) -> None:
        self._space, self._price_violations, self._settings, self._store = space, price_violations, settings, store
        self._sampler = settings.sampler or choice.build_optuna_sampler("tpe", settings.seed)
        # In memory: a plan takes dozens of entries until it ends, and one that is cut off is proposed again.
        self._study = optuna.create_study(study_name=STUDY, directions=list(DIRECTIONS))
        self._study.add_trials([share_values(match_params(trial, space)) for trial in stored])
        self.ended = [read_trial(number, trial) for number, trial in enumerate(stored)]
        self.running: dict[int, optuna.Trial] = {}
        self._proposed_plans = {trial.plan for trial in self.ended}
        self._trained = sum(trial.state in TRAINED_STATES for trial in self.ended)
        self._used_initial = {trial.user_attrs[INITIAL_ATTR] for trial in stored if INITIAL_ATTR in trial.user_attrs}

    @property
    def busy(self) -> int:
        """How many plans are being tried."""
        return len(self.running)

    def ask(self) -> Proposal | None:
        """Return a plan to try that was not tried before; None if there is none until another trial ends."""
        while self._wants_proposal():
            trial, plan = self._propose()
            violations = self._price_violations(plan)
            if plan in self._proposed_plans:
                self._end_untrained(trial, "duplicate")
                continue
            self._proposed_plans.add(plan)
            broken = [name for name, excess in violations.items() if excess > 0]
            if not broken:
                self.running[trial.number] = trial
                return Proposal(trial.number, plan)
            for name, excess in violations.items():
                trial.set_constraint(name, excess)
            trial.set_user_attr(BROKEN_ATTR, broken)
            self._end_untrained(trial, "priced_out")
        return None

    def tell(self, number: int, outcome: Evaluated) -> Trial:
        """Keep the outcome of a plan."""
        trial = self.running.pop(number)
        for name, value in outcome.details.items():
            trial.set_user_attr(name, value)
        trial.set_user_attr(DETAILS_ATTR, list(outcome.details))
        for name, excess in outcome.violations.items():
            trial.set_constraint(name, excess)
        trial.set_user_attr(STATE_ATTR, "complete")
        self._study.tell(trial, list(outcome.objectives))
        return self._end(trial)

    def prune(self, number: int) -> Trial:
        """Keep that the training of a plan was stopped."""
        return self._end_untrained(self.running.pop(number), "pruned")

    def result(self) -> SearchResult:
        """Return all trials that ended.

        Raises:
            UserError: no plan could be tried.
        """
        if not any(trial.state == "complete" for trial in self.ended):
            stored = self._study.get_trials(deepcopy=False)
            broken = sorted({name for trial in stored for name in trial.user_attrs.get(BROKEN_ATTR, ())})
            names = f" ({', '.join(broken)})" if broken else ""
            raise UserError(
                f"search: none of {len(self._proposed_plans)} proposed plans keeps the constraints that cost alone "
                f"decides{names}; relax constraints or take a larger device"
            )
        return SearchResult(tuple(self.ended))

    def _wants_proposal(self) -> bool:
        return (
            self._trained + self.busy < self._settings.trials
            and len(self._proposed_plans) < len(self._space)
            and len(self.ended) + self.busy < self._settings.proposals
        )

    def _propose(self) -> tuple[optuna.Trial, GatePlan]:
        number = len(self.ended) + self.busy
        initial, seed = self._settings.initial, self._settings.seed
        index = next((k for k in range(len(initial)) if k not in self._used_initial), None)
        if index is not None:
            # The parameters that an initial proposal leaves open are drawn.
            random = RandomSampler(hash((seed, number)) % 2**32)
            self._study.sampler = choice.fix_params(initial[index], random)
        elif self.ended and self.ended[-1].state == "duplicate":
            sampler = self._sampler(number)
            self._study.sampler = choice.avoid_repeats(sampler, self._space, self._proposed_plans, seed, number)
        else:
            self._study.sampler = self._sampler(number)
        trial = self._study.ask()
        if index is not None:
            self._used_initial.add(index)
            trial.set_user_attr(INITIAL_ATTR, index)
        plan = self._space.propose(trial)
        trial.set_user_attr(PLAN_ATTR, plan.to_json())
        return trial, plan

    def _end_untrained(self, trial: optuna.Trial, state: str) -> Trial:
        # PRUNED without values teaches samplers to stay away, where FAIL would let them come back.
        trial.set_user_attr(STATE_ATTR, state)
        self._study.tell(trial, state=TrialState.PRUNED)
        return self._end(trial)

    def _end(self, trial: optuna.Trial) -> Trial:
        stored = self._study.get_trials(deepcopy=False)[trial.number]
        self._store(stored)
        ended = read_trial(len(self.ended), stored)
        self.ended.append(ended)
        self._trained += ended.state in TRAINED_STATES
        if self._settings.on_trial is not None:
            self._settings.on_trial(ended)
        return ended
