"""What a recipe and a search space may say: a small pydantic model a group of keys, in the order of the YAML.

Attributes are named exactly as the keys. All is checked that can be without data, device or backbone at hand.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from gatesearch.errors import unknown
from gatesearch.recipe.config import wrong

Scalar = bool | int | float | str | None


def _plain(value: Any) -> Any:
    """Let through what YAML and JSON both hold; a plug-in's own keys are otherwise its own affair."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if not isinstance(name, str):
                raise wrong(f"key {name!r} is not text; quote it")
            _plain(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            _plain(inner)
    elif not isinstance(value, bool | int | float | str | None):
        raise wrong(f"{type(value).__name__} values have no place in a recipe")
    return value


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    for index, value in enumerate(values):
        # 1 == True, and yet they are two settings.
        if any(value == other and type(value) is type(other) for other in values[:index]):
            raise wrong(f"{value!r} is there twice")
    return values


def _rising(values: tuple[float, float]) -> tuple[float, float]:
    if values[0] > values[1]:
        raise wrong(f"[{values[0]:g}, {values[1]:g}] is a range from high to low")
    return values


def _all_or_list(value: Any) -> Any:
    if value == "all" or isinstance(value, list | tuple):
        return value
    raise wrong(f"{value!r} is neither 'all' nor a list of names")


def _number_or_auto(value: Any) -> Any:
    if isinstance(value, str) and value != "auto":
        raise wrong(f"{value!r} is neither a number nor 'auto'")
    return value


def _absolute(root: str) -> str:
    """Pin a folder now: a run may be resumed from elsewhere."""
    try:
        return str(Path(root).expanduser().absolute())
    except RuntimeError:  # "~nobody": left for the loader to miss by name
        return root


def _module_or_plugin(group: str, what: str) -> AfterValidator:
    """Accept ``package.module:Class`` or the name of an entry point."""

    def check(written: str) -> str:
        names = plugins(group)
        # A package that is not installed has no entry points; names are then checked where they are used.
        if names and written not in names and not re.fullmatch(r"[\w.]+:\w+", written):
            raise wrong(f"{_not_among(what, written, names)}, or package.module:Name")
        return written

    return AfterValidator(check)


def _not_among(what: str, written: str, names: Sequence[str]) -> str:
    return str(unknown("", what, written, names)).removeprefix(": ")


@functools.cache
def plugins(group: str) -> tuple[str, ...]:
    """Return the names registered under an entry-point group, such as ``gatesearch.data``."""
    return tuple(sorted({entry.name for entry in entry_points(group=group)}))


Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Text = Annotated[str, Field(min_length=1)]
Names = Annotated[tuple[Text, ...], Field(strict=False, min_length=1), AfterValidator(_distinct)]
Range = Annotated[tuple[float, float], Field(strict=False), AfterValidator(_rising)]
Prevalences = Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], Field(strict=False), AfterValidator(_distinct)]
AllOrNames = Annotated[Names | Literal["all"], Field(union_mode="left_to_right"), BeforeValidator(_all_or_list)]
Plain = Annotated[Any, AfterValidator(_plain)]


class Group(BaseModel):
    """A group of keys: closed, strict (``"3"`` is no integer, nor is ``true``) and frozen."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class OpenGroup(BaseModel):
    """A group with a ``name``; all its other keys go to the plug-in of that name."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True, allow_inf_nan=False)
    __pydantic_extra__: dict[str, Plain] = Field(init=False)

    name: Text

    @property
    def arguments(self) -> dict[str, Any]:
        """The keyword arguments that the plug-in is called with."""
        return self.model_dump(exclude={"name"})


