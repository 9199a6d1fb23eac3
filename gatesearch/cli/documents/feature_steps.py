"""Describes the front end in a bundle's manifest: its name, its fitted values, and the steps that compute features."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from gatesearch.cli.documents.document import Document


class ScaleStep(Document):
    """Divide each integer by the full scale of its type."""

    operation: Literal["scale"] = Field(description="Name of the step.")
    divisors: dict[str, float] = Field(description="Divisor by type; floats are not divided.")


class FramesStep(Document):
    """Cut the samples into frames, without padding."""

    operation: Literal["frames"] = Field(description="Name of the step.")
    length: int = Field(gt=0, description="Samples of a frame.")
    stride: int = Field(gt=0, description="Samples from the start of one frame to that of the next.")


class WindowStep(Document):
    """Multiply each frame by a window."""

    operation: Literal["window"] = Field(description="Name of the step.")
    shape: Literal["periodic_hann"] = Field(description="w[n] = 0.5 - 0.5 cos(2 pi n / length).")


class SpectrumStep(Document):
    """Compute the real Fourier transform of each frame, with zeros behind its samples."""

    operation: Literal["spectrum"] = Field(description="Name of the step.")
    points: int = Field(gt=0, description="Points of the transform.")
    value: Literal["magnitude"] = Field(description="Absolute value of each bin, not its square.")


class MelStep(Document):
    """Sum the bins of each frame by triangles on the mel scale, of height one."""

    operation: Literal["mel"] = Field(description="Name of the step.")
    hertz_per_bin: float = Field(description="Frequency of bin b is b times this.")
    mel_factor: float = Field(description="mel(f) = mel_factor ln(1 + f / mel_hertz).")
    mel_hertz: float = Field(description="See mel_factor.")
    edges: list[float] = Field(description="Edges in mel; triangle i starts at edge i and ends at edge i + 2.")


class LogStep(Document):
    """Take the logarithm of each value."""

    operation: Literal["log"] = Field(description="Name of the step.")
    base: Literal["e"] = Field(description="Base of the logarithm.")
    offset: float = Field(description="Added before the logarithm.")


class CosineStep(Document):
    """Take the DCT-II of each frame; band b has the weight sqrt(2 / bands) cos(pi / bands (b + 1/2) k) in output k."""

    operation: Literal["cosine"] = Field(description="Name of the step.")
    count: int = Field(gt=0, description="Coefficients that stay, from the first.")


class AverageStep(Document):
    """Average consecutive time steps; a remainder at the end is cut off."""

    operation: Literal["average"] = Field(description="Name of the step.")
    count: int = Field(gt=0, description="Time steps in a mean.")


class LevelStep(Document):
    """Divide the samples by their root mean square."""

    operation: Literal["level"] = Field(description="Name of the step.")
    least: float = Field(description="Smallest divisor; a smaller root mean square is replaced by it.")


class NormaliseStep(Document):
    """Subtract the front end's mean, and divide by its std."""

    operation: Literal["normalise"] = Field(description="Name of the step.")
    axis: int = Field(description="Axis along which mean and std lie; -1 is the last.")


class GridStep(Document):
    """Round to multiples of a step."""

    operation: Literal["grid"] = Field(description="Name of the step.")
    step: float = Field(gt=0, description="Difference of two neighbouring features.")
    lowest: int = Field(description="Least feature, in steps.")
    highest: int = Field(description="Largest feature, in steps.")
    ties: Literal["even"] = Field(description="How halves are rounded: to the even multiple.")


FeatureStep = Annotated[
    ScaleStep
    | FramesStep
    | WindowStep
    | SpectrumStep
    | MelStep
    | LogStep
    | CosineStep
    | AverageStep
    | LevelStep
    | NormaliseStep
    | GridStep,
    Field(discriminator="operation"),
]


class FittedFrontend(Document):
    """The fitted front end; that of a plug-in may have further keys."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    name: str = Field(description="Entry point of group gatesearch.frontends.")
    args: dict[str, Any] = Field(default_factory=dict, description="Arguments of the front end.")
    arithmetic: Literal["float32", "fixed_point"] = Field(
        default="float32",
        description="float32: as the steps say. fixed_point: in integers, as gatesearch.frontends.FixedMel computes; a "
        "feature differs from that of the steps by at most one step of the grid.",
    )
    mean: list[float] | None = Field(default=None, description="Mean of each feature on the training split.")
    std: list[float] | None = Field(default=None, description="Standard deviation of each feature there.")
    input_shape: list[int] | None = Field(default=None, description="Shape of one raw sample.")
    output_shape: list[int] | None = Field(default=None, description="Shape of its features, channels first.")
    macs: int | None = Field(default=None, description="Multiply-accumulates of one sample.")
    steps: list[FeatureStep] | None = Field(
        default=None, description="Steps that compute the features; null for a plug-in that does not describe them."
    )
