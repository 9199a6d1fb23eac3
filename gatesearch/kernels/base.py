"""Base classes of kernel descriptors, which describe C kernels to the rest of gatesearch.

A kernel is one Python file and one C file. The Python file holds a class derived from one of these three:

* :class:`Kernel` names the C file and its functions.
* :class:`CountedKernel` can also be measured on a board: it lists the calls to measure, says how much work a call
  does, and prepares a call in C.
* :class:`LayerKernel` also replaces a trained layer on cores that run kernels.

Packages register their classes under the entry-point group ``gatesearch.kernels``; see
:mod:`gatesearch.kernels.registry`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol, Self

import numpy as np
from torch import Tensor, nn

from gatesearch.gates import KernelCall
from gatesearch.kernels.arrays import Array, aligned_zeros
from gatesearch.kernels.library import SOURCES, Library, Signatures

Calls = list[Callable[[], object]]  # functions without arguments that call C, in the order in which a layer needs them
Axes = dict[str, tuple[float, ...]]  # by the name of a share of work: the values at which a kernel is timed
OUTSIDE_RANK = 1000  # kernels of other packages come after the kernels of gatesearch


class ActiveChannels(NamedTuple):
    """The channels of a feature map that hold values; all others are zero.

    Args:
        groups: ascending indices of groups of channels, int32.
        size: number of channels in a group.
    """

    groups: Array
    size: int

    def channels(self, count: int) -> Array:
        """Return the indices of the active channels among ``count``.

        >>> ActiveChannels(np.array([1]), 16).channels(20).tolist()
        [16, 17, 18, 19]
        """
        indices = (self.groups[:, None] * self.size + np.arange(self.size)).ravel()
        return indices[indices < count]


class NativeLayer(Protocol):
    """A trained layer, packed into arrays, that a kernel runs.

    It maps one float32 array to another: a feature map [height, width, channels] or a sequence [time, features].
    """

    absorbs_norm: ClassVar[bool]  # whether the kernel also computes the batch normalisation behind the layer
    reads: ClassVar[tuple[int, ...]]  # sizes of the groups of input channels that the kernel can skip
    shape: Any  # shape of the output, a tuple of sizes

    @property
    def active(self) -> ActiveChannels | None:
        """The channels that the last run computed; None where every run computes all."""

    @classmethod
    def from_module(
        cls, layer: nn.Module, example: Tensor, norm: nn.BatchNorm2d | None, relu: bool, positive: bool
    ) -> Self:
        """Pack a trained layer, and the normalisation and the ReLU behind it.

        Args:
            layer: the layer, in evaluation mode.
            example: an input of the layer, [1, ...].
            norm: the batch normalisation behind the layer; None unless :attr:`absorbs_norm` is true.
            relu: whether a ReLU follows.
            positive: whether no input is ever negative.

        Raises:
            ValueError: the kernel cannot run this layer.
        """

    def arrays(self) -> dict[str, Array]:
        """Return the arrays that make up the layer, to store in a bundle."""

    @classmethod
    def load(cls, arrays: Mapping[str, Array], library: Library) -> Self:
        """Rebuild the layer from :meth:`arrays`."""

    def bind(self, x: Array, y: Array, active: ActiveChannels | None = None, whole: bool = True) -> Calls:
        """Return the native calls, in order, for arrays at fixed addresses.

        Args:
            x: input.
            y: output.
            active: channels of x that hold values, in groups whose size is one of :attr:`reads`; None means all.
            whole: whether the calls also clear the channels of y that they do not compute.
        """

    def reference(self, x: Array, active: ActiveChannels | None = None) -> Array:
        """Return the layer's output for x, float32 of shape :attr:`shape`, computed in torch or numpy."""


class Sample(NamedTuple):
    """A layer with random weights, and an input for it, for timing."""

    layer: NativeLayer
    x: Array
    active: ActiveChannels | None = None


class Listing(NamedTuple):
    """A layer's shape, and the shares of work at which a board's table measures kernels of this shape.

    Args:
        shape: the shape, in the form of :class:`~gatesearch.gates.KernelCall`.
        pairs: pairs of a share of the inputs and a share of the outputs.
        shares: shares of the outputs, or of another quantity that a kernel can skip in part.
    """

    shape: tuple[int, ...]
    pairs: tuple[tuple[float, float], ...] = ()
    shares: tuple[float, ...] = ()


