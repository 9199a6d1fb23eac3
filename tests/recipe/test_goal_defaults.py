"""Tests of default bounds: a goal that has no accuracy has no default bound on accuracy."""

import pytest

from gatesearch.errors import UserError
from gatesearch.recipe import build_recipe

TREE = {
    "data": {"name": "scenes"},
    "backbone": "ds_cnn",
    "space": "kws_gc",
    "device": "three_core",
}


@pytest.mark.parametrize(
    ("goal", "stream", "bound"),
    [
        ("classification", {"shares": {"positive": 1.0}}, 0.01),
        ("detection", {}, None),
        ("reconstruction", {"shares": {"positive": 1.0}}, None),
    ],
)
@pytest.mark.parametrize("constraints", [None, {}, {"min_gate_recall": 0.9}])
def test_the_default_bound_on_accuracy_follows_the_goal(goal: str, stream: dict, bound, constraints) -> None:
    tree = {**TREE, "goal": goal, "stream": stream} | ({} if constraints is None else {"constraints": constraints})
    recipe = build_recipe(tree, "here")
    assert recipe.constraints.max_accuracy_drop == bound
    assert recipe.constraints.max_miss_rise == (0.05 if goal == "detection" else None)
    assert recipe.constraints.min_gate_recall == (0.9 if constraints else 0.97)
    again = build_recipe(recipe.model_dump(), "here")  # the run folder holds every key
    assert again.constraints == recipe.constraints


def test_a_bound_that_is_written_stays() -> None:
    tree = {**TREE, "goal": "detection", "stream": {}, "constraints": {"max_accuracy_drop": 0.1}}
    assert build_recipe(tree, "here").constraints.max_accuracy_drop == 0.1
    unbounded = {**tree, "constraints": {"max_miss_rise": None}}
    assert build_recipe(unbounded, "here").constraints.max_miss_rise is None
    with pytest.raises(UserError, match=r"constraints: 3 is not a group"):
        build_recipe({**tree, "constraints": 3}, "here")
