"""Computes the features of a data set once per run, with augmented versions of the training split."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from gatesearch._lib.tensors import find_finite, to_float
from gatesearch.data import Dataset, Split, StreamDataset
from gatesearch.errors import DataError
from gatesearch.frontends import Frontend
from gatesearch.kernels.fixed_features import fast_features
from gatesearch.training.stream_split import StreamSplit, read_stream
from gatesearch.training.stream_windows import StreamWindows, read_stream_windows

CHUNK = 256  # number of samples that the front end processes at once


@dataclass(frozen=True, slots=True)
class FeatureSplit:
    """Features, labels and kinds of one split, and the split's stream if the data have one.

    Features are [N, *shape] and labels [N]. Kinds [N] are indices into :attr:`Features.kind_names`.
    """

    features: Tensor
    labels: Tensor
    kinds: Tensor
    stream: StreamSplit | None = None


@dataclass(frozen=True, slots=True)
class Features:
    """The features of a data set.

    Args:
        bank: the training split in several renditions, [N, renditions, *shape]. A rendition is an augmented version of
            a sample; every epoch draws one for each sample. Without augmentation, the only rendition is the plain one.
        labels: labels of the training split, [N].
        train: the training split without augmentation.
        validation: the validation split.
        test: the test split.
        positive: whether each class is a positive, [classes].
        kind_names: names of the kinds of samples: "positive", then each kind of negative.
        windows: windows of the training stream, from which every epoch draws instead of the bank; None without a
            stream.
    """

    bank: Tensor
    labels: Tensor
    train: FeatureSplit
    validation: FeatureSplit
    test: FeatureSplit
    positive: Tensor
    kind_names: Sequence[str]
    windows: StreamWindows | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample's features."""
        return tuple(self.train.features.shape[1:])

    def before_mining(self) -> Features:
        """Return the features without the hard negatives of the baseline."""
        if self.windows is None:
            return self
        return replace(self, windows=replace(self.windows, baseline_hard=self.windows.baseline_hard[:0]))


def prepare(
    data: Dataset,
    frontend: Frontend,
    *,
    augment: nn.Module | None,
    renditions: int,
    seed: int,
    on_step: Callable[[], None] | None = None,
    trains: bool = True,
) -> Features:
    """Run the front end over every split, and over augmented renditions of the training split.

    Validation and test, on which thresholds are set and quality is measured, have the features of the front end's own
    arithmetic. The training split is computed in float32, which takes less time: of features in fixed point, 99.8 %
    are equal and the others differ by one step, which is less than augmentation changes.

    Args:
        data: the data set, with inputs [N, ...].
        frontend: the fitted front end, which maps inputs to features.
        augment: module that changes float inputs at random; None for no augmentation.
        renditions: number of augmented versions of the training split.
        seed: the seed of the augmentation.
        on_step: function that is called after each split and rendition.
        trains: whether a training follows. Without ``augment``, the training draws windows from the training stream,
            so the result holds these windows. With ``augment``, it uses the augmented training split instead.

    Raises:
        DataError: a feature is not finite; the message names the first such sample.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        features = _prepare(data, frontend, augment, renditions, on_step)
    if trains and augment is None and isinstance(data, StreamDataset):
        features = replace(features, windows=_read_windows(data, _train_frontend(frontend)))
    return features


def _prepare(
    data: Dataset,
    frontend: Frontend,
    augment: nn.Module | None,
    renditions: int,
    on_step: Callable[[], None] | None,
) -> Features:
    """Compute the features of all splits and streams, and ``renditions`` augmented copies of the train split."""
    splits, in_float = {}, _train_frontend(frontend)
    for name in ("train", "validation", "test"):
        split: Split = getattr(data, name)
        features = _run(in_float if name == "train" else frontend, None, split.inputs)
        _check_finite(features, f"{name} split", split.names)
        stream = None
        if isinstance(data, StreamDataset) and name != "train":
            stream = read_stream(data.streams[name], frontend, data.window_s, data.hop_s, data.kind_names)
            _check_finite(stream.features, f"{name} stream", ["a window of the stream"] * len(stream.features))
        splits[name] = FeatureSplit(features, split.labels, data.kinds(split.labels), stream)
        if on_step is not None:
            on_step()
    plain = splits["train"].features
    if augment is None:
        bank = plain.unsqueeze(1)
    else:
        bank = plain.new_empty(len(plain), renditions, *plain.shape[1:])
        augment.train()
        for r in range(renditions):
            bank[:, r] = _run(in_float, augment, data.train.inputs)
            _check_finite(bank[:, r], "augmented train split", data.train.names)
            if on_step is not None:
                on_step()
    return Features(
        bank,
        data.train.labels,
        **splits,
        positive=torch.tensor(data.positive),
        kind_names=data.kind_names,
        windows=None,
    )


def _read_windows(data: StreamDataset, frontend: Frontend) -> StreamWindows | None:
    windows = read_stream_windows(data, frontend)
    if windows is not None:
        _check_finite(windows.features, "train stream", ["a window of the stream"] * len(windows.labels))
    return windows


class Batches:
    """Yields the training windows in shuffled batches.

    With a training stream, each epoch draws new windows from the stream. Otherwise an epoch uses one rendition of each
    sample of the bank. All windows are in memory, so worker processes would cost more time than they save.

    Args:
        features: the features of the data set.
        batch_size: number of samples in a batch; the last, smaller batch is dropped.
    """

    def __init__(self, features: Features, batch_size: int) -> None:
        self.features, self.batch_size = features, min(batch_size, len(features.labels))

    def __len__(self) -> int:
        return len(self.features.labels) // self.batch_size

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        if self.features.windows is not None:
            yield from self.features.windows.batches(self.batch_size)
            return
        bank, labels = self.features.bank, self.features.labels
        rendition = torch.randint(bank.shape[1], (len(labels),))
        for batch in torch.randperm(len(labels)).split(self.batch_size)[: len(self)]:
            yield bank[batch, rendition[batch]], labels[batch]


def _check_finite(features: Tensor, where: str, names: Sequence[str]) -> None:
    wrong = (~find_finite(features)).nonzero().flatten().tolist()
    if wrong:
        raise DataError(
            f"data: the features of {len(wrong)} of {len(features)} samples of the {where} are not finite, first those "
            f"of {names[wrong[0]]!r}"
        )


def _train_frontend(frontend: Frontend) -> Frontend:
    """Return the front end of the training split."""
    return frontend.in_float() if isinstance(frontend, Frontend) else frontend


@torch.no_grad()
def _run(frontend: nn.Module, augment: nn.Module | None, inputs: Tensor) -> Tensor:
    parts, compute = [], fast_features(frontend)
    for chunk in inputs.split(CHUNK):
        floats = to_float(chunk)
        parts.append(compute(floats if augment is None else augment(floats)))
    return torch.cat(parts)