class Kernel(ABC):
    """A C file and the functions in it.

    Attributes:
        name: the name of the kernel, in gates and tables.
        source: its C file. Files in :data:`~gatesearch.kernels.build.SOURCES` are compiled together, by ``all.c``. A
            file of another folder is compiled by itself; it may include ``kernels.h`` and ``simd.h``.
        signatures: result and argument types of each C function, by the function's name without prefix and suffix.
        rank: position in the order of all kernels. Instruction counts on a board depend on the order, because the
            program on the board draws random numbers row by row.
    """

    name: ClassVar[str]
    source: ClassVar[Path]
    signatures: ClassVar[Signatures] = {}
    rank: ClassVar[int] = OUTSIDE_RANK

    @property
    def is_outside(self) -> bool:
        """Whether another package registers the kernel."""
        return self.source.parent != SOURCES


class CountedKernel(Kernel):
    """A kernel whose calls can be measured on a board.

    Under ``#ifdef GS_KIT``, the kernel's C file defines two functions. ``prepare_NAME(gs_call *)`` reserves memory and
    fills it with random numbers. ``run_NAME(gs_call *)`` makes the call. ``NAME`` stands for the attribute ``runner``.
    The program on the board, which is also called the runner, calls both functions; see ``kernels/src/kit.h``.

    Attributes:
        runner: name of the two C functions; several kernels may share them.
        case: position among the cases of the runner's switch; another order changes counts by about one instruction.
        shares: names of the quantities that a call can skip in part, in the order of the runner's shares.
        observed: the :attr:`shares` that depend on data. For these the runner reports the actual share, which is close
            to the requested one.
        variants: names of the integer parameters that select a loop in C, in the order of the runner's variants.
        listings: kinds of shapes at which tables measure the kernel, named in
            :mod:`gatesearch.cost.sources.board.shapes`.
        skips: parts of the input that the kernel can skip, by the names of :class:`~gatesearch.gates.Call`.
    """

    runner: ClassVar[str]
    case: ClassVar[int] = OUTSIDE_RANK
    shares: ClassVar[tuple[str, ...]] = ()
    observed: ClassVar[tuple[str, ...]] = ()
    variants: ClassVar[tuple[str, ...]] = ()
    listings: ClassVar[tuple[str, ...]] = ()
    skips: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def table_calls(self, listing: Listing) -> Iterator[KernelCall]:
        """Yield the calls that a table measures for a listing."""

    @abstractmethod
    def macs(self, call: KernelCall) -> float:
        """Return the multiply-accumulates of a call that skips nothing."""

    @abstractmethod
    def work(self, call: KernelCall, tile: int) -> dict[str, float]:
        """Return the work terms of a call by name; the time of the call is modelled as a linear function of them.

        A term counts the iterations of a loop of the C code: over blocks of 16 channels, pixels or taps. A table
        fits one non-negative slope for each term, and the slopes carry over to other shapes.

        Args:
            call: the shape, the variant, and the computed share of each quantity.
            tile: outputs that the inner loop computes at once on the core.
        """

    def family(self, call: KernelCall) -> str:
        """Return the name of the group of calls that share slopes.

        A kernel whose variants run different loops overrides this method and returns one name for each variant.
        """
        return self.name

    def row_shape(self, call: KernelCall) -> tuple[int, ...]:
        """Return the shape in the format of the runner's rows, at most twelve numbers."""
        return call.shape


class LayerKernel(CountedKernel):
    """A kernel that replaces a trained layer.

    Attributes:
        layer: class of the layers that the kernel runs.
    """

    layer: ClassVar[type[NativeLayer]]

    @abstractmethod
    def axes(self, call: KernelCall, reads_blocks: bool = True) -> Axes:
        """Return the shares at which the kernel is timed, by name.

        Args:
            call: the call; only its shape and its variant matter, not its shares.
            reads_blocks: whether the call's input may come from a layer that skips channels.
        """

    @abstractmethod
    def sample(self, call: KernelCall, library: Library, generator: np.random.Generator) -> Sample:
        """Return a random layer of a call's shape, and an input for which the layer computes the call's shares."""

    def round_shares(self, call: KernelCall) -> KernelCall:
        """Return the call with its shares rounded to whole rows or channels."""
        return call

    def layer_shape(self, shape: tuple[int, ...], variant: Mapping[str, int | str]) -> tuple[int, ...]:
        """Return the shape of the layer that a call with this shape and variant computes."""
        return shape

    def calls(self, call: KernelCall, library: Library, seed: int = 0) -> Calls:
        """Return the native calls of a :meth:`sample`, ready to be timed."""
        layer, x, active = self.sample(call, library, np.random.default_rng(seed))
        return layer.bind(x, aligned_zeros(layer.shape, np.float32), active)


def random_normal(generator: np.random.Generator, *shape: int) -> Array:
    """Return normally distributed float32 values with the variance 1 / n, where n is the last size."""
    return (generator.standard_normal(shape) / np.sqrt(max(1, shape[-1]))).astype(np.float32)
