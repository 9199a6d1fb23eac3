"""A chain over a recording: which parts run at which hops, and what the detector gets. Numpy alone.

By the exactness of hops, what a part gives at a hop does not depend on when its gate opened. So a network runs once
over a recording, at every hop; whatever its gates decide follows from the arrays that this leaves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from gatesearch.errors import DataError, unknown
from gatesearch.metrics.streams.activity import Activity, measure_activity
from gatesearch.metrics.streams.events import Event
from gatesearch.runtime.detector import Array
from gatesearch.runtime.stream_gate import StreamGate, StreamGateSettings


@dataclass(frozen=True, slots=True)
class ChainScores:
    """What the parts of a chain give at every hop of a labelled recording, no gate stopping anything.

    Args:
        gates: score of each gate between stages, [hops, gates].
        posteriors: outputs of the last stage, [hops, classes].
        events: of the recording.
        signal: scores of a gate on the signal, before the front end, by statistic, [hops] each.
        exits: outputs of the exit of a gate, by the gate's index, [hops, classes] each; a hop that leaves there is not
            stopped.

    Raises:
        DataError: the numbers of hops differ.
    """

    gates: Array
    posteriors: Array
    events: Sequence[Event]
    signal: Mapping[str, Array] = field(default_factory=dict)
    exits: Mapping[int, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        arrays = {"gates": self.gates, **self.signal, **{f"exit {k}": each for k, each in self.exits.items()}}
        for name, array in arrays.items():
            if len(array) != len(self.posteriors):
                raise DataError(f"chain: {name}: {len(array)} hops; wanted: {len(self.posteriors)} as posteriors have")


@dataclass(frozen=True, slots=True)
class SignalGate:
    """A gate on the signal, before the front end.

    Args:
        statistic: the number of a window that it compares, such as ``"spread"``.
        settings: see :class:`StreamGateSettings`.
    """

    statistic: str
    settings: StreamGateSettings


@dataclass(frozen=True, slots=True)
class ChainSettings:
    """How the gates of a chain decide.

    Args:
        gates: of each gate between stages, in order.
        signal: the gate before the front end; None where there is none.

    >>> ChainSettings.all_open(1)
    ChainSettings(gates=(StreamGateSettings(threshold=-inf, smoothing=1, hold=0),), signal=None)
    """

    gates: tuple[StreamGateSettings, ...]
    signal: SignalGate | None = None

    @classmethod
    def all_open(cls, gates: int) -> ChainSettings:
        """Return the chain whose gates stop nothing."""
        return cls((StreamGateSettings(threshold=-np.inf),) * gates)


@dataclass(frozen=True, slots=True)
class ChainRun:
    """A chain over a recording.

    Args:
        runs: whether each part runs, [parts][hops]: the front end, then each stage.
        posteriors: what the detector gets, [hops, classes]; of no meaning where a gate stopped the hop.
        stopped: whether a gate stopped each hop, [hops]; one that leaves at an exit is not stopped.
    """

    runs: tuple[Array, ...]
    posteriors: Array
    stopped: Array

    def activities(self) -> tuple[Activity, ...]:
        """Return the activity of the front end and of each stage."""
        return tuple(measure_activity(runs) for runs in self.runs)


def run_chain(scores: ChainScores, settings: ChainSettings) -> ChainRun:
    """Return which parts run at which hops of a recording, and what the detector gets.

    Raises:
        DataError: the settings are of another number of gates, or of an unknown statistic.

    >>> scores = ChainScores(np.array([[1.0], [-1.0], [2.0]]), np.array([[0.9], [0.8], [0.1]]), ())
    >>> run = run_chain(scores, ChainSettings((StreamGateSettings(threshold=0.0),)))
    >>> [runs.tolist() for runs in run.runs]
    [[True, True, True], [True, True, True], [True, False, True]]
    >>> run.stopped.tolist(), run.activities()[2]
    ([False, True, False], Activity(open_share=0.6666666666666666, openings=0.6666666666666666))
    """
    return collect_run(scores, tuple(_parts(scores, settings)))


def collect_run(scores: ChainScores, runs: tuple[Array, ...]) -> ChainRun:
    """Return the run of a chain from the hops at which each part runs, [parts][hops]; see :class:`ChainRun`."""
    stopped, posteriors = ~runs[-1], scores.posteriors
    for k, exit_posteriors in scores.exits.items():
        leaves = runs[k + 1] & ~runs[k + 2]
        stopped = stopped & ~leaves
        posteriors = np.where(leaves[:, None], exit_posteriors, posteriors)
    return ChainRun(runs=runs, posteriors=posteriors, stopped=stopped)


def _parts(scores: ChainScores, settings: ChainSettings) -> Iterator[Array]:
    if len(settings.gates) != scores.gates.shape[1]:
        raise DataError(f"chain: settings of {len(settings.gates)} gates; wanted: of {scores.gates.shape[1]}")
    runs = np.ones(len(scores.posteriors), bool)
    if settings.signal is not None:
        if settings.signal.statistic not in scores.signal:
            raise unknown("chain: gate on the signal", "statistic", settings.signal.statistic, scores.signal)
        runs = StreamGate(settings.signal.settings).decide(scores.signal[settings.signal.statistic], runs)
    yield runs
    yield runs  # the first stage runs where the front end does
    for k, gate in enumerate(settings.gates):
        runs = StreamGate(gate).decide(scores.gates[:, k], runs)
        yield runs
