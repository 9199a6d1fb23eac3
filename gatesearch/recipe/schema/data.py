"""Recipe keys on the data: data set, front end, augmentation and stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from gatesearch.recipe.errors import invalid
from gatesearch.recipe.schema.group import Group, OpenGroup
from gatesearch.recipe.schema.values import (
    RIVALS,
    Count,
    Folder,
    Names,
    Natural,
    NonNegative,
    Period,
    Prevalences,
    Range,
    Rivals,
    Share,
    ShareBelowOne,
    Text,
    module_or_plugin,
)


class Speech(Group):
    """The shipped speech loader: WAV files in one folder a class, or a synthetic set."""

    name: Literal["speech"] = Field(
        description="speech loads spoken words; an override of the name drops the other keys of data that the file "
        "writes.",
    )
    root: Folder | None = Field(
        default=None,
        description="Speech: folder with a folder of WAV files for each class; null synthesises a set with eSpeak NG, "
        "which is labelled synthetic everywhere.",
    )
    positives: Names = Field(description="Folders of the positives, one class each; quote yes, no, on and off.")
    negatives: Annotated[dict[Text, Names], Field(min_length=1)] = Field(
        description="Negatives, each with its folders; the folder * stands for all that are not named."
    )
    sample_rate: Count = Field(
        default=16000,
        description="Samples per second (Hz) of each clip; files with a higher rate are resampled.",
    )
    seconds: Period = Field(
        default=1.0,
        description="Length of a clip in seconds; files are cropped or padded equally at both ends.",
    )
    clips_per_class: Count = Field(
        default=400, description="Clips of each class of the synthetic set, all splits together; no effect with a root."
    )
    seed: Natural = Field(
        default=0, description="Seed of the synthetic set and of the choice among unknown words; trainings ignore it."
    )
    skip_bad_files: bool = Field(
        default=False, description="true skips and counts files that cannot be read; false stops the run."
    )

    @property
    def arguments(self) -> dict[str, Any]:
        """The keyword arguments that the loader is called with."""
        return self.model_dump(exclude={"name"})

    @model_validator(mode="after")
    def _classes_are_disjoint(self) -> Speech:
        if "positive" in self.negatives:
            raise invalid("'positive' stands for all positives; call the class otherwise", "negatives")
        owner: dict[str, str] = dict.fromkeys(self.positives, "positives")
        for name, folders in self.negatives.items():
            for folder in folders:
                if folder in owner:
                    raise invalid(f"{folder!r} is in {owner[folder]}, too", f"negatives.{name}", "positives")
                owner[folder] = f"negatives.{name}"
        if clash := sorted(set(self.positives) & set(self.negatives)):
            raise invalid(f"{clash[0]!r} is a positive class, too", f"negatives.{clash[0]}", "positives")
        return self


class PluginData(OpenGroup):
    """A data set of another loader (entry-point group ``gatesearch.data``)."""

    name: Annotated[Text, module_or_plugin("gatesearch.data", "data set")] = Field(
        description="Any other name is an entry point of group gatesearch.data, or package.module:function, whose "
        "arguments are all other keys.",
        json_schema_extra={"not": {"const": "speech"}},
    )
    root: Folder | None = Field(
        default=None,
        description="Other loaders: file or folder with the data; null leaves the choice to the loader, which may "
        "synthesise a set.",
    )

    @property
    def arguments(self) -> dict[str, Any]:
        """The keyword arguments that the plug-in is called with; ``root`` is among them only where it is written."""
        return self.model_dump(exclude={"name"} | ({"root"} if self.root is None else set()))


def _data_kind(data: Any) -> str:
    name = data.get("name") if isinstance(data, Mapping) else getattr(data, "name", None)
    # A group without a name is checked as a group of the shipped loader, because its errors help most.
    return "speech" if name in ("speech", None) else "plugin"


Data = Annotated[Annotated[Speech, Tag("speech")] | Annotated[PluginData, Tag("plugin")], Discriminator(_data_kind)]


class Frontend(OpenGroup):
    """The front end, which turns raw windows into the backbone's input."""

    name: Text = Field(
        description="Front end, such as identity, mfcc, log_mel, image, sequence or wave; all other keys are its "
        "arguments, and an override of the name drops those that the file writes."
    )