class Speech(Group):
    """The shipped speech loader: WAVs in a folder a class; ``root: null`` synthesises a set."""

    name: Literal["speech"]
    root: Annotated[Text, AfterValidator(_absolute)] | None = None
    positives: Names
    negatives: Annotated[dict[Text, Names], Field(min_length=1)]
    sample_rate: Count = 16000
    seconds: Positive = 1.0
    clips_per_class: Count = 400
    seed: Annotated[int, Field(ge=0)] = 0
    skip_bad_files: bool = False

    @property
    def arguments(self) -> dict[str, Any]:
        """The keyword arguments that the loader is called with."""
        return self.model_dump(exclude={"name"})

    @model_validator(mode="after")
    def _classes_are_apart(self) -> Speech:
        if "positive" in self.negatives:
            raise wrong("'positive' stands for all positives; call the class otherwise", "negatives")
        owner: dict[str, str] = dict.fromkeys(self.positives, "positives")
        for name, folders in self.negatives.items():
            for folder in folders:
                if folder in owner:
                    raise wrong(f"{folder!r} is in {owner[folder]}, too", f"negatives.{name}", "positives")
                owner[folder] = f"negatives.{name}"
        if clash := sorted(set(self.positives) & set(self.negatives)):
            raise wrong(f"{clash[0]!r} is a positive class, too", f"negatives.{clash[0]}", "positives")
        return self


class PluginData(OpenGroup):
    """A data set of another loader (entry-point group ``gatesearch.data``)."""

    name: Annotated[Text, _module_or_plugin("gatesearch.data", "data set")]
    root: Annotated[Text, AfterValidator(_absolute)] | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        """The keyword arguments that the plug-in is called with; a root only where one is given."""
        return self.model_dump(exclude={"name"} | ({"root"} if self.root is None else set()))


def _data_kind(data: Any) -> str:
    name = data.get("name") if isinstance(data, Mapping) else getattr(data, "name", None)
    # Keys of the shipped loader without a name are the shipped loader's: its errors help most.
    return "speech" if name in ("speech", None) else "plugin"


Data = Annotated[Annotated[Speech, Tag("speech")] | Annotated[PluginData, Tag("plugin")], Discriminator(_data_kind)]


class Frontend(OpenGroup):
    """What turns raw windows into the backbone's input."""


class Augment(Group):
    """Augmentation of training windows; ``augment: null`` for none.

    The last three keys are for images, all others for sound.
    """

    renditions: Count = 8
    shift_ms: NonNegative = 100
    noise_probability: Share = 0.5
    snr_db: Range = (5, 25)
    speed: Range = (0.9, 1.1)
    gain_db: Range = (-6, 6)
    time_masks: Annotated[int, Field(ge=0)] = 0
    time_width: Annotated[int, Field(ge=0)] = 6
    freq_masks: Annotated[int, Field(ge=0)] = 0
    freq_width: Annotated[int, Field(ge=0)] = 2
    pad: Annotated[int, Field(ge=0)] = 0
    flip: bool = False
    cutout: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _speeds_are_positive(self) -> Augment:
        if self.speed[0] <= 0:
            raise wrong(f"{self.speed[0]:g} is out of range; a speed is above 0", "speed")
        return self


class Stream(Group):
    """What the device hears in use; reach, latency and energy are expectations over it."""

    period_s: Positive = 1.0
    shares: Annotated[dict[Text, Share], Field(min_length=1)]
    prevalences: Prevalences = (0.1, 0.01, 0.001, 0.0001)


class Training(Group):
    """The training of the baseline; every other training is this one with the keys it overrides."""

    epochs: Count = 40
    batch_size: Count = 100
    learning_rate: Positive = 0.002
    weight_decay: NonNegative = 0.001
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    warmup: Share = 0.1
    averaging: Annotated[float, Field(ge=0, lt=1)] = 0.99

    def updated(self, step: Group) -> Training:
        """Return this training with the keys that another step sets, such as ``recipe.retrain``.

        >>> Training().updated(Retrain(epochs=3)).epochs
        3
        """
        set_there = {key: getattr(step, key, None) for key in Training.model_fields}
        return self.model_copy(update={key: value for key, value in set_there.items() if value is not None})


class Gates(Group):
    """How gates are trained, whatever their kind."""

    learning_rate_scale: Positive = 25.0
    head_learning_rate_scale: Positive = 10.0
    alpha: NonNegative = 1.0
    beta: NonNegative = 0.01
    distillation: NonNegative = 0.1


