"""Describes plan.json: the gates of a plan and the core of each stage, as ``GatePlan.to_json`` writes them."""

from __future__ import annotations

from pydantic import Field

from gatesearch.cli.documents.document import Document

Scalar = bool | int | float | str | None


class Gate(Document):
    """One technique placed at one site."""

    kind: str = Field(description="Gate kind, an entry point of group gatesearch.gates.")
    site: str = Field(description="Name of the site, as `gatesearch sites` prints it.")
    params: dict[str, Scalar] = Field(description="Parameters of the kind by name.")


class Plan(Document):
    """Gates in the order in which data meets them, the core of every stage, and the clocks of cores."""

    gates: list[Gate] = Field(description="Gates of the plan; an empty list is the ungated backbone.")
    cores: list[str] = Field(
        description="Core of each stage; there is one more stage than there are gates at cut sites."
    )
    clocks: dict[str, str] = Field(
        default_factory=dict,
        description="Name of the clock point, by core, for each core that does not run at its first point.",
    )
