"""What a run leaves about assumed constants: how far its answer moves with each, and which plan it would pick then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gatesearch.cost.sensitivity import FACTORS, Answer, Known, Moved, Sensitivity, sensitivity
from gatesearch.devices.profile import constants

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gatesearch.devices.profile import Constant
    from gatesearch.pipeline.steps import Run
    from gatesearch.training import Figures


def summary(run: Run, gated: Figures, densities: Sequence[float]) -> dict[str, Any]:
    """Return the sensitivity of a run's answer, as JSON has it.

    Args:
        run: with a picked plan.
        gated: figures of the picked plan on the test split.
        densities: share of non-zero values behind each gate.
    """
    known = Known(run.model.plan, gated.passed, densities, gated.layers)
    return as_json(sensitivity(run.cost, known, run.picked_by), dict(constants(run.setting.device)))


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


def told(found: Mapping[str, Any]) -> str:
    """Return the line that ends a run.

    >>> told({"constants": [], "groups": []})
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
