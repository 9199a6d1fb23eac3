"""The types of a data set and of its splits: inputs, labels, names, and which classes are positives."""

from __future__ import annotations

import numbers
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gatesearch.data.class_names import POSITIVE_KIND, check_classes, to_flags
from gatesearch.data.split_arrays import to_inputs, to_labels, to_names
from gatesearch.errors import DataError, quote

MAX_RATE_HZ = 10**9
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class Split:
    """One part of a data set.

    Args:
        inputs: inputs of the front end [N, ...]; int16 for waveforms. Numpy arrays become tensors, and floats become
            float32.
        labels: class indices [N], whole numbers of any type; they become int64.
        names: the name of each clip, for reports and error messages.

    Raises:
        DataError: the arrays have another form, or different lengths.

    >>> len(Split(torch.zeros(2, 16000), torch.tensor([0, 1]), ("a.wav", "b.wav")))
    2
    """

    inputs: Tensor
    labels: Tensor
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", to_inputs(self.inputs))
        object.__setattr__(self, "labels", to_labels(self.labels))
        object.__setattr__(self, "names", to_names(self.names))
        if not len(self.inputs) == len(self.labels) == len(self.names):
            counts = f"{len(self.inputs)} inputs, {len(self.labels)} labels, {len(self.names)} names"
            raise DataError(f"a split needs as many labels and names as inputs; got {counts}")

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class Dataset:
    """Training, validation and test split, and the meaning of their labels.

    The positives together are one *kind*, and each negative class is a kind of its own. Gates pass different shares of
    each kind, and the stream of a device in use contains a share of each kind.

    Args:
        name: short name for tables.
        source: the origin of the data and what was left out, for the report.
        synthetic: whether the data were generated; every figure from such data is labelled synthetic.
        classes: class names, by label.
        positive: whether the device should wake, by label.
        train: the split to which weights are fitted.
        validation: the split on which thresholds are set and plans are picked.
        test: the split of the reported figures.
        noise: background recordings [M, samples], from the training split only; or None.
        sample_rate: samples per second, or None if inputs are not signals in time.

    Raises:
        DataError: a label has no class, a class has no flag, two classes have one name, a negative class is named
            ``positive``, or an argument has another type. :func:`gatesearch.data.check_dataset` checks the values.

    >>> split = Split(torch.zeros(3, 4), torch.tensor([0, 1, 2]), ("a", "b", "c"))
    >>> classes, positive = ("yes", "no", "_silence_"), (True, True, False)
    >>> data = Dataset("toy", "made here", True, classes, positive, split, split, split)
    >>> data.kind_names, data.kinds(split.labels).tolist()
    (('positive', '_silence_'), [0, 0, 1])
    >>> data.is_positive(split.labels).tolist()
    [True, True, False]
    """

    name: str
    source: str
    synthetic: bool
    classes: tuple[str, ...]
    positive: tuple[bool, ...]
    train: Split = field(repr=False)
    validation: Split = field(repr=False)
    test: Split = field(repr=False)
    noise: Tensor | None = field(default=None, repr=False)
    sample_rate: int | None = None

    def __post_init__(self) -> None:
        for key in ("name", "source"):
            if not isinstance(getattr(self, key), str):
                raise DataError(f"data: {key} is {quote(getattr(self, key))}; wanted: text")
        where = f"data {self.name!r}"
        object.__setattr__(self, "positive", to_flags(self.positive, where))
        object.__setattr__(self, "classes", check_classes(self.classes, self.positive, where))
        for split_name in SPLITS:
            self._check_split(split_name, where)
        if self.noise is not None:
            object.__setattr__(self, "noise", to_inputs(self.noise, f"{where}: noise"))
        object.__setattr__(self, "sample_rate", _to_rate(self.sample_rate, where))

    def _check_split(self, split_name: str, where: str) -> None:
        split = getattr(self, split_name)
        if not isinstance(split, Split):
            raise DataError(f"{where}: {split_name} is a {type(split).__name__}, not a gatesearch.data.Split")
        outside = ((split.labels < 0) | (split.labels >= len(self.classes))).nonzero()
        if len(outside):
            index = int(outside[0])
            raise DataError(
                f"{where}: {split_name} split, sample {index} ({split.names[index]!r}): label "
                f"{int(split.labels[index])} lies outside the {len(self.classes)} classes"
            )

    @property
    def has_drawn_windows(self) -> bool:
        """Whether samples are windows at random offsets of a stream, of which some may be drawn twice."""
        return False

    @property
    def kind_names(self) -> tuple[str, ...]:
        """``"positive"``, then each negative class in the order of its label."""
        negative = [name for name, wakes in zip(self.classes, self.positive, strict=True) if not wakes]
        return (POSITIVE_KIND, *negative)

    def kinds(self, labels: Tensor) -> Tensor:
        """Return for each label the index of its kind in :attr:`kind_names`, int64 [N]."""
        kind_of, used = [], 0
        for wakes in self.positive:
            used += not wakes
            kind_of.append(0 if wakes else used)
        return torch.tensor(kind_of, device=labels.device)[labels]

    def is_positive(self, labels: Tensor) -> Tensor:
        """Return whether the device should wake for each label, bool [N]."""
        return torch.tensor(self.positive, device=labels.device)[labels]


def _to_rate(rate: object, where: str) -> int | None:
    if rate is None:
        return None
    if isinstance(rate, numbers.Real) and not isinstance(rate, bool):
        try:
            value = float(rate)
        except OverflowError:  # an integer that is larger than any float
            value = 0.0
        if 0 < value <= MAX_RATE_HZ and value.is_integer():
            return int(value)
    raise DataError(f"{where}: sample_rate is {quote(rate)}; wanted: samples per second, or None")
