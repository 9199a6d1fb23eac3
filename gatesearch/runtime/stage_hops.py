"""One stage of a bundle on a stream: it runs stretches of hops by C kernels, or hop by hop in an interpreter."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gatesearch.kernels import native
from gatesearch.runtime.bundle import HopPrograms
from gatesearch.runtime.cascade import Array, Runnable, requantise
from gatesearch.runtime.hop_kernel import HopKernel
from gatesearch.runtime.stage_operators import Unsupported
from gatesearch.runtime.stream_windows import FrameTail, Windows
from gatesearch.runtime.tensor_spec import TensorSpec

KERNEL_ENGINE = "litert"  # the engine whose integers the kernels compute


class StageHops:
    """One stage in one phase, with its state.

    Args:
        program: the stage's program for whole windows.
        hops: the stage's hop programs; None where the stage runs ``program`` on each window.
        tail: the frames of the next stage's input; None where that takes one whole input a hop, or there is none.
        ends: the specs of the first output in this stage and of the next stage's input; None for the last stage.
        axis: the time axis of the next stage's input.

    Attributes:
        unsupported: why an interpreter runs the hops instead of kernels; None if kernels run them, or if the stage has
            an engine that kernels never replace.
        catch_ups: number of catch-ups so far.
    """

    def __init__(
        self,
        program: Runnable,
        hops: HopPrograms | None,
        tail: FrameTail | None,
        ends: tuple[TensorSpec, TensorSpec] | None,
        axis: int,
    ) -> None:
        self.program, self.hops, self.tail, self._ends, self._axis = program, hops, tail, ends, axis
        self.state: tuple[Array, ...] | None = None
        self.catch_ups, self.unsupported = 0, None
        self._kernel: HopKernel | None = None
        if hops is not None and hops.step.engine == KERNEL_ENGINE:
            self._kernel, self.unsupported = self._compile(hops)

    def _compile(self, hops: HopPrograms) -> tuple[HopKernel | None, str | None]:
        library = native.load()  # prints a line if there is no compiler
        if library is None:
            return None, "there are no kernels"
        axes = [self._axis, *(0 for _ in self.program.outputs[1:])]
        try:
            return HopKernel(hops.step.model, hops.step.inputs, hops.step.outputs, (hops.axis, axes), library), None
        except Unsupported as error:
            return None, str(error)

    def input(self, window: Array) -> Array:
        """Return a window as the programs read it."""
        return np.ascontiguousarray(window[0]) if self.hops is None else _move_time(window, self.hops.axis)

    def close(self) -> None:
        """Forget the state: the next hop catches up."""
        self.state = None

    def run(self, windows: Windows, count: int) -> tuple[Windows | None, Array]:
        """Run hops that follow each other; return the windows of the next stage, and the last output of each hop.

        The last output is a gate's logit, or the output of the last stage, [count, *shape].
        """
        caught_up = self.hops is not None and self.state is None
        outputs = self._run_kernel(windows, count) if self._kernel else self._run_program(windows, count)
        last = outputs[-1]
        if self._ends is None:
            return None, last
        passed = requantise(outputs[0], *self._ends)
        if self.tail is None:
            return Windows(passed, 1, 1), last
        return self.tail.begin(passed) if caught_up else self.tail.go_on(passed), last

    def _run_kernel(self, windows: Windows, count: int) -> list[Array]:
        """Run hops by kernels, after a catch-up in the interpreter where there is no state."""
        hops, kernel = self.hops, self._kernel
        assert hops is not None and kernel is not None
        parts: list[list[Array]] = []
        first = 0
        if self.state is None:
            parts.append(self._catch_up(windows.window(0)))
            assert self.state is not None
            kernel.set_state(np.concatenate([each.ravel() for each in self.state]))
            first = 1
        if first < count:
            size = windows.row_size
            start = (first * windows.step + windows.length - hops.fresh) * size
            outputs = kernel.run(windows.rows, start, windows.step * size, count - first)
            parts.append([self._shape(k, each) for k, each in enumerate(outputs)])
        return _join(parts)

    def _shape(self, k: int, values: Array) -> Array:
        """Return an output of several hops, [hops, width]; time comes first if the output goes to the next stage."""
        shape = list(self.hops.step.outputs[k].shape) if self.hops is not None else []
        if k or self.tail is None:
            return values.reshape(len(values), *shape)
        rest = [n for axis, n in enumerate(shape) if axis != self._axis]
        return values.reshape(-1, *rest)

    def _run_program(self, windows: Windows, count: int) -> list[Array]:
        """Run hops in the interpreter, one by one."""
        hops, parts = self.hops, []
        for hop in range(count):
            window = windows.window(hop)
            if hops is None:
                parts.append(self._sort(self.program(self.input(window))))
            elif self.state is None:
                parts.append(self._catch_up(window))
            else:
                fresh = self.input(window[windows.length - hops.fresh :])
                outputs = hops.step(fresh, *self.state)
                self.state = outputs[len(self.program.outputs) :]
                parts.append(self._sort(outputs))
        return _join(parts)

    def _catch_up(self, window: Array) -> list[Array]:
        hops = self.hops
        assert hops is not None
        outputs = hops.catch_up(self.input(window))
        self.state = outputs[len(self.program.outputs) :]
        self.catch_ups += 1
        return self._sort(outputs)

    def _sort(self, outputs: Sequence[Array]) -> list[Array]:
        """Return the outputs of a hop that are no state: the first with time first, if it has a time axis."""
        first, *others = outputs[: len(self.program.outputs)]
        passed = first[None] if self.tail is None else np.moveaxis(first, self._axis, 0)
        return [passed, *(each[None] for each in others)]


def _join(parts: list[list[Array]]) -> list[Array]:
    return parts[0] if len(parts) == 1 else [np.concatenate(each) for each in zip(*parts, strict=True)]


def _move_time(frames: Array, axis: int) -> Array:
    return np.ascontiguousarray(np.moveaxis(frames, 0, axis))
