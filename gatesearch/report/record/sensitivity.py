"""The part of the record on assumed constants: how the result and the picked plan depend on each constant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gatesearch.cost.sensitivity import FACTORS, Answer, MeasuredPlan, Sensitivity, Variation, sensitivity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gatesearch.cost.model import CostModel
    from gatesearch.devices.profile import Constant
    from gatesearch.plan import GatePlan


def sensitivity_summary(
    cost: CostModel,
    measured: MeasuredPlan,
    repick: Callable[[CostModel], GatePlan | None],
    profile: Mapping[str, Constant],
) -> dict[str, Any]:
    """Return how far the result of a run depends on assumed constants, in the types of JSON.

    Args:
        cost: the cost model at the profile's constants.
        measured: the picked plan, as measured on the test split.
        repick: returns the plan that the recipe's rule picks at the prices of another cost model.
        profile: every constant of the device, by its path.
    """
    return to_json(sensitivity(cost, measured, repick), profile)


def to_json(result: Sensitivity, profile: Mapping[str, Constant]) -> dict[str, Any]:
    """Return a result in the types of JSON; ``profile`` holds every constant of the device by its path."""

    def build_row(variation: Variation) -> dict[str, Any]:
        constant = profile[variation.name] if variation.alone else None
        return {
            "name": variation.name,
            "constants": list(variation.constants),
            "value": constant.value if constant else None,
            "unit": constant.unit if constant else None,
            "swing": variation.swing,
            "other_plan": None if result.nominal.picked is None else variation.flips(result.nominal),
            "answers": [{"factor": factor} | _answer(answer) for factor, answer in variation.answers.items()],
        }

    low, high = result.gains
    return {
        "factors": list(FACTORS),
        "nominal": _answer(result.nominal),
        "gain_low": low,
        "gain_high": high,
        "together": [_answer(answer) for answer in result.together],
        "constants": [build_row(variation) for variation in result.constants],
        "groups": [build_row(variation) for variation in result.groups],
        "zero": list(result.unmoved),
    }


def describe_sensitivity(summary: Mapping[str, Any]) -> str:
    """Return the line that a run prints at its end on the influence of assumed constants.

    >>> describe_sensitivity({"constants": [], "groups": []})
    'no constant of the device is assumed'
    """
    rows = [*summary["groups"], *summary["constants"]]
    if not rows:
        return "no constant of the device is assumed"
    flips = sum(bool(row["other_plan"]) for row in summary["constants"])
    other = ""
    if summary["nominal"]["picked"] is not None:
        change = f"a change of {flips} of them" if flips else "no change of them"
        other = f" ({change} makes another plan the best)"
    worst, best = sorted(answer["gain"] for answer in summary["together"])
    return (
        f"energy gain if one of the {len(summary['constants'])} assumed constants, or a group of them, is 50 % lower "
        f"or higher: {summary['gain_low']:.2f}x to {summary['gain_high']:.2f}x{other}; "
        f"if all of them are: {worst:.2f}x to {best:.2f}x"
    )


def _answer(answer: Answer) -> dict[str, Any]:
    return {
        "energy_uj": answer.energy_uj,
        "ungated_uj": answer.ungated_uj,
        "gain": answer.gain,
        "picked": answer.picked.digest if answer.picked else None,
    }
