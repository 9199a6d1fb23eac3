"""The protocol of a front end, and the base of those that normalise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from gatesearch._lib import console
from gatesearch.errors import UserError
from gatesearch.graph.hops.frames import Frames

CHUNK_SAMPLES = 512  # fitting on 40,000 clips need not hold all their spectra at once
SMALLEST_STD = 1e-5  # a feature below this is constant
ROUNDING = 1e-7  # of the mean; what the variance of a constant is off by


class Frontend(nn.Module):
    """Maps raw samples [N, *input_shape] to features [N, *output_shape].

    A front end is fitted once on the training split. After that it is a fixed function: :meth:`describe` writes it
    down as JSON, and :func:`gatesearch.frontends.restore` rebuilds it from that, bit for bit.

    A plug-in derives from this class, sets the class attributes, and overrides ``forward`` and what else differs. Its
    constructor takes what a recipe writes under ``frontend`` and keeps it in :attr:`arguments`. Conformance:
    :class:`gatesearch.testing.frontends.FrontendConformance`.

    Attributes:
        name: as recipes write it; an entry point of the group ``gatesearch.frontends``.
        expects: one sample in words, for errors.
        dimensions: the dimensions of one sample; None where any will do.
        arguments: keyword arguments of the constructor.
        input_shape: the shape of one sample; empty before :meth:`fit`, where only the data can tell.
    """

    name: str = ""
    expects: ClassVar[str] = "samples"
    dimensions: ClassVar[int | None] = None

    def __init__(self) -> None:
        super().__init__()
        self.arguments: dict[str, Any] = {}
        self.input_shape: tuple[int, ...] = ()

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of one sample's features."""
        return self.input_shape

    @property
    def output_range(self) -> tuple[float, float] | None:
        """Smallest and largest feature where they are fixed; None where the data decides."""
        return None

    def fit(self, inputs: Tensor) -> Self:
        """Learn from the training split [N, *input_shape].

        Raises:
            UserError: the data is not what this front end expects.
        """
        self.check_inputs(inputs)
        self.input_shape = tuple(inputs.shape[1:])
        return self

    def check_inputs(self, inputs: Tensor) -> None:
        """Check the shape of training data.

        Raises:
            UserError: the data is not what this front end expects.
        """
        if self.dimensions is not None and inputs.ndim != 1 + self.dimensions:
            shape = list(inputs.shape[1:])
            raise UserError(f"frontend.name: {self.name} wants {self.expects}; the data has {shape}")
        if not len(inputs):
            raise UserError(f"frontend.name: {self.name} needs samples to fit on; the training split is empty")

    def macs(self) -> int:
        """Return the multiply-accumulates of one sample."""
        return 0

    def hop_frames(self, hop: int) -> Frames | None:
        """Return the time axis of the features where a hop of so many samples gives fresh frames alone.

        None, as here, where each hop gives the features of its whole window: :meth:`step` then computes them anew from
        a ring buffer, which is exact for any front end.

        Raises:
            UserError: frames do not begin at the hop's samples.
        """
        return None

    def hop_state(self, window: Tensor) -> Tensor:
        """Return what :meth:`step` needs of a window [N, *input_shape] of a stream to go on from its end."""
        return window

    def step(self, samples: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Take the samples of a hop [N, hop, ...]; return features as :meth:`hop_frames` says, and the state after it.

        The features are those of the whole window that ends with these samples, bit for bit.
        """
        window = torch.cat([state, samples], 1)[:, -state.shape[1] :]
        features: Tensor = self(window)
        return features, window

    def hop_macs(self, hop: int) -> int:
        """Return the multiply-accumulates of a hop of so many samples."""
        return self.macs()

    def describe(self) -> dict[str, Any]:
        """Return what :func:`gatesearch.frontends.restore` needs as JSON-ready values, with shapes and cost to read."""
        return {
            "name": self.name,
            "args": dict(self.arguments),
            **self.describe_fit(),
            "input_shape": list(self.input_shape),
            "output_shape": list(self.output_shape),
            "macs": self.macs(),
        }

    def describe_fit(self) -> dict[str, Any]:
        """Return what :meth:`fit` learned beyond the shape, as JSON-ready values."""
        return {}

    def restore_fit(self, description: Mapping[str, Any]) -> None:
        """Set what :meth:`fit` learned from a result of :meth:`describe`."""
        self.input_shape = tuple(description.get("input_shape", ()))


class NormalisingFrontend(Frontend):
    """Brings every feature to mean 0 and standard deviation 1 over the training split.

    Args:
        statistics_shape: shape of mean and standard deviation, such that both broadcast against features [N, ...]; the
            size that the data decides is -1.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, statistics_shape: Sequence[int] = (-1,)) -> None:
        super().__init__()
        self.statistics_shape = tuple(statistics_shape)
        self.register_buffer("mean", torch.zeros(1).view(self.statistics_shape))
        self.register_buffer("std", torch.ones(1).view(self.statistics_shape))

    def normalise(self, features: Tensor) -> Tensor:
        """Return features at mean 0 and standard deviation 1."""
        return (features - self.mean) / self.std

    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Set mean and standard deviation; a constant feature is only shifted, so that it becomes zero.

        Raises:
            UserError: a feature is not finite.
        """
        if not bool(mean.to(self.mean).isfinite().all() and std.to(self.std).isfinite().all()):
            raise UserError(f"frontend.name: {self.name}: features of the training split are not finite")
        faint = int(((std > ROUNDING * mean.abs()) & (std < SMALLEST_STD)).sum())
        if faint:
            console.warn(
                f"frontend.name: {self.name}: {faint} of {std.numel()} features vary by less than {SMALLEST_STD:g} and "
                "are taken for constant; bring the data to another unit"
            )
        std = torch.where(std < SMALLEST_STD, 1.0, std)
        self.mean = mean.to(self.mean).view(self.statistics_shape)
        self.std = std.to(self.std).view(self.statistics_shape)

    def describe_fit(self) -> dict[str, Any]:
        """Return mean and standard deviation."""
        return {"mean": self.mean.flatten().tolist(), "std": self.std.flatten().tolist()}

    def restore_fit(self, description: Mapping[str, Any]) -> None:
        """Set mean and standard deviation from a result of :meth:`describe`."""
        super().restore_fit(description)
        self.set_statistics(torch.tensor(description["mean"]), torch.tensor(description["std"]))


def mean_and_std(chunks: Iterable[Tensor], dimensions: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation over some dimensions of all chunks, in one pass.

    The variance is E[x^2] - E[x]^2. That difference of two large numbers loses digits, so sums are kept in double: the
    features of 40,000 clips are two million numbers of one sign. Rounding can leave it slightly negative; hence the
    clamp.

    Args:
        chunks: tensors of one shape except along ``dimensions``; at least one.
        dimensions: those to average over.

    >>> mean, std = mean_and_std([torch.tensor([[1.0, 5.0]]), torch.tensor([[3.0, 5.0]])], (0,))
    >>> mean.tolist(), std.tolist()
    ([2.0, 5.0], [1.0, 0.0])
    """
    count, sums = 0, torch.zeros((), dtype=torch.float64)
    for chunk in chunks:
        values = chunk.double()
        totals = torch.stack([values.sum(tuple(dimensions)), values.square().sum(tuple(dimensions))])
        sums = sums.to(totals.device) + totals
        count += values.numel() // totals[0].numel()
    mean, square = sums / count
    return mean, (square - mean.square()).clamp(min=0).sqrt()
