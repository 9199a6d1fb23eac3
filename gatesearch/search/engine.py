"""The engine: ask for a plan, price it, try it if its price allows, tell. Every finished trial is on disk at once.

Where trainings are halved, a plan is tried piece by piece, from rung to rung, and what came of each piece is on disk
before the next begins.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Required, TypedDict, Unpack

import optuna
from optuna.samplers import RandomSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from gatesearch.errors import UserError
from gatesearch.plan import GatePlan, Scalar
from gatesearch.search import pareto, pruner, storage
from gatesearch.search.evaluation import PREFERENCES, Evaluated, Objectives
from gatesearch.search.executors import Asked, Evaluate, Executor, Here
from gatesearch.search.rungs import Proposal, Rungs
from gatesearch.search.sampler import choice
from gatesearch.search.space import Space
from gatesearch.search.storage import STUDY, Where

optuna.logging.set_verbosity(optuna.logging.WARNING)
DIRECTIONS = (StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE, StudyDirection.MINIMIZE)
SEEN = "seen"  # user attribute of a trial: the names of those that its evaluation kept
TRIED = ("complete", "pruned")
Prices = Callable[[GatePlan], Mapping[str, float]]
FIRST = "first"  # user attribute of a trial: which of the first proposals it is


@dataclass(frozen=True, slots=True)
class Trial:
    """One proposal and what became of it.

    ``number`` counts proposals from 0; one that was cut off is not counted, so that a search that was resumed has the
    numbers of one that was not. ``state`` is ``complete`` (trained), ``pruned`` (given up half-way), ``priced_out``
    (ruled out by cost alone, never trained) or ``duplicate`` (a plan that was proposed before, not tried again).
    ``seen`` is what the evaluation kept. ``given_up`` is the epoch after which a rung gave it up; a later trial of the
    same plan went on from there.
    """

    number: int
    plan: GatePlan
    state: str
    objectives: Objectives | None
    feasible: bool
    seen: Mapping[str, Any] = field(default_factory=dict, compare=False)
    given_up: int | None = None


@dataclass(frozen=True, slots=True)
class SearchResult:
    """All trials in order, and the front of the feasible ones."""

    trials: tuple[Trial, ...]

    @property
    def complete(self) -> tuple[Trial, ...]:
        """The trials that were trained."""
        return tuple(t for t in self.trials if t.state == "complete")

    @property
    def tried(self) -> tuple[Trial, ...]:
        """The trials that were trained, or begun and given up."""
        return tuple(t for t in self.trials if t.state in TRIED)

    def epochs(self, whole: int) -> int:
        """Return the epochs of training that all trials took, where a whole training has so many."""
        last: dict[GatePlan, int] = {}
        for trial in self.tried:
            reached = whole if trial.state == "complete" else trial.given_up or 0
            last[trial.plan] = max(last.get(trial.plan, 0), reached)
        return sum(last.values())

    @property
    def front(self) -> tuple[Trial, ...]:
        """The feasible trials that no other feasible trial beats."""
        feasible = [t for t in self.complete if t.feasible and t.objectives is not None]
        kept = pareto.front([t.objectives.minimised for t in feasible if t.objectives is not None])
        return tuple(feasible[i] for i in kept)

    def ranked(self, objective: str, tolerance: float = 0.0) -> list[Trial]:
        """Return the plans to build, the best in one objective first: the feasible ones of the front.

        Of many plans that were trained briefly the best looks better than it is. So before them come those whose
        objective is so near to the best one's that their trainings do not tell them apart, the fewest gates first
        (Breiman et al. 1984, "Classification and Regression Trees", section 3.4.3, for the simplest tree within one
        standard error). A plan without gates is the best, or no rival.

        Args:
            objective: that is preferred.
            tolerance: share of the best value within which others are alike; at 0 none are.

        Raises:
            UserError: no plan keeps the constraints.
        """
        if not self.front:
            best = max((t.objectives for t in self.complete if t.objectives), key=lambda o: o.accuracy)
            raise UserError(
                f"search: none of {len(self.complete)} tried plans keeps the constraints on quality; the most accurate "
                f"reaches {best.accuracy:.3f}; relax constraints.max_accuracy_drop or raise search.trials or "
                "search.epochs"
            )
        values = {t.number: PREFERENCES[objective](t.objectives) for t in self.complete if t.feasible and t.objectives}
        ordered = sorted(self.front, key=lambda t: values[t.number])
        least = values[ordered[0].number][0]
        most = least + tolerance * abs(least)
        near = [t for t in self.complete if t.number in values and t.plan.gates and values[t.number][0] <= most]
        near = sorted(near, key=lambda t: (len(t.plan.gates), values[t.number])) if tolerance else []
        near = near if ordered[0].plan.gates else []
        return near + [t for t in ordered if t not in near]

    def hypervolume(self, reference: Objectives) -> list[float]:
        """Return the hypervolume after each complete trial, each objective as a share of the reference's."""
        corner = reference.minimised
        volumes: list[float] = []
        seen: list[list[float]] = []
        for trial in self.complete:
            if trial.feasible and trial.objectives is not None:
                seen.append([x / r for x, r in zip(trial.objectives.minimised, corner, strict=True)])
                seen = [seen[i] for i in pareto.front(seen)]
            volumes.append(pareto.hypervolume(seen, (1.0, 1.0, 1.0)))
        return volumes