class GateCount(Group):
    """How many gates a plan may have."""

    min: Annotated[int, Field(ge=0)] = 0
    max: Annotated[int, Field(ge=0)] = 3

    @model_validator(mode="after")
    def _is_a_range(self) -> GateCount:
        if self.min > self.max:
            raise wrong(f"at least {self.min} and at most {self.max} gates cannot be", "min", "max")
        return self


Values = Annotated[tuple[Scalar, ...], Field(strict=False, min_length=1), AfterValidator(_distinct)]


class LayerSites(Group):
    """Which layers may have a gate of their own, and whether one choice holds for all of them."""

    sites: AllOrNames = "all"
    together: bool = False


class SearchSpace(Group):
    """Which plans there are: how many gates, at which sites, of which kinds, on which cores."""

    gates: GateCount = GateCount()
    min_work: Annotated[float, Field(ge=0, lt=1)] = 0.05
    sites: AllOrNames = "all"
    kinds: Annotated[dict[Text, dict[Text, Values]], Field(min_length=1)]
    layers: LayerSites = LayerSites()
    cores: AllOrNames = "all"

    @model_validator(mode="after")
    def _kinds_are_known(self) -> SearchSpace:
        known = plugins("gatesearch.gates")
        for kind in self.kinds:
            if known and kind not in known:
                raise wrong(_not_among("gate kind", kind, known), f"kinds.{kind}")
        return self


class Executor(Group):
    """Where plans are tried: ``workers`` at a time, each with so many CPUs and GPUs."""

    name: Literal["local", "ray"] = "local"
    workers: Count = 1
    cpus: Annotated[int, Field(ge=1)] = 1
    gpus: NonNegative = 0.0
    address: Text | None = None

    @model_validator(mode="after")
    def _is_of_this_kind(self) -> Executor:
        if self.name != "ray":
            for key in ("address", "gpus"):
                if getattr(self, key):
                    raise wrong(f"is for name: ray, and name is {self.name}", key, "name")
        return self


def _journal_or_url(storage: str) -> str:
    """Accept ``journal``, a file of SQLite's or a PostgreSQL server, without a password in it."""
    if storage == "journal":
        return storage
    kind, _, rest = storage.partition("://")
    if kind.split("+")[0] not in ("sqlite", "postgresql") or not rest.strip("/"):
        raise wrong(f"{storage!r} is none of: journal, sqlite:///FILE, postgresql://USER@HOST/DATABASE")
    if ":" in rest.partition("@")[0] and "@" in rest:
        raise wrong("has a password in it, which run folders would show; set PGPASSWORD or write ~/.pgpass")
    return storage


# Keys of `search` that were removed, and why. Recipes of before the removal name them all, switched off.
REMOVED_SEARCH_KEYS: Mapping[str, str] = {
    "engine": "every plan that is kept is trained",
    "halving": "every trial is trained to its end",
    "supernet": "every plan that is kept is trained",
}


def switched_on(search: Mapping[str, Any]) -> list[str]:
    """Return the removed keys of a ``search`` group that ask for something that there is no more.

    >>> switched_on({"engine": "trials", "halving": None, "supernet": {"plans": 2}})
    []
    >>> switched_on({"engine": "auto", "halving": {"first": 1}})
    ['engine', 'halving']
    """
    asks = {
        "engine": search.get("engine", "trials") != "trials",
        "halving": search.get("halving") is not None,
        # What was under `supernet` counted with another engine alone.
        "supernet": "supernet" in search and "engine" not in search,
    }
    return [key for key in REMOVED_SEARCH_KEYS if asks[key]]


class Search(Group):
    """How plans are proposed and how well they are tried."""

    sampler: Literal["gate", "tpe", "nsga2", "random"] = "gate"
    trials: Count = 40
    proposals: Count = 1000
    epochs: Count = 2
    executor: Executor = Executor()
    storage: Annotated[Text, AfterValidator(_journal_or_url)] = "journal"
    learning_rate: Positive | None = None

    @model_validator(mode="before")
    @classmethod
    def _without_removed_keys(cls, written: Any) -> Any:
        if not isinstance(written, Mapping):
            return written
        for key in switched_on(written):
            raise wrong(f"this key was removed: {REMOVED_SEARCH_KEYS[key]}; delete it", key)
        return {key: value for key, value in written.items() if key not in REMOVED_SEARCH_KEYS}


