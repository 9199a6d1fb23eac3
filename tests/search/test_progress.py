"""Tests of the progress line and the TensorBoard curves of a search."""

from __future__ import annotations

from pathlib import Path

import pytest

from gatesearch.plan import GatePlan
from gatesearch.search import Objectives, SearchResult, Trial
from gatesearch.search.progress import ProgressMonitor

REFERENCE = Objectives(0.0, 100.0, 200.0)


def trial(number: int, state: str = "complete", objectives: Objectives | None = None, feasible: bool = True) -> Trial:
    return Trial(number, GatePlan(cores=(f"core{number}",)), state, objectives, feasible)


TRIALS = (
    trial(0, objectives=Objectives(0.9, 50.0, 100.0)),
    trial(1, "priced_out"),
    trial(2, objectives=Objectives(0.95, 60.0, 50.0), feasible=False),
    trial(3, objectives=Objectives(0.8, 20.0, 80.0)),
    trial(4, "duplicate"),
    trial(5, "pruned"),
)


def test_the_line_shows_the_known_figures() -> None:
    monitor = ProgressMonitor(reference=REFERENCE)
    notes = []
    for one in TRIALS:
        monitor(one)
        notes.append(monitor.note)
    assert notes[0] == "hypervolume 0.225, best accuracy 0.900 at 100 uJ, 50 us"
    assert notes[-1] == ("1 pruned, 1 priced out, 1 duplicate, hypervolume 0.409, best accuracy 0.800 at 80 uJ, 20 us")
    assert monitor.hypervolume == pytest.approx(SearchResult(TRIALS).hypervolume(REFERENCE)[-1])


def test_the_best_plan_follows_the_recipes_rule_over_all_sessions() -> None:
    assert ProgressMonitor(TRIALS, reference=REFERENCE, objective="accuracy").best == TRIALS[0].objectives
    assert ProgressMonitor(TRIALS, reference=REFERENCE, objective="latency").best == TRIALS[3].objectives
    assert ProgressMonitor(TRIALS[1:3], reference=REFERENCE).note == "1 priced out, no plan keeps the constraints yet"


def test_curves_are_complete_after_every_session(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with ProgressMonitor(reference=REFERENCE, logs=tmp_path) as monitor:
        for one in TRIALS[:3]:
            monitor(one)
    with ProgressMonitor(TRIALS[:3], reference=REFERENCE, logs=tmp_path) as monitor:
        for one in TRIALS[3:]:
            monitor(one)
    (file,) = tmp_path.glob("events.out.tfevents.*")
    events = EventAccumulator(str(file))
    events.Reload()
    assert [event.step for event in events.Scalars("search/hypervolume")] == [0, 1, 2, 3, 4, 5]
    accuracy = [(event.step, event.value) for event in events.Scalars("search/accuracy")]
    assert [step for step, _ in accuracy] == [0, 2, 3]
    assert [value for _, value in accuracy] == pytest.approx([0.9, 0.95, 0.8])
