"""Recipe keys on the export: the files for the cores, and how closely the files have to agree with the model."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from gatesearch.recipe.errors import describe_unknown, invalid
from gatesearch.recipe.schema import values
from gatesearch.recipe.schema.group import Group
from gatesearch.recipe.schema.values import Bounded, Count, Names, Share


def _check_formats(formats: tuple[str, ...]) -> tuple[str, ...]:
    # The format vela cannot be chosen in a recipe, because a core that needs it always gets it.
    names = sorted({*values.plugin_names("gatesearch.exporters")} - {"vela"})
    for written in formats:
        if written not in names:
            raise invalid(describe_unknown("format", written, names))
    return formats


class Export(Group):
    """The files that a bundle contains for its cores."""

    formats: Annotated[Names, AfterValidator(_check_formats)] = Field(
        default=("tflite", "onnx"),
        description="File formats beside the one that each core needs, such as tflite and onnx (entry points of "
        "group gatesearch.exporters); a core gets those that it runs.",
    )
    calibration_samples: Count = Field(
        default=256,
        description="Training windows that set the ranges of int8 values; an export takes longer with more of them.",
    )


class Verify(Group):
    """The smallest agreement of a bundle with the model; a run with less agreement ends with an error."""

    gate_agreement: Share = Field(
        default=0.995, description="Smallest share of test windows that leave at the same gate in model and bundle."
    )
    prediction_agreement: Share = Field(
        default=0.99, description="Smallest share of test windows that get the same class from model and bundle."
    )
    output_snr_db: Bounded | None = Field(
        default=None,
        description="Smallest ratio of the output's energy to the bundle's error, in decibels (dB), for goal "
        "reconstruction; null for no bound.",
    )