class Wanted(TypedDict, total=False):
    """How long a search goes on, and who proposes.

    Args:
        trials: how many plans to try, those in the journal counted, and those that are given up half-way.
        proposals: how many to propose at most.
        seed: of the proposals; each depends on the seed and on the trials before it alone, so that a search that was
            cut off proposes what it would have proposed.
        first: what the first proposals choose; see :func:`gatesearch.search.sampler.initial.first_proposals`.
        on_trial: called after every trial, which is on disk by then.
        sampler: which sampler makes the proposal of a number; None for Optuna's TPE.
    """

    trials: Required[int]
    proposals: Required[int]
    seed: Required[int]
    first: Sequence[Mapping[str, Scalar]]
    on_trial: Callable[[Trial], None] | None
    sampler: choice.Chosen | None


def search(
    space: Space,
    price_violations: Prices,
    evaluate: Evaluate,
    *,
    journal: Where,
    study: str = STUDY,
    executor: Executor | None = None,
    halving: pruner.Halving | None = None,
    **wanted: Unpack[Wanted],
) -> SearchResult:
    """Search, or go on with the search that the journal holds.

    Args:
        space: which plans there are.
        price_violations: for each constraint that cost alone can break, by how much (positive: broken).
        evaluate: tries a plan; expensive. Where trainings are halved it is also given the epoch after which to stop,
            and goes on from where an earlier call for the same plan stopped.
        journal: Optuna journal file, or URL of a database; optuna-dashboard opens either.
        study: name of the study.
        executor: where plans are tried, by the ``evaluate`` that it was made with; None for one after the other, here.
        halving: which trainings go on at which epochs; None: all do.
        **wanted: see :class:`Wanted`.

    Raises:
        UserError: no proposal was feasible by its price, or another process drives this study.
    """
    with opened(space, price_violations, journal=journal, study=study, halving=halving, **wanted) as session:
        (executor or Here(evaluate)).drive(session)
    return session.result()


@contextmanager
def opened(
    space: Space,
    price_violations: Prices,
    *,
    journal: Where,
    study: str = STUDY,
    halving: pruner.Halving | None = None,
    **wanted: Unpack[Wanted],
) -> Iterator[Session]:
    """Open a search to ask and tell, by its only driver; the arguments are those of :func:`search`."""
    with storage.driven(journal, DIRECTIONS, Objectives._fields, study) as kept:
        finished = storage.finished(kept)
        rungs = Rungs(halving, finished, kept.user_attrs, lambda name, value: storage.note(kept, name, value, journal))
        yield Session(
            space, price_violations, lambda trial: storage.add(kept, trial, journal), finished, rungs, **wanted
        )


