"""A bundle on a stream of windows: native kernels run the first gate, the interpreters what passes it.

Most windows of a stream leave at the first gate, so that what an interpreter and a host loop add to that gate's few
microseconds decides how much the gate gains.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from gatesearch import kernels
from gatesearch.runtime.bundle import Bundle
from gatesearch.runtime.cascade import Answer, Array, requantise
from gatesearch.runtime.manifest import read_artifact
from gatesearch.runtime.stage import Stage, Unsupported


class StreamRunner:
    """Runs windows of :meth:`Bundle.quantise <gatesearch.runtime.bundle.Bundle.quantise>`, one by one.

    The answer is None for a window that the first gate stops, which stands for ``bundle.answers[0]``, unless that gate
    has an exit.

    Args:
        bundle: loaded; the programs of its stages run what passes the first gate.
        library: the kernels; None is the best for this CPU.

    Attributes:
        unsupported: why the first stage runs in its interpreter as well; None where kernels run it.
    """

    def __init__(self, bundle: Bundle, library: kernels.Library | None = None) -> None:
        self.bundle = bundle
        self.unsupported: str | None = None
        self._library = library or kernels.load()
        self._stops_silently = bool(bundle.thresholds) and bundle.exits[0] is None
        self._passes: Callable[[bytes], int] | None = None
        self._stage: Stage | None = None
        try:
            self._stage = self._compile()
            self._passes = self._stage.hear(int(bundle.thresholds[0]))
        except Unsupported as error:
            self.unsupported = str(error)

    def _compile(self) -> Stage:
        first = self.bundle.manifest["stages"][0]
        if first["gate"] is None:
            raise Unsupported("there is no gate")
        if first["gate"].get("exit") is not None:
            raise Unsupported("what stops at the first gate has an exit to run")
        if self._library is None:
            raise Unsupported(kernels.status())
        passed, logit = (spec.name for spec in self.bundle.programs[0].outputs)
        model = read_artifact(self.bundle.folder, first["program"])
        return Stage(model, logit, passed, self._library)

    def __call__(self, window: Array) -> Answer | None:
        """Run one window, [1, *shape] in the first stage's own type.

        Raises:
            ValueError: another size.
        """
        if self._passes is None or self._stage is None:
            answer = self.bundle.run(window)
            return None if answer.exit == 0 and self._stops_silently else answer
        raw = window.tobytes()
        if len(raw) != self._stage.size:
            raise ValueError(f"a window has {self._stage.size} bytes, found {len(raw)}")
        if not self._passes(raw):
            return None
        passed = window if self._stage.whole else self._stage.passed()
        source, target = self.bundle.programs[0].outputs[0], self.bundle.programs[1].inputs[0]
        return self.bundle.run(requantise(passed, source, target), first=1, gate_logits=(self._stage.logit(),))

    def bind(self, windows: Array) -> Callable[[], Sequence[int]]:
        """Return a call that lists which of the windows [n, *shape] pass the first gate, in one go.

        This is for recordings: on a stream an answer would wait for the last window of the batch.

        Raises:
            ValueError: kernels do not run the first stage.
        """
        if self._stage is None:
            raise ValueError(f"no kernels: {self.unsupported}")
        passed = np.zeros(len(windows), np.int32)
        call = self._stage.bind(windows, int(self.bundle.thresholds[0]), passed)
        return lambda: passed[: call()]  # type: ignore[return-value]
