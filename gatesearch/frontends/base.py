"""Base classes of front ends, which turn raw samples into the features that a backbone reads."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor, nn

from gatesearch._lib import console
from gatesearch.errors import UserError
from gatesearch.graph.hops.frames import Frames

CHUNK_SAMPLES = 512  # number of samples that ``fit`` processes at once; the features of all would fill the memory
SMALLEST_STD = 1e-5  # a feature with a smaller standard deviation counts as constant
FLOAT, FIXED_POINT = "float32", "fixed_point"
ARITHMETICS = (FLOAT, FIXED_POINT)
"""How a front end computes: in single precision, or in integers as a microcontroller does."""
ROUNDING = 1e-7  # rounding error in the standard deviation of a constant feature, divided by the feature's mean


class FrameCall(NamedTuple):
    """The call of a kernel that computes one frame of features on a device.

    Args:
        kernel: name of the kernel, an entry point of the group ``gatesearch.kernels``.
        shape: the sizes of the call.
        variant: other parameters that select one of the kernel's programs, by name.
    """

    kernel: str
    shape: tuple[int, ...]
    variant: tuple[tuple[str, int], ...] = ()


class Frontend(nn.Module):
    """Maps raw samples [N, *input_shape] to features [N, *output_shape].

    A front end is fitted once on the training split. After that it is a fixed function. :meth:`describe` returns the
    fitted front end as JSON-ready values. From these values, :func:`gatesearch.frontends.restore` builds a front end
    with the same features, bit for bit.

    A plug-in derives from this class, sets the class attributes, and overrides ``forward`` and other methods where
    needed. Its constructor takes the keys that a recipe gives under ``frontend`` and stores them in :attr:`arguments`.
    :class:`gatesearch.testing.frontends.FrontendConformance` tests whether a plug-in does all that is required.

    Attributes:
        name: name of the front end in recipes: an entry point of the group ``gatesearch.frontends``.
        expects: description of one sample, for error messages.
        dimensions: number of axes of one sample; None if any number is valid.
        recursive: whether a frame depends on all samples of the stream before it, as behind a recursive filter. The
            features of a stream are then those of one row of all its samples, and a row starts without a past.
        gives_spectrum: whether features are [N, 1, frames, frequencies], with neighbouring frequencies side by side.
        arguments: keyword arguments of the constructor.
        arithmetic: how features are computed, one of :data:`ARITHMETICS`; :meth:`use_fixed_point` changes it.
        input_shape: shape of one sample; empty before :meth:`fit` if it depends on the data.
    """

    name: str = ""
    expects: ClassVar[str] = "samples"
    dimensions: ClassVar[int | None] = None
    recursive: ClassVar[bool] = False
    gives_spectrum: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.arguments: dict[str, Any] = {}
        self.arithmetic = FLOAT
        self.input_shape: tuple[int, ...] = ()

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of one sample's features."""
        return self.input_shape

    @property
    def output_range(self) -> tuple[float, float] | None:
        """Smallest and largest possible feature; None if they depend on the data."""
        return None

    def fit(self, inputs: Tensor) -> Self:
        """Learn from the training split [N, *input_shape].

        Raises:
            UserError: the data do not fit this front end.
        """
        self.check_inputs(inputs)
        self.input_shape = tuple(inputs.shape[1:])
        return self

    def check_inputs(self, inputs: Tensor) -> None:
        """Check the shape of training data.

        Raises:
            UserError: the data do not fit this front end.
        """
        if self.dimensions is not None and inputs.ndim != 1 + self.dimensions:
            shape = list(inputs.shape[1:])
            raise UserError(f"frontend.name: {self.name} needs {self.expects}; the data have the shape {shape}")
        if not len(inputs):
            raise UserError(f"frontend.name: {self.name} needs samples to fit on; the training split is empty")

    def use_fixed_point(self) -> bool:
        """Compute features in fixed point from now on; return False if the front end has no such form.

        Call this after :meth:`fit`. This base class has no form in fixed point.
        """
        return False

    def in_float(self) -> Self:
        """Return a front end with the same fit that computes in float32; itself if it does so already."""
        if self.arithmetic == FLOAT:
            return self
        twin = copy.copy(self)
        twin.arithmetic = FLOAT
        return twin

    def macs(self) -> int:
        """Return the multiply-accumulates of one sample."""
        return 0

    def hop_frames(self, hop: int) -> Frames | None:
        """Return the time axis of the features if :meth:`step` computes only the fresh frames of a hop, else None.

        At each hop, the window of a stream moves by ``hop`` samples. Fresh frames are the frames that the previous
        window did not contain. This base class returns None: its :meth:`step` computes the features of the whole
        window, which is exact for any front end.

        Raises:
            UserError: the hop is no whole number of frames.
        """
        return None

    def hop_state(self, window: Tensor) -> Tensor:
        """Return the state from which :meth:`step` continues a stream after the window [N, *input_shape]."""
        return window

    def step(self, samples: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Read the samples of a hop [N, hop, ...] and the state; return the features and the state after the hop.

        If :meth:`hop_frames` returns None, the features are those of the whole window that ends with the samples.
        Otherwise they are those of the window's fresh frames alone. A frame has the same features in both cases, bit
        for bit; that of a :attr:`recursive` front end is the frame of the whole stream.
        """
        window = torch.cat([state, samples], 1)[:, -state.shape[1] :]
        features: Tensor = self(window)
        return features, window

    def hop_macs(self, hop: int) -> int:
        """Return the multiply-accumulates of a hop of ``hop`` samples."""
        return self.macs()

    def frame_call(self) -> FrameCall | None:
        """Return the kernel call that computes one frame on a device; None if no kernel computes this front end.

        The price of a front end without a kernel uses the rate of the device's profile for each multiply-accumulate.
        """
        return None

    def frame_count(self, hop: int | None = None) -> int:
        """Return how often :meth:`frame_call` runs for a hop of ``hop`` samples or, with None, for a window."""
        return 1

    def feature_steps(self) -> list[dict[str, Any]] | None:
        """Return the steps that compute the features, as data for other languages; None if they are not described.

        :mod:`gatesearch.frontends.feature_steps` defines the operations. A class that changes the features of its base
        class defines its own steps; inherited steps would be wrong and are ignored.
        """
        return None

    def describe(self) -> dict[str, Any]:
        """Return the front end as JSON-ready values for :func:`gatesearch.frontends.restore`, with shapes and cost."""
        own = "feature_steps" in vars(type(self))
        return {
            "name": self.name,
            "args": dict(self.arguments),
            "arithmetic": self.arithmetic,
            **self.describe_fit(),
            "input_shape": list(self.input_shape),
            "output_shape": list(self.output_shape),
            "macs": self.macs(),
            "steps": self.feature_steps() if own else None,
        }

    def describe_fit(self) -> dict[str, Any]:
        """Return the values that :meth:`fit` has set, other than ``input_shape``, as JSON-ready values."""
        return {}

    def restore_fit(self, description: Mapping[str, Any]) -> None:
        """Set the values that :meth:`fit` would set, from a result of :meth:`describe`."""
        self.input_shape = tuple(description.get("input_shape", ()))


class NormalisingFrontend(Frontend):
    """The base of front ends that normalise every feature to mean 0 and standard deviation 1 on the training split.

    Args:
        statistics_shape: shape of mean and standard deviation, which broadcast against features [N, ...]; -1 stands
            for a size that depends on the data.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, statistics_shape: Sequence[int] = (-1,)) -> None:
        super().__init__()
        self.statistics_shape = tuple(statistics_shape)
        self.register_buffer("mean", torch.zeros(1).view(self.statistics_shape))
        self.register_buffer("std", torch.ones(1).view(self.statistics_shape))

    def normalise(self, features: Tensor) -> Tensor:
        """Return features, normalised to mean 0 and standard deviation 1 on the training split."""
        return (features - self.mean) / self.std

    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Set mean and standard deviation; a constant feature is only shifted to zero, not scaled.

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

    The variance is E[x^2] - E[x]^2. This difference of two large numbers loses digits, so the sums are in double
    precision. Rounding can make the difference slightly negative, so it is clamped to zero.

    Args:
        chunks: at least one tensor; all have the same shape except along ``dimensions``.
        dimensions: the axes over which mean and standard deviation are computed.

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


def count_hop_frames(hop: int, stride: int) -> int:
    """Return the number of frames that begin in a hop [samples], if a frame begins every ``stride`` samples.

    >>> count_hop_frames(640, 320)
    2

    Raises:
        UserError: the hop is no multiple of the stride.
    """
    if hop < 1 or hop % stride:
        nearest = max(1, round(hop / stride)) * stride
        raise UserError(
            f"hops: hop: {hop} samples, but a frame begins every {stride} samples; nearest choice: {nearest}"
        )
    return hop // stride