class Session:
    """A search under way: asks the sampler, prices what it proposes, and keeps what ends.

    Args:
        space, price_violations: as in :func:`search`.
        keep: puts a finished trial on disk.
        finished: what is on disk already, in order.
        rungs: what trainings had come to where they were judged.
        **wanted: see :class:`Wanted`.
    """

    def __init__(
        self,
        space: Space,
        price_violations: Prices,
        keep: Callable[[FrozenTrial], None],
        finished: Sequence[FrozenTrial],
        rungs: Rungs,
        **wanted: Unpack[Wanted],
    ) -> None:
        self._space, self._price_violations, self._keep, self._rungs = space, price_violations, keep, rungs
        self._trials, self._proposals, self._seed = wanted["trials"], wanted["proposals"], wanted["seed"]
        self._first, self._on_trial = wanted.get("first", ()), wanted.get("on_trial")
        self._sampler = wanted.get("sampler") or choice.build("tpe", self._seed)
        # In memory: a plan costs dozens of entries on its way, and one that was cut off is proposed again.
        self._study = optuna.create_study(study_name=STUDY, directions=list(DIRECTIONS))
        self._study.add_trials(finished)
        self.done = _read_all(self._study)
        self.running: dict[int, optuna.Trial] = {}
        self._unfinished = deque(rungs.unfinished)
        self._going_on: deque[Asked] = deque()
        self._under_way: dict[int, Asked] = {}
        self._tried: set[GatePlan] = set()
        for ended in self.done:
            self._note_tried(ended)
        self._ended_trainings = sum(trial.state in TRIED for trial in self.done)
        self._begun = {trial.user_attrs[FIRST] for trial in finished if FIRST in trial.user_attrs}

    @property
    def busy(self) -> int:
        """How many plans are being tried."""
        return len(self.running)

    def ask(self) -> Asked | None:
        """Return a plan to try, not tried before; None where none is wanted, at least until another has ended.

        A training that was found worth its next epochs comes first.
        """
        if self._going_on:
            return self._asked(self._going_on.popleft())
        while self._wants():
            trial, plan = self._propose()
            over = self._price_violations(plan)
            if plan in self._tried:
                self._leave(trial, "duplicate")
            elif any(value > 0 for value in over.values()):
                for name, value in over.items():
                    trial.set_constraint(name, value)
                trial.set_user_attr("broken", [name for name, value in over.items() if value > 0])
                self._tried.add(plan)
                self._leave(trial, "priced_out")
            else:
                self._tried.add(plan)
                self.running[trial.number] = trial
                return self._asked(Asked(trial.number, plan, self._rungs.next(plan)))
        return None

    def tell(self, number: int, found: Evaluated) -> Trial | None:
        """Keep what came of a plan; None where it was judged at a rung and goes on."""
        asked = self._under_way.pop(number)
        trial = self.running[number]
        if asked.until is not None and self._rungs.judge(
            asked.plan, asked.until, found, Proposal(trial.params, trial.user_attrs.get(FIRST))
        ):
            self._going_on.append(Asked(number, asked.plan, self._rungs.next(asked.plan)))
            return None
        for name, value in found.seen.items():
            trial.set_user_attr(name, value)
        trial.set_user_attr(SEEN, list(found.seen))
        if asked.until is not None:
            return self.prune(number)
        for name, value in found.violations.items():
            trial.set_constraint(name, value)
        trial.set_user_attr("state", "complete")
        self._rungs.end(trial, asked.plan, found)
        self._study.tell(self.running.pop(number), list(found.objectives))
        return self._ended(trial)

    def prune(self, number: int) -> Trial:
        """Keep that a plan was given up half-way."""
        trial = self.running.pop(number)
        self._under_way.pop(number, None)
        self._rungs.end(trial, GatePlan.from_json(trial.user_attrs["plan"]))
        return self._leave(trial, "pruned")

    def _asked(self, asked: Asked) -> Asked:
        self._under_way[asked.number] = asked
        return asked

    def _note_tried(self, ended: Trial) -> None:
        if ended.given_up is None:
            self._tried.add(ended.plan)
        else:  # it may be proposed again, to be trained on
            self._tried.discard(ended.plan)

    def result(self) -> SearchResult:
        """Return all that ended.

        Raises:
            UserError: nothing could be tried.
        """
        if not any(trial.state == "complete" for trial in self.done):
            frozen = self._study.get_trials(deepcopy=False)
            broken = sorted({name for t in frozen for name in t.user_attrs.get("broken", ())})
            raise UserError(
                f"search: none of {len(self._tried)} proposed plans keeps the constraints that cost alone decides"
                + (f" ({', '.join(broken)})" if broken else "")
                + "; relax constraints or take a larger device"
            )
        return SearchResult(tuple(self.done))

    def _wants(self) -> bool:
        under_way = len(self.running)
        return (
            self._ended_trainings + under_way < self._trials
            and len(self._tried) < len(self._space)
            and len(self.done) + under_way < self._proposals
        )

    def _propose(self) -> tuple[optuna.Trial, GatePlan]:
        number = len(self.done) + len(self.running)
        start = next((k for k in range(len(self._first)) if k not in self._begun), None)
        if self._unfinished:
            params, start = self._unfinished.popleft()
            self._study.sampler = choice.fixed(params, RandomSampler(0))
        elif start is not None:
            # What is left open is drawn: no sampler has to be asked for a plan that is given.
            dice = RandomSampler(hash((self._seed, number)) % 2**32)
            self._study.sampler = choice.fixed(self._first[start], dice)
        elif self.done and self.done[-1].state == "duplicate":
            sampler = self._sampler(number)
            self._study.sampler = choice.elsewhere(sampler, self._space, self._tried, self._seed, number)
        else:
            self._study.sampler = self._sampler(number)
        trial = self._study.ask()
        if start is not None:
            self._begun.add(start)
            trial.set_user_attr(FIRST, start)
        plan = self._space.propose(trial)
        trial.set_user_attr("plan", plan.to_json())
        return trial, plan

    def _leave(self, trial: optuna.Trial, state: str) -> Trial:
        # PRUNED without values keeps the sampler away from here, where FAIL would let it come back.
        trial.set_user_attr("state", state)
        self._study.tell(trial, state=TrialState.PRUNED)
        return self._ended(trial)

    def _ended(self, trial: optuna.Trial) -> Trial:
        frozen = self._study.get_trials(deepcopy=False)[trial.number]
        self._keep(frozen)
        ended = _read(len(self.done), frozen)
        self.done.append(ended)
        self._note_tried(ended)
        self._ended_trainings += ended.state in TRIED
        if self._on_trial is not None:
            self._on_trial(ended)
        return ended


def read(journal: Where, study: str = STUDY) -> SearchResult:
    """Read the trials so far, also while a search goes on; none where it had no time to begin."""
    try:
        kept = optuna.load_study(study_name=study, storage=storage.opened(journal))
    except KeyError:
        return SearchResult(())
    return SearchResult(tuple(_read_all(kept)))


def _read_all(study: optuna.Study) -> list[Trial]:
    return [_read(number, trial) for number, trial in enumerate(storage.finished(study))]


def _read(number: int, trial: FrozenTrial) -> Trial:
    state = trial.user_attrs["state"]
    given_up = max(map(int, trial.user_attrs.get(pruner.RUNGS, ())), default=None) if state == "pruned" else None
    return Trial(
        number=number,
        plan=GatePlan.from_json(trial.user_attrs["plan"]),
        state=state,
        objectives=Objectives(*trial.values) if trial.values else None,
        feasible=all(value <= 0 for value in trial.constraints.values()),
        seen={name: trial.user_attrs[name] for name in trial.user_attrs.get(SEEN, ())},
        given_up=given_up,
    )