class Augment(Group):
    """Augmentation of training windows, for sound unless a key says images; ``augment: null`` for none."""

    renditions: Natural = Field(
        default=8,
        description="Augmented copies of the training split, made once; each epoch draws among them; more copies need "
        "more memory. With 0, sounds stay as they are, and only features change (time_* and freq_*). For goal "
        "detection, copies replace the windows that each epoch draws from the training stream.",
    )
    shift_ms: NonNegative = Field(default=100, description="Largest shift of a clip either way, in milliseconds (ms).")
    noise_probability: Share = Field(default=0.5, description="Share of clips to which background noise is added.")
    snr_db: Range = Field(
        default=(5, 25), description="Lowest and highest signal-to-noise ratio of the added noise, in decibels (dB)."
    )
    speed: Range = Field(default=(0.9, 1.1), description="Slowest and fastest playback, as a factor above 0.")
    gain_db: Range = Field(default=(-6, 6), description="Lowest and highest change of level, in decibels (dB).")
    time_masks: Natural = Field(
        default=0,
        description="Masked stretches of time in each window (SpecAugment); on 3,000 real clips, one mask cost 2 "
        "points of accuracy and two masks cost 5.",
    )
    time_width: Natural = Field(default=6, description="Largest width of a masked stretch of time, in frames.")
    freq_masks: Natural = Field(default=0, description="Masked bands of coefficients in each window (SpecAugment).")
    freq_width: Natural = Field(default=2, description="Largest width of a masked band, in coefficients.")
    freq_stretch: ShareBelowOne = Field(
        default=0.0,
        description="Largest stretch of the frequency axis, as a share, for front ends whose features are a spectrum, "
        "such as log_mel; a stretched word sounds like that of another speaker.",
    )
    pad: Natural = Field(default=0, description="Images: largest random shift either way, in pixels.")
    flip: bool = Field(default=False, description="Images: mirror half of them from left to right.")
    cutout: Natural = Field(default=0, description="Images: side of a square that is blanked, in pixels; 0 for none.")

    @model_validator(mode="after")
    def _speeds_are_positive(self) -> Augment:
        if self.speed[0] <= 0:
            raise invalid(f"{self.speed[0]:g} is out of range; a speed is above 0", "speed")
        return self


class Stream(Group):
    """The stream that the device reads in use; reach, latency and energy are expectations over this stream."""

    period_s: Period = Field(
        default=1.0,
        description="Time from one window to the next, in seconds (s); for goal detection it is the hop of the data.",
    )
    shares: Annotated[dict[Text, Share], Field(min_length=1)] | None = Field(
        default=None,
        description="Share of windows of each class, the positives together as positive; the shares add up to 1. For "
        "goal detection it is null, and the shares are measured on the validation stream.",
    )
    by: Literal["hops", "windows"] = Field(
        default="hops",
        description="What each decision computes, for goal detection. hops: only the frames since the last decision; "
        "the network is rewritten for this before it is trained, or a warning names the layer that prevents it. "
        "windows: the whole window.",
    )
    fa_per_hour: NonNegative = Field(
        default=2.0,
        description="False accepts an hour that the detector may make on the validation stream, for goal detection.",
    )
    rivals: Rivals = Field(
        default=RIVALS,
        description="What the picked plan is compared with, for goal detection; hand_placed and smaller_ungated are "
        "trained.",
    )
    prevalences: Prevalences = Field(
        default=(0.1, 0.01, 0.001, 0.0001),
        description="Shares of positives for which the report prices the plan again, negatives mixed as in shares.",
    )
