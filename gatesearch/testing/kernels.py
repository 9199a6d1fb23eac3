"""The conformance suites of kernels: tests of the promises that a kernel has to keep.

A kernel is a C function that skips the work that gates leave out. Derive a class in your own tests. pytest runs the
tests that the class inherits:

    from gatesearch.testing.kernels import LayerKernelConformance

    class TestTopK(LayerKernelConformance):
        kernel = TopKKernel()
        calls = (KernelCall("topk", (3, 17, 5), (), (("read", 0.5),)),)

The suites compile C code, so they are skipped if there is no C compiler.
"""

from __future__ import annotations

import math
import os
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatesearch.cost.sources.board import kit
from gatesearch.cost.sources.board.shapes import EMPTY_CALL
from gatesearch.gates import KernelCall
from gatesearch.kernels import CountedKernel, Kernel, LayerKernel, Library, Sample, kernels, load
from gatesearch.kernels.arrays import Array
from gatesearch.kernels.build import FLAGS, BuildError, Compiler
from gatesearch.kernels.library import SOURCES

SHAPE_NUMBERS, VARIANTS, SHARES = 12, 3, 3  # how many of each a row of a kit (C program that times calls) can hold
STRICT = ("-Werror", "-Wall", "-Wextra")


class KernelConformance:
    """Tests the promises of :class:`gatesearch.kernels.Kernel`."""

    kernel: Any

    @pytest.fixture
    def compiler(self) -> Compiler:
        """Return the C compiler of the machine that runs the tests."""
        try:
            return Compiler.find()
        except BuildError as error:
            pytest.skip(str(error))

    @pytest.fixture
    def library(self, compiler: Compiler) -> Library:
        """Return all kernels, compiled for this CPU's best instruction set."""
        library = load()
        assert library is not None, "the installed kernels do not compile"
        return library

    def test_kernel_is_installed_under_its_name(self) -> None:
        """An entry point has the kernel's name, and its C file exists."""
        assert isinstance(self.kernel, Kernel)
        assert type(kernels().get(self.kernel.name)) is type(self.kernel), f"no entry point {self.kernel.name!r}"
        assert self.kernel.source.is_file(), f"no file {self.kernel.source}"

    def test_c_file_compiles_without_a_warning(self, compiler: Compiler) -> None:
        """The C file compiles for every instruction set under -Wall -Wextra -Werror.

        All shipped kernels compile as one unit, all.c.
        """
        _compile_strictly(compiler, self.kernel.source if self.kernel.is_outside else SOURCES / "all.c")

    def test_functions_have_signatures(self, library: Library) -> None:
        """The library has each function that the descriptor declares."""
        for name in self.kernel.signatures:
            assert callable(library.function(name))


class CountedKernelConformance(KernelConformance):
    """Tests the promises of :class:`gatesearch.kernels.CountedKernel`.

    Attributes:
        calls: a few calls of the kernel, some with odd sizes.
    """

    calls: Sequence[KernelCall]

    def test_calls_fit_the_rows_of_a_kit(self) -> None:
        """A call has all variants and shares that the kernel declares, and fits into a row of a kit.

        A kit is a folder of C sources that times kernels on a board.
        """
        kernel = self.kernel
        assert isinstance(kernel, CountedKernel)
        for call in self.calls:
            assert call.kernel == kernel.name
            assert len(kernel.row_shape(call)) <= SHAPE_NUMBERS
            assert len(kernel.variants) <= VARIANTS and len(kernel.shares) <= SHARES
            assert (
                set(kernel.variants) <= dict(call.variant).keys() and set(kernel.shares) <= dict(call.remaining).keys()
            )

    def test_work_is_named_finite_and_never_negative(self) -> None:
        """Terms of work are finite and not negative, and calls of a family have the same terms."""
        terms: dict[str, list[str]] = {}
        for call in self.calls:
            work = self.kernel.work(call, tile=4)
            assert all(math.isfinite(value) and value >= 0 for value in work.values()), work
            assert terms.setdefault(self.kernel.family(call), list(work)) == list(work)
            assert self.kernel.macs(call) >= 0

    def test_kit_with_its_calls_runs(self, compiler: Compiler, tmp_path: Path) -> None:
        """A kit with the calls runs on the machine of the test and prints a row for each call."""
        kit.write(tmp_path / "kit", [EMPTY_CALL, *self.calls])
        outside = sorted(str(path) for path in (tmp_path / "kit" / "outside").glob("*.c"))
        flags = ("-std=gnu11", "-O1", "-I.", "-Ikernels", "-DGS_REPEATS=1", "-DGS_SUFFIX=test", '-DGS_UNIT="ns"')
        files = ("main.c", "clock_linux.c", "kernels/all.c", *outside)
        _compile([compiler.command, *flags, *files, "-o", "program", "-lm"], tmp_path / "kit")
        printed = subprocess.run(["./program"], cwd=tmp_path / "kit", capture_output=True, text=True, check=True).stdout
        rows = [line for line in printed.splitlines() if line.startswith("row,")]
        assert len(rows) == 1 + len(dict.fromkeys(self.calls)), printed