class Constraints(Group):
    """What the chosen plan must keep; null: no such bound."""

    latency_ms: Positive | None = None
    max_accuracy_drop: Share | None = 0.01
    max_fidelity_drop: Share | None = None
    min_recall: Annotated[float, Field(gt=0, le=1)] | None = None
    min_gate_recall: Annotated[float, Field(gt=0, le=1)] | None = 0.97

    @property
    def quality(self) -> dict[str, float | None]:
        """The bounds on what a model is worth; each is one goal's."""
        return self.model_dump(exclude={"latency_ms"})


class Cost(Group):
    """How the latency of the backbone's blocks is read.

    ``timing_seconds`` is the budget of all timings on this host; what it does not pay for is interpolated.
    """

    timing_seconds: Positive = 40.0


class Pick(Group):
    """Which feasible plan is built."""

    objective: Literal["energy", "latency", "accuracy"] = "energy"
    tolerance: Annotated[float, Field(ge=0, lt=1)] = 0.0
    attempts: Count = 3


class Retrain(Group):
    """The training of the chosen plan: ``training`` with these keys; null: as in ``training``.

    ``batch_size: auto`` takes what `gatesearch scaling` found for the recipe; the learning rate stays as it is.
    """

    epochs: Count | None = None
    batch_size: Annotated[Count | Literal["auto"] | None, BeforeValidator(_number_or_auto)] = None
    learning_rate: Positive | None = None
    weight_decay: NonNegative | None = None
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] | None = None
    warmup: Share | None = None
    averaging: Annotated[float, Field(ge=0, lt=1)] | None = None


def _known_formats(formats: tuple[str, ...]) -> tuple[str, ...]:
    known = sorted({*plugins("gatesearch.exporters")} - {"vela"})  # which a core of that kind gets anyway
    for written in formats:
        if written not in known:
            raise wrong(_not_among("format", written, known))
    return formats


class Export(Group):
    """What is written for the cores."""

    formats: Annotated[Names, AfterValidator(_known_formats)] = ("tflite", "onnx")
    calibration_samples: Count = 256


class Verify(Group):
    """The least agreement of an artifact with the model.

    The first two are shares of the test windows; the last, for networks whose output is no class, is in decibels.
    """

    gate_agreement: Share = 0.995
    prediction_agreement: Share = 0.99
    output_snr_db: float | None = None


class Recipe(Group):
    """Everything about a run. ``name`` is the file's stem where the file gives none."""

    name: Text | None = None
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0
    title: str = ""
    goal: Literal["classification", "reconstruction"] = "classification"
    data: Data
    frontend: Frontend = Frontend(name="identity")
    augment: Augment | None = None
    stream: Stream
    backbone: Annotated[Text, _module_or_plugin("gatesearch.backbones", "backbone")]
    backbone_args: Annotated[dict[Text, Any], AfterValidator(_plain)] = {}
    training: Training = Training()
    gates: Gates = Gates()
    space: SearchSpace
    search: Search = Search()
    device: Text
    cost: Cost = Cost()
    constraints: Constraints = Constraints()
    pick: Pick = Pick()
    retrain: Retrain = Retrain()
    export: Export = Export()
    verify: Verify = Verify()

    @model_validator(mode="after")
    def _shares_are_a_whole(self) -> Recipe:
        shares, expected = self.stream.shares, ["positive"]
        if isinstance(self.data, Speech):
            expected += self.data.negatives
            for name in shares:
                if name not in expected:
                    raise wrong(_not_among("class", name, expected), f"stream.shares.{name}")
        for name in expected:
            if name not in shares:
                raise wrong(f"no share for {name!r}", "stream.shares", "data.negatives")
        if abs(sum(shares.values()) - 1) > 1e-6:
            raise wrong(f"the shares add up to {sum(shares.values()):.6g}, not 1", "stream.shares")
        return self
