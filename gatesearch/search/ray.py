"""GateSearcher: a search of gates for Ray Tune, with or without the rest of gatesearch.

It proposes whole plans, prices them before anything runs, proposes none twice whatever is running, and keeps every
finished trial in a study of Optuna's as it ends: a run that was cut off goes on from there, with a new ``Tuner``::

    with engine.opened(space, price, journal=Path("study.journal"), trials=200, proposals=10_000, seed=0) as session:
        searcher = GateSearcher(session)
        tuning = tune.TuneConfig(search_alg=searcher, num_samples=-1, max_concurrent_trials=8, reuse_actors=True)
        tune.Tuner(trainable, tune_config=tuning).fit()
        front = session.result().front

The trainable finds the plan in its config, ``GatePlan.from_json(config["plan"])``, and reports ``accuracy``,
``latency_us`` and ``energy_uj``, and each constraint's excess as ``violations/NAME`` where there are constraints. A
trial that a scheduler stops is kept as pruned, not as complete.

In a session with ``halving`` a trial of Tune's is a training up to the epoch ``config["until"]``, to the end where that
is not given. The session decides which trainings go on, and the same plan comes again, to be trained on.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gatesearch._lib.plugins import need
from gatesearch.errors import UserError
from gatesearch.search.evaluation import Evaluated, Objectives
from gatesearch.search.executors.base import Asking

need("search.executor", "ray")
from ray.tune.search import Searcher  # noqa: E402 # the base class of GateSearcher: this module is the extra's own

VIOLATIONS = "violations/"
UNTIL = "until"
SEEN = "seen"  # as JSON, which Tune leaves as it is


class GateSearcher(Searcher):
    """Hands the plans of a search to Ray Tune.

    Args:
        session: an open search, as of :func:`gatesearch.search.engine.opened`.
    """

    def __init__(self, session: Asking) -> None:
        super().__init__()
        self._session = session
        self._numbers: dict[str, int] = {}
        self.failed: list[str] = []  # trials that Tune gave up, whose plans are proposed again by the next session

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles the whole experiment, to go on with it; we go on with the study.
        return self.__dict__ | {"_session": None}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override] # as documented there
        """Return the config of a trial, None where the search waits for one, FINISHED at its end."""
        asked = None if self.failed else self._session.ask()
        if asked is not None:
            self._numbers[trial_id] = asked.number
            return {"plan": asked.plan.to_json()} | ({} if asked.until is None else {UNTIL: asked.until})
        return None if self._numbers else str(Searcher.FINISHED)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Keep what came of a trial, once: Tune may tell of one that it tried twice."""
        number = self._numbers.pop(trial_id, None)
        if number is None:
            return
        if error or result is None:
            self.failed.append(trial_id)
        elif result.get("done"):
            self._session.tell(number, evaluated(result))
        else:
            self._session.prune(number)

    def save(self, checkpoint_path: str) -> None:
        """Note that the study has it all: Tune asks at every snapshot of its own."""
        Path(checkpoint_path).write_text(json.dumps({"see": "the study"}))

    def restore(self, checkpoint_path: str) -> None:
        """Refuse: what Tune would bring back knows less than the study does.

        Raises:
            UserError: always.
        """
        raise UserError("Tuner.restore: a search of gates goes on with a new Tuner and the journal that it had")


def reported(found: Evaluated) -> dict[str, Any]:
    """Return what a trainable reports."""
    over = {f"{VIOLATIONS}{name}": value for name, value in found.violations.items()}
    return {**found.objectives._asdict(), **over, SEEN: json.dumps(dict(found.seen))}  # Tune would flatten a mapping


def evaluated(result: dict[str, Any]) -> Evaluated:
    """Read what a trainable reported.

    Raises:
        UserError: an objective is missing.

    >>> evaluated(reported(Evaluated(Objectives(0.9, 10.0, 20.0), {"recall": -0.01}))).violations
    {'recall': -0.01}
    """
    for name in Objectives._fields:
        if name not in result:
            raise UserError(f"trainable: reports no {name!r}; a search wants {', '.join(Objectives._fields)}")
    over = {k.removeprefix(VIOLATIONS): float(v) for k, v in result.items() if k.startswith(VIOLATIONS)}
    seen = json.loads(result.get(SEEN, "{}"))
    return Evaluated(Objectives(*(float(result[name]) for name in Objectives._fields)), over, seen)
