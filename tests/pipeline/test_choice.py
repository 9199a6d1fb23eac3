"""Tests of how a user's words choose plans from the trials of a search."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatesearch import recipe
from gatesearch.errors import UserError
from gatesearch.pipeline.choice import PlanChoice, describe_off_front, find_trial, power_mw, rank_choice
from gatesearch.plan import GatePlan
from gatesearch.search.evaluation import Objectives
from gatesearch.search.result import SearchResult, Trial

RECIPE = recipe.load("kws_clips.yaml")
RATES = st.tuples(*[st.floats(0.05, 1.0)] * 3)


def build_trials(rows: list[tuple[float, float, float]], state: str = "complete") -> SearchResult:
    return SearchResult(
        tuple(
            Trial(number, GatePlan((), (f"core{number}",)), state, Objectives(*row), True)
            for number, row in enumerate(rows)
        )
    )


@given(rows=st.lists(RATES, min_size=1, max_size=8), data=st.data())
def test_each_tried_plan_is_found_by_its_digest(rows: list[tuple[float, float, float]], data: st.DataObject) -> None:
    trials = build_trials(rows)
    trial = data.draw(st.sampled_from(trials.trials))
    assert find_trial(trial.plan.digest, trials) == trial
    assert rank_choice(PlanChoice(plan=trial.plan.digest), RECIPE, trials, 1.0) == [trial]
    line = describe_off_front(trial, trials.front)
    assert (line is None) == (trial in trials.front)


@given(rows=st.lists(RATES, min_size=1, max_size=8), limit=st.floats(0.05, 1.0))
def test_a_bound_on_power_takes_the_most_accurate_plan_within_it(
    rows: list[tuple[float, float, float]], limit: float
) -> None:
    trials = build_trials(rows)
    within = [row for row in rows if row[2] <= limit]
    choice = PlanChoice(max_power_mw=limit / 1e3)
    if not within:
        with pytest.raises(UserError, match="nearest: plan="):
            rank_choice(choice, RECIPE, trials, 1.0)
        return
    first = rank_choice(choice, RECIPE, trials, 1.0)[0].objectives
    assert first is not None and power_mw(first, 1.0) <= limit / 1e3
    assert first.accuracy == max(row[0] for row in within)


def test_a_bound_on_the_miss_rate_takes_the_least_energy_within_it() -> None:
    detection = RECIPE.model_copy(update={"goal": "detection"})
    trials = build_trials([(0.95, 1.0, 3.0), (0.90, 1.0, 2.0), (0.80, 1.0, 1.0)])
    chosen = rank_choice(PlanChoice(max_miss_rate=0.12), detection, trials, 1.0)[0]
    assert chosen == trials.trials[1]
    with pytest.raises(UserError, match=r"nearest: plan=\w+ with 0.05"):
        rank_choice(PlanChoice(max_miss_rate=0.01), detection, trials, 1.0)


def test_a_beginning_that_several_digests_share_is_refused_with_their_names() -> None:
    trials = build_trials([(0.5, 1.0, 1.0)] * 40)
    with pytest.raises(UserError, match="plans have digests that begin so"):
        find_trial("", trials)


def test_a_plan_that_was_not_trained_cannot_be_picked() -> None:
    trials = build_trials([(0.5, 1.0, 1.0)], "priced_out")
    with pytest.raises(UserError, match="its price breaks a constraint; a pick needs"):
        find_trial(trials.trials[0].plan.digest, trials)
