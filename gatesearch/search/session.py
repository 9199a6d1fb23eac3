"""A running search, which gets plans from the sampler, prices them and stores their outcomes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import optuna
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial, TrialState

from gatesearch._lib import console
from gatesearch.errors import UserError
from gatesearch.plan import GatePlan
from gatesearch.search.evaluation import Evaluated, find_fault
from gatesearch.search.executors.base import Failure, Proposal, describe_error, is_machine_error
from gatesearch.search.result import TRAINED_STATES, SearchResult, Trial
from gatesearch.search.sampler import choice
from gatesearch.search.sampler.gate_sampler import DIRECTIONS
from gatesearch.search.settings import SearchSettings
from gatesearch.search.space import Space
from gatesearch.search.storage import STUDY
from gatesearch.search.stored_trial import (
    BROKEN_ATTR,
    DETAILS_ATTR,
    ERROR_ATTR,
    INITIAL_ATTR,
    PLAN_ATTR,
    STATE_ATTR,
    match_params,
    read_trial,
    share_values,
    strip_claim,
)

PriceViolations = Callable[[GatePlan], Mapping[str, float]]
MIN_FAILURES = 5  # with fewer failures in a session, the search does not give up
GIVE_UP_RATIO = 3  # failures divided by complete trainings of a session; above this ratio the search gives up


class Session:
    """A running search: executors ask it for plans and tell it the outcomes.

    Args:
        space: the space of plans.
        price_violations: a function of a plan. It returns, for each constraint on latency or memory, by how much the
            plan's price breaks the constraint; a positive number means broken.
        settings: the limits of the search, its seed and its sampler.
        store: a function that writes an ended trial to the disk.
        stored: the trials that are on disk already, in order.

    Attributes:
        ended: trials that ended, in order.
        on_trial: a function that is called with every trial that ends, or None.
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
        self._sampler = choice.choose_sampler(settings.sampler, settings.seed)
        # The study is in memory, because Optuna would store dozens of entries for each trial until the trial ends. A
        # plan whose trial is interrupted is proposed again.
        self._study = optuna.create_study(study_name=STUDY, directions=list(DIRECTIONS))
        self.on_trial = settings.on_trial
        self.ended = [read_trial(number, trial) for number, trial in enumerate(stored)]
        for trial, ended in zip(stored, self.ended, strict=True):
            self._study.add_trial(share_values(match_params(trial, ended.plan, space)))
        self.running: dict[int, optuna.Trial] = {}
        self._proposed_plans = {trial.plan for trial in self.ended}
        self._trained = sum(trial.state in TRAINED_STATES for trial in self.ended)
        self._session_failures: list[str] = []  # the cause of each failure in this session
        self._session_trained = 0
        self._used_initial = {trial.user_attrs[INITIAL_ATTR] for trial in stored if INITIAL_ATTR in trial.user_attrs}

    @property
    def busy(self) -> int:
        """Number of plans that are being tried."""
        return len(self.running)

    @property
    def has_sampler(self) -> bool:
        """Whether the settings name a sampler."""
        return self._settings.sampler is not None

    def ask(self) -> Proposal | None:
        """Return an untried plan whose price keeps the constraints; None if none can be proposed until a trial ends."""
        while self._wants_proposal():
            trial, plan = self._propose()
            if plan in self._proposed_plans:
                self._end_untrained(trial, "duplicate")
                continue
            self._proposed_plans.add(plan)
            violations = self._price(plan)
            if isinstance(violations, Failure):
                self._fail(trial, violations.cause)
                continue
            broken = [name for name, excess in violations.items() if excess > 0]
            if not broken:
                self.running[trial.number] = trial
                return Proposal(trial.number, plan)
            for name, excess in violations.items():
                trial.set_constraint(name, excess)
            trial.set_user_attr(BROKEN_ATTR, broken)
            self._end_untrained(trial, "priced_out")
        return None

    def tell(self, number: int, outcome: Evaluated | Failure) -> Trial:
        """Store the outcome of a plan, or the reason of its failure."""
        trial = self.running.pop(number)
        cause = outcome.cause if isinstance(outcome, Failure) else find_fault(outcome)
        if isinstance(outcome, Failure) or cause is not None:
            return self._fail(trial, cause or "")
        for name, value in outcome.details.items():
            trial.set_user_attr(name, value)
        trial.set_user_attr(DETAILS_ATTR, list(outcome.details))
        for name, excess in outcome.violations.items():
            trial.set_constraint(name, excess)
        trial.set_user_attr(STATE_ATTR, "complete")
        self._study.tell(trial, list(outcome.objectives))
        return self._end(trial)

    def prune(self, number: int) -> Trial:
        """Store that a scheduler stopped the training of a plan."""
        return self._end_untrained(self.running.pop(number), "pruned")

    def result(self) -> SearchResult:
        """Return all trials that ended.

        Raises:
            UserError: too many plans failed, or no plan could be tried.
        """
        if self._gives_up or (self._session_failures and not self._session_trained):
            raise UserError(self._describe_failures())
        if not any(trial.state == "complete" for trial in self.ended):
            stored = self._study.get_trials(deepcopy=False)
            broken = sorted({name for trial in stored for name in trial.user_attrs.get(BROKEN_ATTR, ())})
            names = f" ({', '.join(broken)})" if broken else ""
            raise UserError(
                f"search: none of {len(self._proposed_plans)} proposed plans keeps the constraints on price"
                f"{names}; relax constraints or take a larger device"
            )
        return SearchResult(tuple(self.ended))

    def _wants_proposal(self) -> bool:
        return (
            not self._gives_up
            and self._trained + self.busy < self._settings.trials
            and len(self._proposed_plans) < len(self._space)
            and len(self.ended) + self.busy < self._settings.proposals
        )

    def _propose(self) -> tuple[optuna.Trial, GatePlan]:
        """Return the next trial and its plan.

        Initial proposals come first. After a duplicate, the next plan is drawn at random from untried plans.
        """
        number = len(self.ended) + self.busy
        initial, seed = self._settings.initial, self._settings.seed
        index = next((k for k in range(len(initial)) if k not in self._used_initial), None)
        if index is not None:
            # Parameters that an initial proposal leaves open are drawn at random.
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

    @property
    def _gives_up(self) -> bool:
        """Whether so many plans of this session failed that the plans themselves cannot be the cause."""
        failures = len(self._session_failures)
        return failures >= MIN_FAILURES and failures > GIVE_UP_RATIO * self._session_trained

    def _describe_failures(self) -> str:
        failures, total = len(self._session_failures), len(self._session_failures) + self._session_trained
        [(cause, count)] = Counter(self._session_failures).most_common(1)
        alike = "" if count == failures else f", {count} of them alike"
        return f"search: {failures} of {total} plans failed{alike}: {cause}"

    def _price(self, plan: GatePlan) -> Mapping[str, float] | Failure:
        """Return by how much a plan's price breaks each constraint on cost, or a failure to compute the price."""
        try:
            violations = self._price_violations(plan)
        except Exception as error:
            if is_machine_error(error):
                raise
            return Failure(f"its price: {describe_error(error)}")
        undefined = [name for name, excess in violations.items() if math.isnan(excess)]
        return Failure(f"its price: {undefined[0]} is nan") if undefined else violations

    def _fail(self, trial: optuna.Trial, cause: str) -> Trial:
        trial.set_user_attr(STATE_ATTR, "failed")
        trial.set_user_attr(ERROR_ATTR, cause)
        self._study.tell(trial, state=TrialState.FAIL)
        ended = self._end(trial)
        self._session_failures.append(cause)
        console.warn(f"search: trial {ended.number}, plan {ended.plan.digest}, failed: {cause}")
        return ended

    def _end_untrained(self, trial: optuna.Trial, state: str) -> Trial:
        # The trial becomes PRUNED without values, because samplers avoid its plan then. If it became FAIL, they would
        # propose the plan again.
        trial.set_user_attr(STATE_ATTR, state)
        self._study.tell(trial, state=TrialState.PRUNED)
        return self._end(trial)

    def _end(self, trial: optuna.Trial) -> Trial:
        stored = self._study.get_trials(deepcopy=False)[trial.number]
        self._store(strip_claim(stored))
        ended = read_trial(len(self.ended), stored)
        self.ended.append(ended)
        self._trained += ended.state in TRAINED_STATES
        self._session_trained += ended.state in TRAINED_STATES
        if self.on_trial is not None:
            self.on_trial(ended)
        return ended
