"""Recipe keys on timings, on the constraints of plans, and on the rule that picks the best plan."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gatesearch.recipe.schema.group import Group
from gatesearch.recipe.schema.values import Count, Positive, PositiveShare, Share, ShareBelowOne


class Cost(Group):
    """Settings of the timings on the machine of the run, by which the cost model prices blocks."""

    timing_seconds: Positive = Field(
        default=40.0,
        description="Time in seconds for all timings on the machine of the run, spent once for each backbone. Timings "
        "beyond it are interpolated. A larger budget makes prices more certain.",
    )


class Battery(Group):
    """The battery of the device, from which the report computes how long the device listens."""

    mah: Positive = Field(description="Capacity in milliampere-hours (mAh).")
    volts: Positive = Field(description="Mean voltage while the battery discharges, in volts (V).")
    efficiency: PositiveShare = Field(
        default=0.9, description="Share of the battery's energy that reaches the device, after regulators."
    )


class Constraints(Group):
    """Bounds that the best plan has to keep; null means no bound."""

    latency_ms: Positive | None = Field(
        default=None, description="Longest path through all stages, in milliseconds (ms); null for no bound."
    )
    max_utilisation: Positive | None = Field(
        default=1.0,
        description="Largest share of the period for which a core may be busy if every window takes the longest path. "
        "With a value above 1, answers come late after several such windows in a row. null instead limits the mean "
        "over the stream to 1.",
    )
    max_accuracy_drop: Share | None = Field(
        default=0.01,
        description="Largest loss of accuracy against the ungated backbone, on validation; null for no bound, which is "
        "the default for goals detection and reconstruction.",
    )
    max_miss_rise: Share | None = Field(
        default=None,
        description="Largest rise of the miss rate against the ungated backbone, on the validation stream at the "
        "wanted false accepts an hour, for goal detection, which has the default 0.05; null for no bound.",
    )
    max_fidelity_drop: Share | None = Field(
        default=None,
        description="Largest loss of reconstruction fidelity against the ungated backbone, on validation, for goal "
        "reconstruction; null for no bound.",
    )
    min_recall: PositiveShare | None = Field(
        default=None, description="Smallest share of positives that get their own class end to end; null for no bound."
    )
    min_gate_recall: PositiveShare | None = Field(
        default=0.97,
        description="Smallest share of positives that pass all gates, on validation; a larger share saves less energy; "
        "null for no bound.",
    )

    @property
    def quality(self) -> dict[str, float | None]:
        """The bounds on quality and recall, which apply to some goals only."""
        return self.model_dump(exclude={"latency_ms", "max_utilisation"})


class Pick(Group):
    """The rule by which the best plan is picked from the feasible plans."""

    objective: Literal["energy", "latency", "accuracy"] = Field(
        default="energy",
        description="Objective that ranks the plans; the best feasible plan is built, or one within the tolerance.",
    )
    tolerance: ShareBelowOne = Field(
        default=0.0,
        description="Relative distance from the best within which gated plans count as equal; the one with the fewest "
        "gates is taken. It does not apply where the plan without gates is the best.",
    )
    attempts: Count = Field(
        default=3,
        description="Largest number of plans that are retrained until one keeps the constraints on validation.",
    )
