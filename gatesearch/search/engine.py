"""The engine: ask for a plan, price it, try it if its price allows, tell. Every finished trial is on disk at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import optuna
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from gatesearch.errors import UserError
from gatesearch.plan import GatePlan
from gatesearch.search import pareto
from gatesearch.search.space import Space

optuna.logging.set_verbosity(optuna.logging.WARNING)
STUDY = "gatesearch"


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
    """A plan tried: its objectives, and by how much it breaks each constraint (zero or less: kept)."""

    objectives: Objectives
    violations: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Trial:
    """One proposal and what became of it.

    ``state`` is ``complete`` (trained), ``priced_out`` (ruled out by cost alone, never trained) or ``duplicate`` (a
    plan that was tried before, not tried again).
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
        volumes, seen = [], []
        for trial in self.complete:
            if trial.feasible and trial.objectives is not None:
                seen.append([x / r for x, r in zip(trial.objectives.minimised, corner, strict=True)])
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
    on_trial: Callable[[Trial], None] | None = None,
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
        on_trial: called after every trial.

    Raises:
        UserError: no proposal was feasible by its price.
    """
    storage = JournalStorage(JournalFileBackend(str(journal)))
    study = optuna.create_study(
        study_name=STUDY,
        storage=storage,
        directions=["maximize", "minimize", "minimize"],
        load_if_exists=True,
    )
    study.set_metric_names(["accuracy", "latency_us", "energy_uj"])
    for cut_off in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(cut_off.number, state=TrialState.FAIL)
    done = [trial for trial in map(_read, study.get_trials(deepcopy=False)) if trial is not None]
    tried = {trial.plan for trial in done}
    complete = sum(trial.state == "complete" for trial in done)
    while complete < min(trials, len(space)) and len(done) < proposals:
        study.sampler = _sampler(seed, len(done))
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
            study.tell(trial, list(found.objectives))
            complete += 1
        tried.add(plan)
        finished = _read(study.trials[trial.number])
        assert finished is not None
        done.append(finished)
        if on_trial is not None:
            on_trial(finished)
    if not any(trial.state == "complete" for trial in done):
        broken = sorted({name for t in study.trials for name in t.user_attrs.get("broken", ())})
        raise UserError(
            f"search: none of {len(done)} proposed plans keeps the constraints that cost alone decides"
            + (f" ({', '.join(broken)})" if broken else "")
            + "; relax constraints or take a larger device"
        )
    return SearchResult(tuple(done))


def read(journal: Path) -> SearchResult:
    """Read the trials of a journal without going on."""
    storage = JournalStorage(JournalFileBackend(str(journal)))
    study = optuna.load_study(study_name=STUDY, storage=storage)
    return SearchResult(tuple(t for t in map(_read, study.get_trials(deepcopy=False)) if t is not None))


def _sampler(seed: int, number: int) -> TPESampler:
    # Seeded anew for each proposal: the state of a random generator is not in the journal.
    return TPESampler(seed=hash((seed, number)) % 2**32, multivariate=True, group=True, n_startup_trials=12)


def _leave(study: optuna.Study, trial: optuna.Trial, state: str) -> None:
    # PRUNED without values keeps the sampler away from here, where FAIL would let it come back.
    trial.set_user_attr("state", state)
    study.tell(trial, state=TrialState.PRUNED)


def _read(trial: FrozenTrial) -> Trial | None:
    if "state" not in trial.user_attrs or not trial.state.is_finished() or trial.state == TrialState.FAIL:
        return None  # cut off before it ended
    constraints: Sequence[float] = list(trial.constraints.values())
    return Trial(
        number=trial.number,
        plan=GatePlan.from_dict(json.loads(trial.user_attrs["plan"])),
        state=trial.user_attrs["state"],
        objectives=Objectives(*trial.values) if trial.values else None,
        feasible=all(value <= 0 for value in constraints),
    )
