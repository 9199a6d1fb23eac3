"""GateSearcher, a search algorithm for Ray Tune that proposes plans of gates.

The searcher proposes whole plans and prices each plan before its trial starts. It proposes no plan twice, even while
trials run. It stores every trial in an Optuna study when the trial ends. An interrupted search continues from that
study with a new ``Tuner``. The following program searches with a trainable of the user::

    sampler = GateSampler(space, cost.run_costs, shares=cost.shares)
    settings = SearchSettings(
        journal=Path("study.journal"), trials=200, proposals=10_000, seed=0, sampler=sampler
    )
    with engine.open_session(space, price, settings) as session:
        searcher = GateSearcher(session)
        tuning = tune.TuneConfig(search_alg=searcher, num_samples=-1, max_concurrent_trials=8, reuse_actors=True)
        tune.Tuner(trainable, tune_config=tuning).fit()
        front = session.result().front

The trainable reads the plan from its config, ``GatePlan.from_json(config["plan"])``, and reports ``accuracy``,
``latency_us`` and ``energy_uj``. It also reports a number ``violations/NAME`` for each constraint: the amount by which
the plan breaks the constraint. A trial that a scheduler stops is stored as pruned. A trial that raises an error is
stored as failed, and the search continues.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gatesearch._lib import console
from gatesearch._lib.plugins import need
from gatesearch.errors import UserError
from gatesearch.search.evaluation import Evaluated, Objectives
from gatesearch.search.executors.base import Failure, ProposalSource

need("search.executor", "ray")
from ray.tune.search import Searcher  # noqa: E402 # a base class, so this module cannot be imported without Ray

VIOLATION_PREFIX = "violations/"
DETAILS_KEY = "details"  # JSON text, because Tune would flatten a mapping
WARNINGS_KEY = "warnings"  # the warnings of the process that tried the plan, as JSON text
FAILURE_KEY = "failure"  # the reason of a failure; a report has it in place of an outcome


class GateSearcher(Searcher):
    """The search algorithm (``search_alg``) that gives plans to Ray Tune and stores their outcomes.

    Args:
        session: the running search; :func:`gatesearch.search.engine.open_session` yields it.

    Raises:
        UserError: the search names no sampler.
    """

    def __init__(self, session: ProposalSource) -> None:
        super().__init__()
        if not session.has_sampler:
            raise UserError(
                "GateSearcher: the search names no sampler; SearchSettings(sampler=GateSampler(space, stage_costs))"
                " or, for one of Optuna's, sampler=build_optuna_sampler('tpe', seed)"
            )
        self._session = session
        self._numbers: dict[str, int] = {}

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles the whole experiment to restore it later. A search is resumed from its study instead, so the
        # pickle holds no session.
        return self.__dict__ | {"_session": None}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override] # as Tune documents it
        """Return the config of a trial; None while the search waits for a trial; FINISHED when the search is over."""
        proposal = self._session.ask()
        if proposal is not None:
            self._numbers[trial_id] = proposal.number
            return {"plan": proposal.plan.to_json()}
        return None if self._numbers else str(Searcher.FINISHED)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Store the outcome of a trial. Tune may report a repeated trial twice; the second report is ignored."""
        number = self._numbers.pop(trial_id, None)
        if number is None:
            return
        for line in json.loads((result or {}).get(WARNINGS_KEY, "[]")):
            console.warn(line)
        if error or result is None:
            self._session.tell(number, Failure("Ray Tune stopped it: its trainable raised or its workers died"))
        elif FAILURE_KEY in result:
            self._session.tell(number, Failure(str(result[FAILURE_KEY])))
        elif result.get("done"):
            self._session.tell(number, read_outcome(result))
        else:
            self._session.prune(number)

    def save(self, checkpoint_path: str) -> None:
        """Write a note that refers to the study; Tune calls this method at each of its snapshots."""
        Path(checkpoint_path).write_text(json.dumps({"see": "the study"}))

    def restore(self, checkpoint_path: str) -> None:
        """Refuse to restore, because the study holds more than Tune would restore.

        Raises:
            UserError: always.
        """
        raise UserError("Tuner.restore: to continue a search, make a new Tuner with the same journal")


def report_outcome(outcome: Evaluated | Failure, warnings: Sequence[str] = ()) -> dict[str, Any]:
    """Return a trainable's report to Tune: the outcome of a plan, and the warnings of the process that tried it."""
    lines = {WARNINGS_KEY: json.dumps(list(warnings))} if warnings else {}
    if isinstance(outcome, Failure):
        return {FAILURE_KEY: outcome.cause, **lines}
    violations = {f"{VIOLATION_PREFIX}{name}": excess for name, excess in outcome.violations.items()}
    return {**outcome.objectives._asdict(), **violations, DETAILS_KEY: json.dumps(dict(outcome.details)), **lines}


def read_outcome(report: dict[str, Any]) -> Evaluated:
    """Return the outcome that a trainable reported.

    Raises:
        UserError: an objective is missing.

    >>> read_outcome(report_outcome(Evaluated(Objectives(0.9, 10.0, 20.0), {"recall": -0.01}))).violations
    {'recall': -0.01}
    """
    for name in Objectives._fields:
        if name not in report:
            raise UserError(f"trainable: reports no {name!r}; a search needs {', '.join(Objectives._fields)}")
    violations = {}
    for key, value in report.items():
        if key.startswith(VIOLATION_PREFIX):
            violations[key.removeprefix(VIOLATION_PREFIX)] = float(value)
    objectives = Objectives(*(float(report[name]) for name in Objectives._fields))
    return Evaluated(objectives, violations, json.loads(report.get(DETAILS_KEY, "{}")))
