"""The settings by which a scene (a labelled stream) is drawn: length, events, backgrounds, and sources of clips."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from gatesearch.data.scenes.spec import MAX_HOURS, Entry, SplitName

MAX_SAMPLE_RATE_HZ = 768_000
OWN_RULE = "invalid"  # type of the errors that the validators of this module raise; their messages quote the value


def _check_rising(values: tuple[float, float]) -> tuple[float, float]:
    if values[0] > values[1]:
        raise _invalid(f"[{values[0]:g}, {values[1]:g}] is a range from high to low")
    return values


def _check_distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    repeated = next((name for index, name in enumerate(values) if name in values[:index]), None)
    if repeated is not None:
        raise _invalid(f"{repeated!r} occurs twice")
    return values


def _invalid(message: str, *keys: str) -> PydanticCustomError:
    """Build the error of a validator from a message and the keys that it is about, in the form that recipes read."""
    return PydanticCustomError(OWN_RULE, "{message}", {"message": message, "keys": keys})


Kind = Literal["quiet", "environment", "speech", "near_word", "music", "noise"]
Decibels = Annotated[float, Field(ge=-120, le=120)]
DecibelRange = Annotated[tuple[Decibels, Decibels], Field(strict=False), AfterValidator(_check_rising)]
Seconds = Annotated[float, Field(ge=0, le=3600)]
SecondsRange = Annotated[tuple[Seconds, Seconds], Field(strict=False), AfterValidator(_check_rising)]
FrameCount = Annotated[int, Field(ge=1, le=10_000)]
FrameRange = Annotated[tuple[FrameCount, FrameCount], Field(strict=False), AfterValidator(_check_rising)]
Share = Annotated[float, Field(ge=0, le=1)]
Text = Annotated[str, Field(min_length=1)]
Words = Annotated[tuple[Text, ...], Field(strict=False), AfterValidator(_check_distinct)]
SomeWords = Annotated[tuple[Text, ...], Field(strict=False, min_length=1), AfterValidator(_check_distinct)]
Folders = Annotated[dict[Kind, Words], Field(description="Class folders of each kind of background; * is all others.")]


class SyntheticSpeech(Entry):
    """Words, near words and sentences that eSpeak NG speaks; no voice and no accent is in two splits."""

    kind: Literal["synthetic_speech"] = Field(description="Speech that eSpeak NG synthesises.")
    name: Text = Field(default="speech", description="Name of the source.")
    events: Words = Field(default=(), description="Words or phrases to wake for, a class each.")
    near_words: Words | None = Field(
        default=None,
        description="Words that sound like an event; null takes those that gatesearch lists for each event, or else "
        "makes some by changing the event.",
    )
    utterances: int = Field(
        default=60, ge=2, le=5000, description="Utterances of each event, and of all near words together."
    )
    sentences: int = Field(default=120, ge=1, le=5000, description="Sentences of other speech.")
    seed: int = Field(default=0, ge=0, description="Seed of voices, paces and sentences.")


class SyntheticNoise(Entry):
    """Background made from random numbers: room tone, knocks and hum, coloured noise, music-like chords."""

    kind: Literal["synthetic_noise"] = Field(description="Background made from random numbers.")
    name: Text = Field(default="noise", description="Name of the source.")
    backgrounds: Annotated[
        tuple[Literal["quiet", "environment", "music", "noise"], ...], Field(strict=False, min_length=1)
    ] = Field(default=("quiet", "environment", "music", "noise"), description="Kinds that are made.")
    clips: int = Field(default=12, ge=1, le=1000, description="Clips of each kind.")
    seconds: float = Field(default=20.0, gt=0, le=600, description="Length of a clip in seconds (s).")
    seed: int = Field(default=0, ge=0, description="Seed of the clips.")


class ClassFolders(Entry):
    """A folder with one folder of WAV files for each class, such as Speech Commands; split by lists or by speaker."""

    kind: Literal["folders"] = Field(description="One folder of WAV files a class.")
    name: Text = Field(default="words", description="Name of the source.")
    root: Text = Field(description="The folder.")
    events: Words = Field(default=(), description="Class folders of events.")
    backgrounds: Folders = Field(
        default={"speech": ("*",), "noise": ("_silence_", "_background_noise_")},
        description="Class folders of each kind of background; * stands for all that are not named.",
    )


class ClipArchive(Entry):
    """Clips in an .npz with `fold` or `speaker`, such as ESC-10; the last folds are for test and validation."""

    kind: Literal["archive"] = Field(description="Clips in an .npz.")
    name: Text = Field(default="archive", description="Name of the source.")
    root: Text = Field(description="The .npz.")
    events: Words = Field(default=(), description="Classes of events.")
    backgrounds: Folders = Field(
        default={"environment": ("*",)},
        description="Classes of each kind of background; * stands for all that are not named.",
    )


class LongRecordings(Entry):
    """A folder of recordings of one kind of background, at any depth; split by file."""

    kind: Literal["recordings"] = Field(description="A folder of background recordings.")
    name: Text = Field(default="recordings", description="Name of the source.")
    root: Text = Field(description="The folder.")
    background: Kind = Field(default="environment", description="Kind of all recordings.")


class Motion(Entry):
    """Unbroken streams of motion, labelled sample by sample, in an .npz such as har_stream.npz; split by subject."""

    kind: Literal["motion"] = Field(description="Streams of motion, labelled sample by sample.")
    name: Text = Field(default="motion", description="Name of the source.")
    root: Text = Field(description="The .npz.")
    events: SomeWords = Field(description="Activities to wake for; all others are background.")
    device: Text | None = Field(default=None, description="Use streams of one device alone, such as sw; null for all.")
    validation_subjects: int = Field(default=4, ge=1, description="Subjects for validation.")
    test_subjects: tuple[int, ...] | None = Field(
        default=None,
        strict=False,
        description="Subjects for testing; null takes those that har_windows.npz beside the file tests on, else a "
        "quarter of all.",
    )
    seed: int = Field(default=0, ge=0, description="Seed of the choice of subjects.")


class Frames(Entry):
    """A labelled image set; events are runs of frames of positive classes among frames of the other classes."""

    kind: Literal["frames"] = Field(description="A labelled image set, frame by frame.")
    name: Text = Field(default="frames", description="Name of the source.")
    data: Text = Field(description="Name of the data set, as in a recipe under data.name.")
    arguments: dict[str, Any] = Field(default={}, description="Other keys of the recipe's data.")
    events: SomeWords = Field(description="Classes to wake for; all others are background.")
    run_frames: FrameRange = Field(default=(3, 10), description="Shortest and longest run of frames of an event.")


SourceSettings = Annotated[
    SyntheticSpeech | SyntheticNoise | ClassFolders | ClipArchive | LongRecordings | Motion | Frames,
    Field(discriminator="kind"),
]
DEFAULT_EVENTS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")


class SceneSettings(Entry):
    """Settings from which a scene is drawn."""

    name: Text | None = Field(default=None, description="Name of the scene; null takes the name of the split.")
    split: SplitName = Field(default="train", description="Split whose recordings and speakers are used.")
    seed: int = Field(default=0, ge=0, description="Seed of every random choice.")
    hours: float = Field(default=1.0, gt=0, le=MAX_HOURS, description="Length of the scene in hours.")
    sample_rate: Annotated[float, Field(gt=0, le=MAX_SAMPLE_RATE_HZ)] | None = Field(
        default=None,
        description="Samples a second (Hz); null is 16000 for sound, the source's own for motion, 1 frame for images.",
    )
    events: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Number of events; null follows from events_per_hour."
    )
    events_per_hour: float = Field(default=300.0, gt=0, description="Events an hour, where events is null.")
    snr_db: DecibelRange = Field(
        default=(0, 20), description="Lowest and highest power of an event over that of its background (dB)."
    )
    event_db: DecibelRange = Field(
        default=(-42, -14),
        description="Lowest and highest level of an event against full scale (dB). It limits the level that snr_db "
        "gives, so in a quiet room the ratio may be larger.",
    )
    level_db: DecibelRange = Field(
        default=(-55, -36), description="Lowest and highest level of backgrounds against full scale (dB)."
    )
    quiet_db: DecibelRange = Field(
        default=(-78, -62), description="Lowest and highest level of the room tone under everything (dB)."
    )
    gap_s: Seconds = Field(default=1.0, description="Least time between two events in seconds (s).")
    segment_s: SecondsRange = Field(default=(15, 60), description="Shortest and longest segment of one kind (s).")
    pause_s: SecondsRange = Field(
        default=(0.2, 2.0), description="Shortest and longest pause between two utterances of the background (s)."
    )
    shares: Annotated[dict[Kind, Share], Field(min_length=1)] | None = Field(
        default=None,
        description="Share of each kind of background in time; they add up to 1. Null shares the time evenly among the "
        "kinds that the sources hold.",
    )
    speech_overlap: Share | None = Field(
        default=None,
        description="Share of events that lie in segments of other speech or near words; null follows from shares.",
    )
    sources: Annotated[tuple[SourceSettings, ...], Field(strict=False, min_length=1)] = Field(
        default=(
            SyntheticSpeech(kind="synthetic_speech", events=DEFAULT_EVENTS),
            SyntheticNoise(kind="synthetic_noise"),
        ),
        description="Where events and backgrounds come from.",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.shares is not None and abs(sum(self.shares.values()) - 1) > 1e-6:
            raise _invalid(f"they add up to {sum(self.shares.values()):g}; wanted: 1", "shares")
        names = [source.name for source in self.sources]
        repeated = next((name for index, name in enumerate(names) if name in names[:index]), None)
        if repeated is not None:
            raise _invalid(f"two sources have the name {repeated!r}; give one a name of its own", "sources")
        if self.segment_s[0] < 1:
            raise _invalid(f"{self.segment_s[0]:g} s; a segment has 1 s or more", "segment_s")
        return self
