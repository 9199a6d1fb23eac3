"""Searches whose trainings are halved: what is kept, what is asked for, and that a cut changes nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest
from small_spaces import small

from gatesearch.plan import GatePlan
from gatesearch.search import Evaluated, Objectives, SearchResult, engine, search
from gatesearch.search.executors.local import Local
from gatesearch.search.pruner import RUNGS, Halving
from gatesearch.search.sampler.gate_sampler import GateSampler

RULE = Halving(first=1, reduction=3, epochs=9, tau=0)


def number(plan: GatePlan, modulus: int) -> int:
    return int(plan.digest, 16) % modulus


def price(plan: GatePlan) -> dict[str, float]:
    return {"npu.sram": number(plan, 4) - 2.5}


class Evaluate:
    """A cheap training: errors fall to their end, of some plans late; notes what was asked, and raises at a call."""

    def __init__(self, at: int | None = None) -> None:
        self.at = at
        self.asked: list[tuple[GatePlan, int | None]] = []

    def __call__(self, plan: GatePlan, until: int | None = None) -> Evaluated:
        self.asked.append((plan, until))
        if len(self.asked) == self.at:
            raise KeyboardInterrupt
        late = 0.02 * number(plan, 7) * (9 - (until or 9)) / 9
        accuracy = 0.5 + number(plan, 50) / 100 - late
        costs = 1.0 + len(plan.gates), 2.0 + number(plan, 31)
        return Evaluated(
            Objectives(accuracy, *costs),
            {"accuracy": 0.6 - accuracy},
            {"passed": {"positive": [1.0] * len(plan.cores)}},
        )


def run(journal: Path | str, evaluate: Any, **given: Any) -> SearchResult:
    known: dict[str, Any] = {"trials": 25, "proposals": 100, "seed": 3, "halving": RULE}
    return search(small(), price, evaluate, journal=journal, **{**known, **given})


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> tuple[SearchResult, list[tuple[GatePlan, int | None]], Path]:
    evaluate, journal = Evaluate(), tmp_path_factory.mktemp("halved") / "study.journal"
    return run(journal, evaluate), evaluate.asked, journal


def test_what_is_given_up_is_told_as_pruned_and_what_is_trained_whole_as_complete(unbroken: Any) -> None:
    result, asked, journal = unbroken
    assert len(result.tried) == 25 > len(result.complete) > 3
    last = dict(asked)
    for trial in {trial.plan: trial for trial in result.tried}.values():  # the last of each plan
        assert trial.state == ("complete" if last[trial.plan] is None else "pruned")
        assert trial.given_up == last[trial.plan]
    for trial in result.tried:
        assert (trial.objectives is None) == (trial.given_up is not None) == (trial.state == "pruned")
    assert not {trial.plan for trial in result.front} - {trial.plan for trial in result.complete}
    assert result.epochs(9) == sum(until or 9 for until in last.values()) < 9 * 25
    study = optuna.load_study(study_name=engine.STUDY, storage=engine.store.opened(journal))
    by_state = {name: [t for t in study.trials if t.state.name == name] for name in ("COMPLETE", "PRUNED")}
    assert len(by_state["COMPLETE"]) == len(result.complete)
    assert all(len(trial.user_attrs[RUNGS]) == 3 for trial in by_state["COMPLETE"])
    given_up = [trial for trial in by_state["PRUNED"] if RUNGS in trial.user_attrs]
    assert len(given_up) == len(result.tried) - len(result.complete)
    assert all(trial.values is None and not trial.constraints for trial in given_up)


def test_each_piece_goes_on_from_the_one_before(unbroken: Any) -> None:
    pieces: dict[GatePlan, list[int | None]] = {}
    for plan, until in unbroken[1]:
        pieces.setdefault(plan, []).append(until)
    assert {tuple(p) for p in pieces.values()} <= {(1,), (1, 3), (1, 3, None)}
    assert {len(p) for p in pieces.values()} >= {1, 3}


@pytest.mark.parametrize("at", [1, 2, 3, 11, 17, 23, 31])
def test_a_cut_between_pieces_changes_nothing(at: int, tmp_path: Path, unbroken: Any) -> None:
    whole, asked, _ = unbroken
    first, on = Evaluate(at), Evaluate()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "study.journal", first)
    assert run(tmp_path / "study.journal", on) == whole
    assert first.asked[:-1] + on.asked == asked  # no piece is done twice, none is left out
    assert run(tmp_path / "study.journal", Evaluate(1)) == whole


def opened(journal: Path, **given: Any) -> Any:
    known: dict[str, Any] = {"trials": 8, "proposals": 50, "seed": 1, "halving": RULE}
    return engine.opened(small(), lambda plan: {}, journal=journal, **{**known, **given})


def of(accuracy: float) -> Evaluated:
    return Evaluated(Objectives(accuracy, 1.0, 1.0), {})


def test_a_decision_that_was_taken_stands_when_others_have_ended_since(tmp_path: Path) -> None:
    """Two workers: one passes a rung, the other ends far ahead of it, the driver dies, and the first goes on."""
    with opened(tmp_path / "j") as session:
        fast, slow = session.ask(), session.ask()
        assert slow.until == fast.until == 1
        assert session.tell(slow.number, of(0.3)) is None
        going_on = session.ask()
        assert (going_on.number, going_on.until) == (slow.number, 3)
        while session.tell(fast.number, of(0.9)) is None:
            fast = next(a for a in iter(session.ask, None) if a.number == fast.number)
    with opened(tmp_path / "j") as session:
        again = session.ask()
        assert (again.plan, again.until) == (slow.plan, 3)


def test_what_was_given_up_can_be_proposed_again_and_is_trained_on(tmp_path: Path) -> None:
    chosen: list[Mapping[str, Any]] = [{"gates": 0}, {"gates": 1, "site_0": "stem"}, {"gates": 1, "site_0": "block"}]
    with opened(tmp_path / "j") as session:
        ended = []
        while len(ended) < 8 and (asked := session.ask()) is not None:
            trial = session.tell(asked.number, of(0.9 - 0.1 * len(ended) if asked.until else 0.9))
            ended += [] if trial is None else [trial]
        up = next(t for t in ended if t.state == "pruned")
    again = small().named(up.plan)
    with opened(tmp_path / "j", trials=20, first=[*chosen[:0], again]) as session:
        asked = session.ask()
        assert (asked.plan, asked.until) == (up.plan, next(e for e in (3, None) if e != up.given_up))
        while session.tell(asked.number, of(0.99)) is None:
            asked = session.ask()
        result = session.result()
    states = [t.state for t in result.trials if t.plan == up.plan]
    assert states == ["pruned", "complete"]
    assert result.epochs(9) <= 9 * len({t.plan for t in result.tried})


def test_a_space_whose_trainings_are_all_given_up_or_whole_is_at_its_end(tmp_path: Path) -> None:
    sampler = GateSampler(small(most=1), lambda plan: [[1.0, 1.0], *[[1.0, 1.0]] * len(plan.cores)], seed=1)
    evaluate = Evaluate()
    result = search(
        small(most=1),
        lambda plan: {},
        evaluate,
        journal=tmp_path / "j",
        trials=10**4,
        proposals=10**4,
        seed=1,
        sampler=lambda _: sampler,
        halving=RULE,
    )
    # Given enough trials, all that was given up is trained on to the end, each epoch once.
    assert len(result.complete) == len(small(most=1)) and result.epochs(9) == 9 * len(small(most=1))
    assert len(evaluate.asked) == len(set(evaluate.asked))


class Elsewhere(Evaluate):
    """The same, in any process but the one that made it."""

    def __init__(self) -> None:
        super().__init__()
        self.driver = os.getpid()

    def __call__(self, plan: GatePlan, until: int | None = None) -> Evaluated:
        assert os.getpid() != self.driver
        return super().__call__(plan, until)


@pytest.mark.slow
def test_pieces_are_tried_by_worker_processes(tmp_path: Path, unbroken: Any) -> None:
    evaluate = Elsewhere()
    assert run(tmp_path / "one", evaluate, executor=Local(evaluate, workers=1)) == unbroken[0]
    two = run(tmp_path / "two", evaluate, executor=Local(evaluate, workers=2))
    assert len(two.tried) == 25 and len({t.plan for t in two.complete}) == len(two.complete)
