"""Describes the rules in a bundle's manifest by which it decides: contract, gates on a stream and detector."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gatesearch.cli.documents.document import Document


class StreamFormat(Document):
    """The stream that a bundle reads."""

    rate: int = Field(gt=0, description="Samples per second.")
    window: int = Field(gt=0, description="Samples of the window of one decision.")
    hop: int = Field(gt=0, description="Samples from one decision to the next.")


class DetectorEntry(Document):
    """The detector, which turns the posteriors of each hop into detections."""

    classes: list[str] = Field(description="Names of the outputs, in order.")
    positives: list[str] = Field(description="Classes that are reported.")
    hop_s: float = Field(gt=0, description="Length of a hop in seconds (s).")
    smoothing: int = Field(ge=1, description="Outputs in the moving mean.")
    threshold: float | list[float] = Field(description="Value that a mean has to exceed; one number, or one a class.")
    hits: int = Field(ge=1, description="Hops in a row at which the mean has to exceed the threshold.")
    refractory_s: float = Field(ge=0, description="Least time from a detection to the next in seconds (s).")
    first_s: float | None = Field(description="Time in seconds (s) at which the first window ends; null for one hop.")
    stream: StreamFormat = Field(description="The stream.")


class StreamGate(Document):
    """How a gate decides over a stream."""

    threshold: float = Field(description="Value that the mean of the scores has to exceed.")
    smoothing: int = Field(ge=1, description="Scores in the mean; fewer right after the part before the gate started.")
    hold: int = Field(ge=0, description="Hops for which the gate stays open after the last mean above its threshold.")


class SignalGate(StreamGate):
    """The gate before the front end."""

    statistic: Literal["spread", "level", "flatness"] = Field(description="Statistic of the window's samples.")


class StreamGates(Document):
    """The gates over a stream."""

    signal: SignalGate | None = Field(description="Gate before the front end; null if there is none.")
    gates: list[StreamGate] = Field(description="Gate behind each stage but the last.")


class SignalRule(Document):
    """The integer arithmetic of the gate before the front end."""

    frame: int = Field(gt=0, description="Samples of a frame.")
    frames: int = Field(gt=0, description="Frames of a window.")
    log_steps_per_octave: int = Field(description="Steps of the integer logarithm for a factor of two.")
    log_index_bits: int = Field(description="Bits behind the leading one that select an entry of its table.")
    fraction_bits: int = Field(description="The statistic is in units of 2^-fraction_bits octaves.")
    points: int | None = Field(default=None, description="Samples of a block; for flatness only.")
    bins: int | None = Field(default=None, description="Frequencies of a block; for flatness only.")
    filter_bits: int | None = Field(default=None, description="Bits after the point of its filters.")


class ScoreRule(Document):
    """The score of a gate from the exported logit."""

    formula: Literal["center + (logit - middle) * half_width / 3"] = Field(description="In double precision.")
    middle: float = Field(description="Exported logit that stands for the center.")


class DetectorRule(Document):
    """The detector in terms of hops and columns."""

    columns: list[int] = Field(description="Index of each positive among the outputs.")
    thresholds: list[float] = Field(description="Threshold of each positive.")
    refractory_hops: int = Field(ge=1, description="Least hops from a detection to the next, of any class.")
    confidence: Literal["least of the last hits means"] = Field(description="Confidence of a class.")
    detects: Literal["confidence > threshold"] = Field(description="When a class is detected; the largest wins.")
    before_stream: float = Field(description="Outputs and means before the first hop.")
    stopped_hop: float = Field(description="Outputs of a hop that a gate without an exit stops.")
    first_s: float = Field(description="Time in seconds (s) at which the first window ends.")


class StreamRule(Document):
    """The rules on a stream."""

    signal: SignalRule | None = Field(description="Gate before the front end; null if there is none.")
    score: ScoreRule = Field(description="Score of a gate between stages.")
    gate: Literal["open if mean > threshold"] = Field(description="When a gate opens.")
    posteriors: Literal["softmax"] = Field(description="From the outputs of the last stage or of an exit.")
    detector: DetectorRule = Field(description="Detector.")


class Axes(Document):
    """The order of axes."""

    features: Literal["channels_first"] = Field(description="Features [C, H, W], and outputs of exported models.")
    programs: Literal["channels_last"] = Field(description="Inputs and outputs of programs, [1, H, W, C].")


class AnswerRule(Document):
    """The class that is the answer for a window that reaches the last stage, or an exit."""

    choice: Literal["argmax"] = Field(alias="class", description="The class with the largest output.")
    floor: float = Field(description="Model's logit of the exported value 0.")
    rises: Literal["largest > floor"] = Field(description="When the largest output counts.")
    otherwise: int = Field(ge=0, description="The class if no output rises above the floor.")


class Contract(Document):
    """The rules by which a bundle decides; docs/bundle.md explains them."""

    version: Literal[1] = Field(description="Version of the rules.")
    axes: Axes = Field(description="Order of axes.")
    rounding: Literal["half_away_from_zero"] = Field(description="How value / scale becomes an integer.")
    same_grid_tolerance: float = Field(
        description="Relative difference of scales below which integers go from stage to stage unchanged."
    )
    window_gate: Literal["stop if logit <= theta_integer"] = Field(description="How a gate decides on one window.")
    answer: AnswerRule = Field(description="Answer for a window.")
    stream: StreamRule | None = Field(description="Rules on a stream; null without a detector.")
