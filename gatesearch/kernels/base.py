"""What a kernel is: one descriptor that says all that gatesearch has to know of it.

A kernel is one Python file and one C file. The Python file holds a class derived from one of three here:

* :class:`Kernel` names the C file and its functions; nothing more is known of it.
* :class:`CountedKernel` can be read on a board: it lists calls, says what work a call is, and prepares one in C.
* :class:`LayerKernel` also takes the place of a trained layer on cores that run kernels.

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
from gatesearch.kernels.arrays import Array, aligned
from gatesearch.kernels.library import SOURCES, Library, Signatures

Calls = list[Callable[[], object]]
Axes = dict[str, tuple[float, ...]]
OUTSIDE_RANK = 1000


class ActiveChannels(NamedTuple):
    """The channels of a map that are there: ascending groups of ``size`` channels, int32; the others are zero."""

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
    """A trained layer that a kernel runs, packed into arrays and bound to buffers.

    It maps one float32 array to another: a map [h, w, c] or a sequence [T, F].
    """

    absorbs_norm: ClassVar[bool]  # whether it takes over a batch normalisation behind the layer as well
    reads: ClassVar[tuple[int, ...]]  # sizes of groups of input channels that it can leave out
    shape: Any  # of its output, a tuple of sizes

    @property
    def active(self) -> ActiveChannels | None:
        """The channels that its last run computed; None where it computes all."""

    @classmethod
    def from_module(
        cls, layer: nn.Module, example: Tensor, norm: nn.BatchNorm2d | None, relu: bool, positive: bool
    ) -> Self:
        """Pack a trained layer and what follows it.

        Args:
            layer: in evaluation mode.
            example: what it reads, [1, ...].
            norm: the batch normalisation behind it, where :attr:`absorbs_norm`.
            relu: whether a ReLU follows.
            positive: whether no input is ever negative.

        Raises:
            ValueError: the kernel cannot run this layer.
        """

    def arrays(self) -> dict[str, Array]:
        """Return all arrays that the layer consists of, for a bundle."""

    @classmethod
    def load(cls, arrays: Mapping[str, Array], library: Library) -> Self:
        """Rebuild the layer from :meth:`arrays`."""

    def bind(self, x: Array, y: Array, active: ActiveChannels | None = None, whole: bool = True) -> Calls:
        """Return the native calls, in order, for arrays that stay where they are.

        Args:
            x: input.
            y: output.
            active: channels of x that are there, in groups of a size of :attr:`reads`; None for all.
            whole: whether channels of y that were not computed have to be cleared.
        """

    def reference(self, x: Array, active: ActiveChannels | None = None) -> Array:
        """Return what a run writes, float32 :attr:`shape`, computed in torch or numpy."""


class Sample(NamedTuple):
    """A layer with random weights and an input for it, to be timed."""

    layer: NativeLayer
    x: Array
    active: ActiveChannels | None = None


class Listing(NamedTuple):
    """A shape at which a board's table reads kernels, and the shares of work at which it does.

    Args:
        shape: as :class:`~gatesearch.gates.KernelCall` has it.
        pairs: shares of inputs and outputs.
        shares: of outputs, or of whatever else a kernel can leave out.
    """

    shape: tuple[int, ...]
    pairs: tuple[tuple[float, float], ...] = ()
    shares: tuple[float, ...] = ()


class Kernel(ABC):
    """A C file and the functions in it.

    Attributes:
        name: of the kernel, by which gates and tables call it.
        source: its C file. Files in :data:`~gatesearch.kernels.build.SOURCES` are compiled together, by ``all.c``;
            any other is compiled by itself and may include ``kernels.h`` and ``simd.h`` from there.
        signatures: result and argument types of each C function, by its name without prefix and suffix.
        rank: place among all kernels. A board's readings depend on it: the runner draws its numbers row by row.
    """

    name: ClassVar[str]
    source: ClassVar[Path]
    signatures: ClassVar[Signatures] = {}
    rank: ClassVar[int] = OUTSIDE_RANK

    @property
    def is_outside(self) -> bool:
        """Whether another package brings the kernel."""
        return self.source.parent != SOURCES


class CountedKernel(Kernel):
    """A kernel whose calls can be read on a board.

    Under ``#ifdef GS_KIT`` its C file defines ``prepare_NAME(gs_call *)``, which takes memory and made-up numbers, and
    ``run_NAME(gs_call *)``, which makes the call; ``NAME`` is :attr:`runner`. See ``kernels/src/kit.h``.

    Attributes:
        runner: name of the two C functions; kernels may share them.
        case: place among the cases of the runner's switch; readings depend on it by one instruction.
        shares: what a call can leave out, in the order of the runner's shares.
        observed: those of :attr:`shares` that come about on data, a little off what was requested.
        variants: whole numbers that make another program of it, in the order of the runner's.
        listings: kinds of shapes at which tables read it; see :mod:`gatesearch.cost.sources.board.shapes`.
        skips: what of its input it can leave out, by the names of :class:`~gatesearch.gates.Call`.
    """

    runner: ClassVar[str]
    case: ClassVar[int] = OUTSIDE_RANK
    shares: ClassVar[tuple[str, ...]] = ()
    observed: ClassVar[tuple[str, ...]] = ()
    variants: ClassVar[tuple[str, ...]] = ()
    listings: ClassVar[tuple[str, ...]] = ()
    skips: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def listed(self, listing: Listing) -> Iterator[KernelCall]:
        """Yield the calls that a table reads at a shape."""

    @abstractmethod
    def macs(self, call: KernelCall) -> float:
        """Return multiply-accumulates of a call with nothing left out."""

    @abstractmethod
    def work(self, call: KernelCall, tile: int) -> dict[str, float]:
        """Return the terms that the time of a call is linear in, by name.

        A table fits one non-negative slope for each term. Terms count what the C code loops over (blocks of 16
        channels, pixels, taps), so that slopes carry over to other shapes.

        Args:
            call: with the shares left.
            tile: outputs that the inner loop computes at once on the core.
        """

    def family(self, call: KernelCall) -> str:
        """Return the name of the calls that share slopes: where variants run other loops, those of one variant."""
        return self.name

    def row_shape(self, call: KernelCall) -> tuple[int, ...]:
        """Return the shape as the runner's rows have it, twelve numbers at most."""
        return call.shape


