"""The engine: ask for a plan, price it, try it if its price allows, tell. Every finished trial is on disk at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.trial import FrozenTrial, TrialState

from gatesearch.errors import UserError
from gatesearch.plan import GatePlan, Scalar
from gatesearch.search import pareto, samplers
from gatesearch.search.sampler import PASSED
from gatesearch.search.space import Space

optuna.logging.set_verbosity(optuna.logging.WARNING)
STUDY = "gatesearch"
LOCK_SECONDS = 5  # a lock that is older was left by a process that is gone: entries take milliseconds


class Objectives(NamedTuple):
    """What a plan is judged by: accuracy (more is better), expected microseconds and microjoules a window."""

    accuracy: float
    latency_us: float
    energy_uj: float

    @property
    def minimised(self) -> tuple[float, float, float]:
        """The same, all to be minimised."""
        return (1.0 - self.accuracy, self.latency_us, self.energy_uj)


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A plan tried: its objectives, and by how much it breaks each constraint (zero or less: kept).

    ``passed`` is for each kind of window the share that reaches stage k, the first being 1.
    """

    objectives: Objectives
    violations: Mapping[str, float]
    passed: Mapping[str, Sequence[float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trial:
    """One proposal and what became of it.

    ``number`` counts proposals from 0; one that was cut off is not counted, so that a search that was resumed has the
    numbers of one that was not. ``state`` is ``complete`` (trained), ``priced_out`` (ruled out by cost alone, never
    trained) or ``duplicate`` (a plan that was proposed before, not tried again).
    """

    number: int
    plan: GatePlan
    state: str
    objectives: Objectives | None
    feasible: bool


@dataclass(frozen=True, slots=True)
class SearchResult:
    """All trials in order, and the front of the feasible ones."""

    trials: tuple[Trial, ...]

    @property
    def complete(self) -> tuple[Trial, ...]:
        """The trials that were trained."""
        return tuple(t for t in self.trials if t.state == "complete")

    @property
    def front(self) -> tuple[Trial, ...]:
        """The feasible trials that no other feasible trial beats."""
        feasible = [t for t in self.complete if t.feasible and t.objectives is not None]
        kept = pareto.front([t.objectives.minimised for t in feasible if t.objectives is not None])
        return tuple(feasible[i] for i in kept)

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


def search(
    space: Space,
    price_violations: Callable[[GatePlan], Mapping[str, float]],
    evaluate: Callable[[GatePlan], Evaluated],
    *,
    journal: Path,
    trials: int,
    proposals: int,
    seed: int,
    first: Sequence[Mapping[str, Scalar]] = (),
    on_trial: Callable[[Trial], None] | None = None,
    sampler: samplers.Chosen | None = None,
) -> SearchResult:
    """Search, or go on with the search that the journal holds.

    Args:
        space: which plans there are.
        price_violations: for each constraint that cost alone can break, by how much (positive: broken).
        evaluate: tries a plan; expensive.
        journal: Optuna journal file; optuna-dashboard opens it.
        trials: how many plans to try, those in the journal counted.
        proposals: how many to propose at most.
        seed: of the proposals; each depends on the seed and on the trials before it alone, so that a search that was
            cut off proposes what it would have proposed.
        first: what the first proposals choose; see :func:`gatesearch.search.start.first_proposals`.
        on_trial: called after every trial.
        sampler: which sampler makes the proposal of a number; None for Optuna's TPE.

    Raises:
        UserError: no proposal was feasible by its price.
    """
    sampler = sampler or samplers.build("tpe", seed)
    _mend(journal)
    study = optuna.create_study(
        study_name=STUDY,
        storage=_storage(journal),
        directions=["maximize", "minimize", "minimize"],
        load_if_exists=True,
    )
    with samplers.experimental():
        study.set_metric_names(list(Objectives._fields))
    for cut_off in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(cut_off.number, state=TrialState.FAIL)
    done = _read_all(study)
    tried = {trial.plan for trial in done}
    complete = sum(trial.state == "complete" for trial in done)
    while complete < trials and len(tried) < len(space) and len(done) < proposals:
        study.sampler = sampler(len(done))
        if len(done) < len(first):
            study.sampler = samplers.fixed(first[len(done)], study.sampler)
        elif done and done[-1].state == "duplicate":
            study.sampler = samplers.elsewhere(study.sampler, space, tried, seed, len(done))
        trial = study.ask()
        plan = space.propose(trial)
        trial.set_user_attr("plan", plan.to_json())
        over = price_violations(plan)
        if plan in tried:
            _leave(study, trial, "duplicate")
        elif any(value > 0 for value in over.values()):
            for name, value in over.items():
                trial.set_constraint(name, value)
            trial.set_user_attr("broken", [name for name, value in over.items() if value > 0])
            _leave(study, trial, "priced_out")
        else:
            found = evaluate(plan)
            for name, value in found.violations.items():
                trial.set_constraint(name, value)
            trial.set_user_attr("state", "complete")
            trial.set_user_attr(PASSED, {kind: list(row) for kind, row in found.passed.items()})
            study.tell(trial, list(found.objectives))
            complete += 1
        tried.add(plan)
        finished = _read(len(done), study.trials[trial.number])
        done.append(finished)
        if on_trial is not None:
            on_trial(finished)
    if not any(trial.state == "complete" for trial in done):
        broken = sorted({name for t in study.trials for name in t.user_attrs.get("broken", ())})
        raise UserError(
            f"search: none of {len(tried)} proposed plans keeps the constraints that cost alone decides"
            + (f" ({', '.join(broken)})" if broken else "")
            + "; relax constraints or take a larger device"
        )
    return SearchResult(tuple(done))


def read(journal: Path) -> SearchResult:
    """Read the trials of a journal without going on; none where the search had no time to begin."""
    try:
        study = optuna.load_study(study_name=STUDY, storage=_storage(journal))
    except KeyError:
        return SearchResult(())
    return SearchResult(tuple(_read_all(study)))


def _storage(journal: Path) -> JournalStorage:
    # Absolute, because the lock is a symbolic link to it, and one that leads nowhere is waited for without end.
    path = str(journal.absolute())
    return JournalStorage(JournalFileBackend(path, JournalFileSymlinkLock(path, grace_period=LOCK_SECONDS)))


def _mend(journal: Path) -> None:
    """Drop half an entry that a full disk or a killed process left: the next must not be glued to it."""
    if journal.exists():
        with journal.open("rb+") as file:
            file.truncate(file.read().rfind(b"\n") + 1)


def _leave(study: optuna.Study, trial: optuna.Trial, state: str) -> None:
    # PRUNED without values keeps the sampler away from here, where FAIL would let it come back.
    trial.set_user_attr("state", state)
    study.tell(trial, state=TrialState.PRUNED)


def _read_all(study: optuna.Study) -> list[Trial]:
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    return [_read(number, trial) for number, trial in enumerate(finished)]


def _read(number: int, trial: FrozenTrial) -> Trial:
    return Trial(
        number=number,
        plan=GatePlan.from_json(trial.user_attrs["plan"]),
        state=trial.user_attrs["state"],
        objectives=Objectives(*trial.values) if trial.values else None,
        feasible=all(value <= 0 for value in trial.constraints.values()),
    )
