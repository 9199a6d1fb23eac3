"""What a data set is to the rest of gatesearch: three splits, and which classes count as positive."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Split:
    """One part of a data set.

    Args:
        inputs: what the front end takes [N, ...]; int16 for waveforms.
        labels: int64 class indices [N].
        names: one name a clip, for reports and error messages.

    >>> len(Split(torch.zeros(2, 16000), torch.tensor([0, 1]), ("a.wav", "b.wav")))
    2
    """

    inputs: Tensor
    labels: Tensor
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if not len(self.inputs) == len(self.labels) == len(self.names):
            counts = f"{len(self.inputs)} inputs, {len(self.labels)} labels, {len(self.names)} names"
            raise ValueError(f"a split needs as many labels and names as inputs; got {counts}")

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class Dataset:
    """Train, validation and test split, and what their labels mean.

    A *kind* is what a gate tells apart: the positives together, and each negative class by itself, since the
    stream of a device in use has its own share of each.

    Args:
        name: short name for tables.
        source: where the data came from and what was left out, for the report.
        synthetic: whether a machine made the data; every figure from such data is labelled so.
        classes: class names, by label.
        positive: whether the device should wake, by label.
        train: what is fitted on.
        validation: what thresholds and choices are made on.
        test: what is reported.
        noise: background from the training split only [M, samples], or None.
        sample_rate: samples per second, or None where inputs are no signals in time.

    Raises:
        ValueError: a label without a class, or a class without a flag.

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
        if len(self.classes) != len(self.positive):
            raise ValueError(f"{len(self.classes)} classes but {len(self.positive)} positive flags")
        for split in (self.train, self.validation, self.test):
            if len(split) and not 0 <= int(split.labels.min()) <= int(split.labels.max()) < len(self.classes):
                raise ValueError(f"a label lies outside the {len(self.classes)} classes")

    @property
    def kind_names(self) -> tuple[str, ...]:
        """``"positive"``, then each negative class in the order of its label."""
        negative = [name for name, wakes in zip(self.classes, self.positive, strict=True) if not wakes]
        return ("positive", *negative)

    def kinds(self, labels: Tensor) -> Tensor:
        """Return the index into :attr:`kind_names` of every label, int64 [N]."""
        kind_of, used = [], 0
        for wakes in self.positive:
            used += not wakes
            kind_of.append(0 if wakes else used)
        return torch.tensor(kind_of, device=labels.device)[labels]

    def is_positive(self, labels: Tensor) -> Tensor:
        """Return whether each label is one the device should wake for, bool [N]."""
        return torch.tensor(self.positive, device=labels.device)[labels]
