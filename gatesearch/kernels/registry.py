"""The installed kernels: those of this package and those that other packages register."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from gatesearch._lib import plugins
from gatesearch.errors import unknown
from gatesearch.kernels.base import CountedKernel, Kernel, LayerKernel
from gatesearch.kernels.library import Signature

GROUP = "gatesearch.kernels"


@cache
def kernels() -> Mapping[str, Kernel]:
    """Return every installed kernel by name, in the order of their ranks.

    >>> list(kernels())[:3]
    ['conv', 'fbs', 'pg']
    """
    installed: list[Kernel] = [kind() for kind in plugins.load_plugins(GROUP).values()]
    return {kernel.name: kernel for kernel in sorted(installed, key=lambda kernel: (kernel.rank, kernel.name))}


@cache
def counted_kernels() -> Mapping[str, CountedKernel]:
    """Return the kernels that can be measured on a board."""
    return {name: kernel for name, kernel in kernels().items() if isinstance(kernel, CountedKernel)}


@cache
def layer_kernels() -> Mapping[str, LayerKernel]:
    """Return the kernels that replace a trained layer."""
    return {name: kernel for name, kernel in kernels().items() if isinstance(kernel, LayerKernel)}


def layer_kernel(name: str, where: str = "gate") -> LayerKernel:
    """Return the kernel with the given name, which replaces a trained layer.

    Raises:
        UserError: no installed package has such a kernel; the message names the nearest name.
    """
    if name not in layer_kernels():
        raise unknown(where, "kernel", name, layer_kernels())
    return layer_kernels()[name]


def signatures() -> dict[str, Signature]:
    """Return result and argument types of every C function."""
    return {name: signature for kernel in kernels().values() for name, signature in kernel.signatures.items()}


def outside_sources() -> tuple[Path, ...]:
    """Return the C files of kernels that other packages register."""
    return tuple(sorted({kernel.source for kernel in kernels().values() if kernel.is_outside}))
