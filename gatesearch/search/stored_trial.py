"""Writes a trial of a search into an Optuna study, and reads it back."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from gatesearch.plan import GatePlan
from gatesearch.search.evaluation import Objectives
from gatesearch.search.result import Trial
from gatesearch.search.sampler.history import PLAN_CLAIM
from gatesearch.search.space import Space

# User attributes of a trial.
PLAN_ATTR = "plan"  # the plan as JSON
STATE_ATTR = "state"  # complete, pruned, priced_out, duplicate or failed; see :class:`gatesearch.search.result.Trial`
DETAILS_ATTR = "seen"  # the names of the attributes that the evaluation stored
INITIAL_ATTR = "first"  # the index of the initial proposal that the trial tries
BROKEN_ATTR = "broken"  # the names of the constraints that the plan's price breaks
ERROR_ATTR = "error"  # the reason why the trial failed


def select_own(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials that a search has stored, without trials that other programs added to the study."""
    return [trial for trial in trials if PLAN_ATTR in trial.user_attrs and STATE_ATTR in trial.user_attrs]


def read_trial(number: int, stored: FrozenTrial) -> Trial:
    """Return a trial of the search from the Optuna trial that stores it.

    Args:
        number: the index of the proposal.
        stored: the Optuna trial.
    """
    attributes = stored.user_attrs
    return Trial(
        number=number,
        plan=GatePlan.from_json(attributes[PLAN_ATTR]),
        state=attributes[STATE_ATTR],
        objectives=Objectives(*stored.values) if stored.values else None,
        feasible=stored.state != TrialState.FAIL and all(excess <= 0 for excess in stored.constraints.values()),
        details={name: attributes[name] for name in attributes.get(DETAILS_ATTR, ())},
        error=attributes.get(ERROR_ATTR),
    )


class _SharedTrial(FrozenTrial):
    """An ended trial whose copies share its values, because the values do not change any more.

    Optuna deeply copies each trial that is added to a study in memory. A real copy would take two milliseconds.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> _SharedTrial:
        return copy.copy(self)


def share_values(trial: FrozenTrial) -> FrozenTrial:
    """Return a trial whose copies share its values."""
    shared = copy.copy(trial)
    shared.__class__ = _SharedTrial
    return shared


def strip_claim(trial: FrozenTrial) -> FrozenTrial:
    """Return a trial without the sampler's claim; another attribute of the trial holds the same plan."""
    if PLAN_CLAIM not in trial.system_attrs:
        return trial
    stripped = copy.copy(trial)
    stripped.system_attrs = {name: value for name, value in trial.system_attrs.items() if name != PLAN_CLAIM}
    return stripped


def match_params(stored: FrozenTrial, plan: GatePlan, space: Space) -> FrozenTrial:
    """Return a trial with the parameters by which this space proposes the trial's plan.

    A study of an older version has other names for the parameters. Each trial also stores its plan, and this function
    derives the parameters from the plan. If the plan does not belong to this space, the trial gets no parameters.

    Args:
        stored: the trial as it is stored.
        plan: the plan that it stores.
        space: the space of the search.
    """
    if space.read(stored.params) == plan:
        return stored
    is_known = plan in space
    choices = space.param_choices(plan) if is_known else {}
    return create_trial(
        state=stored.state,
        values=stored.values,
        params=space.describe(plan) if is_known else {},
        distributions={name: CategoricalDistribution(values) for name, values in choices.items()},
        user_attrs=stored.user_attrs,
        system_attrs=stored.system_attrs,
    )