class LayerKernelConformance(CountedKernelConformance):
    """Tests the promises of :class:`gatesearch.kernels.LayerKernel`.

    Attributes:
        tolerance: largest error of the output, as a share of its largest value; 0 if the reference adds up in the same
            order as the kernel.
    """

    tolerance: float = 0.0

    def _check(self, sample: Sample) -> None:
        assert isinstance(self.kernel, LayerKernel)
        y = np.full(sample.layer.shape, np.nan, np.float32)
        for call in sample.layer.bind(sample.x, y, sample.active):
            call()
        expected = sample.layer.reference(sample.x, sample.active)
        if self.tolerance == 0:
            np.testing.assert_array_equal(y, expected)
        else:
            bound = self.tolerance * max(1.0, float(np.abs(expected).max()))
            np.testing.assert_allclose(y, expected, rtol=self.tolerance, atol=bound)

    @settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data(), seed=st.integers(0, 2**16))
    def test_layer_equals_its_reference(self, library: Library, data: st.DataObject, seed: int) -> None:
        """The outputs of kernel and reference are equal, for random shares and inputs, aligned and unaligned."""
        call = data.draw(st.sampled_from(list(self.calls)))
        share = st.floats(0.0, 1.0, width=32)
        left = tuple((name, data.draw(share, name)) for name, _ in call.remaining)
        sample = self.kernel.sample(call._replace(remaining=left), library, np.random.default_rng(seed))
        self._check(sample)
        self._check(sample._replace(x=_unaligned(sample.x)))

    @pytest.mark.parametrize("share", [0.0, 1.0])
    def test_layer_equals_its_reference_without_work_and_with_all_work(self, library: Library, share: float) -> None:
        """The outputs of kernel and reference are equal if no work remains (shares of 0) and if all remains (1)."""
        for call in self.calls:
            left = tuple((name, share) for name, _ in call.remaining)
            self._check(self.kernel.sample(call._replace(remaining=left), library, np.random.default_rng(0)))

    def test_layer_survives_a_bundle(self, library: Library) -> None:
        """A layer that is loaded from its arrays, as from a bundle, computes the same as before."""
        sample = self.kernel.sample(self.calls[0], library, np.random.default_rng(0))
        self._check(sample._replace(layer=self.kernel.layer.load(sample.layer.arrays(), library)))

    def test_axes_name_shares(self) -> None:
        """The axes of the grid on which a kernel is timed are declared shares of work, with ascending values."""
        for call in self.calls:
            axes = self.kernel.axes(call)
            assert set(axes) <= set(self.kernel.shares)
            assert all(list(values) == sorted(values) for values in axes.values())


def _unaligned(x: Array) -> Array:
    """Return a copy that begins four bytes behind the start of a cache line."""
    memory = np.zeros(x.nbytes + 64 + 4, np.uint8)
    first = -memory.ctypes.data % 64 + 4
    copied = memory[first : first + x.nbytes].view(x.dtype).reshape(x.shape)
    copied[...] = x
    return copied


@cache
def _compile_strictly(compiler: Compiler, unit: Path) -> None:
    for name, extra in compiler.sets.items():
        flags = (*FLAGS, *STRICT, *extra, f"-DGS_SUFFIX={name}", f"-I{SOURCES}")
        _compile([compiler.command, *flags, "-c", str(unit), "-o", os.devnull])


def _compile(command: Sequence[str], folder: Path | None = None) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
