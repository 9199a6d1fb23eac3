"""Runs a bundle on a stream of windows: native kernels run the first gate, interpreters the rest.

Most windows of a stream leave at the first gate, which takes a few microseconds. An interpreter would add its own
overhead to every window, and the gate would save less time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from gatesearch import kernels
from gatesearch.runtime.bundle import Bundle
from gatesearch.runtime.cascade import Answer, Array, requantise
from gatesearch.runtime.manifest import read_artifact
from gatesearch.runtime.stage import Stage
from gatesearch.runtime.stage_operators import Unsupported


class StreamRunner:
    """Runs windows from :meth:`Bundle.quantise <gatesearch.runtime.bundle.Bundle.quantise>`, one by one.

    The answer is None for a window that the first gate stops, if the gate has no exit. None then stands for
    ``bundle.answers[0]``.

    Args:
        bundle: the loaded bundle; its programs run the windows that pass the first gate.
        library: the kernels; None for the best ones for this CPU.

    Attributes:
        unsupported: the reason why an interpreter runs the first stage, too; None if kernels run it.
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
            raise Unsupported("windows that the first gate stops run an exit")
        if self._library is None:
            raise Unsupported(kernels.status())
        passed, logit = (spec.name for spec in self.bundle.programs[0].outputs)
        model = read_artifact(self.bundle.folder, first["program"])
        return Stage(model, logit, passed, self._library)

    def __call__(self, window: Array) -> Answer | None:
        """Run one window, [1, *shape] in the first stage's own type.

        Raises:
            ValueError: the window has another size.
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
        """Return a function that returns the indices of those windows [n, *shape] that pass the first gate.

        One call runs all windows. It is for recordings: on a live stream, each answer would have to wait for the last
        window.

        Raises:
            ValueError: kernels do not run the first stage.
        """
        if self._stage is None:
            raise ValueError(f"no kernels: {self.unsupported}")
        passed = np.zeros(len(windows), np.int32)
        call = self._stage.bind(windows, int(self.bundle.thresholds[0]), passed)
        return lambda: passed[: call()]  # type: ignore[return-value]
