"""What a run leaves about assumed constants: how far its answer moves with each, and which plan it would pick then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gatesearch.cost.sensitivity import FACTORS, Answer, Known, Moved, Sensitivity, sensitivity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gatesearch.cost.model import CostModel
    from gatesearch.devices.profile import Constant
    from gatesearch.plan import GatePlan
    from gatesearch.training import Figures


def summary(
    cost: CostModel,
    plan: GatePlan,
    gated: Figures,
    densities: Sequence[float],
    repick: Callable[[CostModel], GatePlan | None],
    profile: Mapping[str, Constant],
) -> dict[str, Any]:
    """Return how far a run's answer depends on assumed constants, as JSON has it.

    Args:
        cost: prices at the profile's constants.
        plan: the chosen one.
        gated: its figures on the test split.
        densities: share of non-zero values behind each gate.
        repick: the plan that the recipe's rule picks at other prices.
        profile: every constant of the device, by its path.
    """
    known = Known(plan, gated.passed, densities, gated.layers)
    return as_json(sensitivity(cost, known, repick), profile)


def as_json(found: Sensitivity, profile: Mapping[str, Constant]) -> dict[str, Any]:
    """Return what ``sensitivity`` found; ``profile`` has every constant of the device by its path."""

    def row(moved: Moved) -> dict[str, Any]:
        one = profile[moved.name] if moved.alone else None
        return {
            "name": moved.name,
            "constants": list(moved.constants),
            "value": one.value if one else None,
            "unit": one.unit if one else None,
            "swing": moved.swing,
            "other_plan": None if found.nominal.picked is None else moved.flips(found.nominal),
            "answers": [{"factor": factor} | _answer(answer) for factor, answer in moved.answers.items()],
        }

    low, high = found.gains
    return {
        "factors": list(FACTORS),
        "nominal": _answer(found.nominal),
        "gain_low": low,
        "gain_high": high,
        "together": [_answer(answer) for answer in found.together],
        "constants": [row(moved) for moved in found.constants],
        "groups": [row(moved) for moved in found.groups],
        "zero": list(found.unmoved),
    }


def describe(found: Mapping[str, Any]) -> str:
    """Return the line that ends a run.

    >>> describe({"constants": [], "groups": []})
    'no constant of the device is assumed'
    """
    rows = [*found["groups"], *found["constants"]]
    if not rows:
        return "no constant of the device is assumed"
    flips = sum(bool(row["other_plan"]) for row in found["constants"])
    other = "" if found["nominal"]["picked"] is None else f"; another plan is picked for {flips or 'none'} of them"
    worst, best = sorted(answer["gain"] for answer in found["together"])
    return (
        f"gain with one of {len(found['constants'])} assumed constants, or one group of them, 50 % off: "
        f"{found['gain_low']:.2f}x to {found['gain_high']:.2f}x{other}; all off at once, {worst:.2f}x to {best:.2f}x"
    )


def _answer(answer: Answer) -> dict[str, Any]:
    return {
        "energy_uj": answer.energy_uj,
        "ungated_uj": answer.ungated_uj,
        "gain": answer.gain,
        "picked": answer.picked.digest if answer.picked else None,
    }