class LayerKernel(CountedKernel):
    """A kernel that takes the place of a layer.

    Attributes:
        layer: class of the layers that it runs.
    """

    layer: ClassVar[type[NativeLayer]]

    @abstractmethod
    def axes(self, call: KernelCall, reads_blocks: bool = True) -> Axes:
        """Return at which shares the kernel has to be timed, by name.

        Args:
            call: whose shape and variant count.
            reads_blocks: whether its input may come from a layer that leaves channels out.
        """

    @abstractmethod
    def sample(self, call: KernelCall, library: Library, generator: np.random.Generator) -> Sample:
        """Return a layer of a call's shape with random weights, that leaves the call's shares to do."""

    def rounded(self, call: KernelCall) -> KernelCall:
        """Return the call with the shares that whole rows or channels come to."""
        return call

    def layer_shape(self, shape: tuple[int, ...], variant: Mapping[str, int | str]) -> tuple[int, ...]:
        """Return the shape of the layer itself, where the kernel's differs from it."""
        return shape

    def calls(self, call: KernelCall, library: Library, seed: int = 0) -> Calls:
        """Return the native calls of a :meth:`sample`, ready to be timed."""
        layer, x, active = self.sample(call, library, np.random.default_rng(seed))
        return layer.bind(x, aligned(layer.shape, np.float32), active)


def random_normal(generator: np.random.Generator, *shape: int) -> Array:
    """Return normal float32 values whose variance is one over the last size."""
    return (generator.standard_normal(shape) / np.sqrt(max(1, shape[-1]))).astype(np.float32)
