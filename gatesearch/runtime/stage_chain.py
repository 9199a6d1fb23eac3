"""The stages of a bundle on a stream, with the gates between them; when a gate closes, all later stages stop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import pairwise

import numpy as np

from gatesearch.runtime.bundle import Bundle
from gatesearch.runtime.cascade import Array, requantise
from gatesearch.runtime.posteriors import read_posteriors
from gatesearch.runtime.stage_hops import StageHops
from gatesearch.runtime.stream_gate import StreamGate, StreamGateSettings
from gatesearch.runtime.stream_windows import FrameTail, Windows

LOGIT_MIDDLE = 3.0  # the exported logit that stands for the middle of the range of the model's logit
Phase = tuple[Array, Windows]
"""The hops of one phase in a stretch, as indices into the block, and their windows."""


class StageChain:
    """Runs stretches of hops through the stages, and writes the posteriors of each hop.

    Args:
        bundle: the bundle; without programs by hops each stage runs its program on whole windows.
        gates: how each gate decides.
        measure: a context that counts the CPU time of a part by its name.

    Attributes:
        reached: number of hops that reached each stage, [stages].
        by_hops: whether the bundle has programs by hops.
    """

    def __init__(
        self,
        bundle: Bundle,
        gates: Sequence[StreamGateSettings],
        measure: Callable[[str], AbstractContextManager[None]],
    ) -> None:
        entry = bundle.manifest.get("hops")
        self.by_hops = entry is not None
        self.phases = entry["phases"] if entry else 1
        self.hops = bundle.hop_programs() if entry else [None] * len(bundle.programs)
        self._bundle, self._measure = bundle, measure
        self._gates = [StreamGate(gate) for gate in gates]
        self._ends = [(before.outputs[0], after.inputs[0]) for before, after in pairwise(bundle.programs)]
        self._stages = [[self._stage(k) for k in range(len(bundle.programs))] for _ in range(self.phases)]
        self.reached = np.zeros(len(bundle.programs), np.int64)

    def _stage(self, k: int) -> StageHops:
        following = self.hops[k + 1] if k + 1 < len(self.hops) else None
        return StageHops(
            program=self._bundle.programs[k],
            hops=self.hops[k],
            tail=None if following is None else FrameTail(following.window, following.fresh),
            ends=self._ends[k] if k < len(self._ends) else None,
            axis=0 if following is None else following.axis,
        )

    @property
    def catch_ups(self) -> list[int]:
        """The number of catch-ups of each stage."""
        return [sum(phase[k].catch_ups for phase in self._stages) for k in range(len(self.hops))]

    @property
    def unsupported(self) -> dict[int, str]:
        """Why an interpreter runs a stage that kernels could run, by the stage's index."""
        return {k: stage.unsupported for k, stage in enumerate(self._stages[0]) if stage.unsupported is not None}

    def close(self, k: int) -> None:
        """Close stage ``k`` and those after it, in all phases."""
        for phase in self._stages:
            for stage in phase[k:]:
                stage.close()
        for gate in self._gates[k:]:
            gate.reset()

    def run(self, windows: Windows, hop: int, first: int, posteriors: Array, stopped: Array) -> None:
        """Run hops that follow each other.

        Args:
            windows: the windows of the first stage.
            hop: index in the stream of the block's first hop.
            first: index in the block of the first hop of the windows; they end with the last hop of ``stopped``.
            posteriors: receives the posteriors of each hop that has some, [block's hops, classes].
            stopped: receives False at these hops, [first + hops].
        """
        phases: list[Phase] = []
        for phase in range(self.phases):
            start = first + (phase - hop - first) % self.phases
            indices = np.arange(start, len(stopped), self.phases)
            phases.append((indices, windows.skip(start - first).stretch(self.phases)))
        self._run(0, (first, len(stopped)), phases, posteriors, stopped)

    def _run(self, k: int, hops: tuple[int, int], phases: list[Phase], posteriors: Array, stopped: Array) -> None:
        """Run stage ``k`` at the hops from the first bound to before the second, then the hops that its gate passes."""
        first, last = hops
        self.reached[k] += last - first
        passed: list[Phase] = []
        outputs: Array | None = None
        with self._measure(f"stage {k}"):
            for stages, (indices, windows) in zip(self._stages, phases, strict=True):
                if not len(indices):
                    passed.append((indices, windows))
                    continue
                after, values = stages[k].run(windows, len(indices))
                passed.append((indices, windows if after is None else after))
                if outputs is None:
                    outputs = np.empty((last - first, *values.shape[1:]), values.dtype)
                outputs[indices - first] = values
            assert outputs is not None
            if k == len(self._gates):
                posteriors[first:last] = self._answer(outputs)
                stopped[first:last] = False
                return
            is_open = self._gates[k].push_hops(self._scores(k, outputs))
        for start, end, passes in stretches(is_open, first):
            inside = [cut_phase(each, start, end) for each in passed]
            if passes:
                self._run(k + 1, (start, end), inside, posteriors, stopped)
                continue
            self._leave(k, inside, posteriors, stopped)
            self.close(k + 1)

    def _answer(self, outputs: Array) -> Array:
        """Return the posteriors of the last stage's outputs, [hops, classes].

        The offset that all logits share does not change them.
        """
        return read_posteriors(outputs, self._bundle.programs[-1].outputs[0])

    def _scores(self, k: int, outputs: Array) -> Array:
        return read_scores(self._bundle, k, outputs)

    def _leave(self, k: int, phases: list[Phase], posteriors: Array, stopped: Array) -> None:
        """Answer the hops that leave through the exit at gate ``k``, if it has one."""
        program = self._bundle.exits[k]
        if program is None:
            return
        with self._measure(f"exit {k}"):
            for stages, (indices, windows) in zip(self._stages, phases, strict=True):
                for i, hop in enumerate(indices.tolist()):
                    window = stages[k + 1].input(windows.window(i))
                    output = program(requantise(window, self._ends[k][1], program.inputs[0]))[0]
                    posteriors[hop] = read_posteriors(output, program.outputs[0])[0]
                    stopped[hop] = False


def read_scores(bundle: Bundle, k: int, outputs: Array) -> Array:
    """Return the scores of gate ``k``: the model's logit for each logit that its program exports, [hops].

    An exported logit e stands for the model's logit center + (e - 3) half_width / 3.

    Args:
        bundle: the bundle.
        k: index of the gate.
        outputs: exported logits in the type of the program, [hops, ...].
    """
    entry = bundle.manifest["stages"][k]["gate"]["logit"]
    values = bundle.programs[k].outputs[1].dequantise(outputs).reshape(len(outputs), -1)[:, 0].astype(float)
    scores: Array = entry["center"] + (values - LOGIT_MIDDLE) * entry["half_width"] / 3
    return scores


def stretches(is_open: Array, first: int) -> Iterator[tuple[int, int, bool]]:
    """Yield (start, end, value) of each stretch of equal values.

    >>> list(stretches(np.array([True, True, False]), 5))
    [(5, 7, True), (7, 8, False)]
    """
    borders = [0, *(np.flatnonzero(is_open[1:] != is_open[:-1]) + 1).tolist(), len(is_open)]
    for start, end in pairwise(borders):
        yield first + start, first + end, bool(is_open[start])


def cut_phase(phase: Phase, start: int, end: int) -> Phase:
    """Return the hops of a phase from ``start`` to before ``end``, and their windows."""
    indices, windows = phase
    before, behind = np.searchsorted(indices, (start, end)).tolist()
    return indices[before:behind], windows.skip(before)
