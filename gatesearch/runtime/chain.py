"""Simulates a chain of gated parts over a recording: which parts run at which hops.

The parts of a chain are the front end and the stages of a network; gates stand between them. A hop is the time from one
decision to the next. The output of a part at a hop does not depend on when its gate opened, because running by hops is
exact. So the network runs only once over a recording, at every hop. All decisions of gates can then be computed from
the stored scores. The module needs only NumPy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from gatesearch.errors import DataError, UserError, unknown
from gatesearch.metrics.streams.activity import STEADY, Activity, measure_activity
from gatesearch.metrics.streams.events import Event
from gatesearch.runtime.detector import Array
from gatesearch.runtime.stream_gate import StreamGate, StreamGateSettings

STREAM_GATES = "stream_gates"
"""Entry of the manifest that describes how gates decide over a stream."""


@dataclass(frozen=True, slots=True)
class ChainScores:
    """The outputs of all parts of a chain at every hop of a labelled recording, as if no gate stopped anything.

    Args:
        gates: score of each gate between stages, [hops, gates].
        posteriors: outputs of the last stage, [hops, classes].
        events: the events of the recording.
        signal: scores of a gate on the signal, before the front end, by statistic, [hops] each.
        exits: outputs of a gate's exit, by the gate's index, [hops, classes] each. A hop that leaves through an exit
            does not count as stopped.

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
        statistic: the statistic of a window that the gate compares with its threshold, such as ``"spread"``.
        settings: threshold, smoothing and hold of the gate.
    """

    statistic: str
    settings: StreamGateSettings


@dataclass(frozen=True, slots=True)
class ChainSettings:
    """The settings of all gates of a chain.

    Args:
        gates: settings of each gate between stages, in order.
        signal: the gate before the front end; None if there is none.

    >>> ChainSettings.all_open(1)
    ChainSettings(gates=(StreamGateSettings(threshold=-inf, smoothing=1, hold=0),), signal=None)
    """

    gates: tuple[StreamGateSettings, ...]
    signal: SignalGate | None = None

    @classmethod
    def all_open(cls, gates: int) -> ChainSettings:
        """Return settings with which no gate stops anything; ``gates`` counts the gates between stages."""
        return cls((StreamGateSettings(threshold=-np.inf),) * gates)


@dataclass(frozen=True, slots=True)
class ChainRun:
    """The run of a chain over a recording.

    Args:
        runs: whether each part runs at each hop, [parts][hops]; the parts are the front end and then each stage.
        posteriors: the detector's inputs, [hops, classes]; they have no meaning at stopped hops.
        stopped: whether a gate stopped each hop, [hops]; a hop that leaves through an exit is not stopped.
    """

    runs: tuple[Array, ...]
    posteriors: Array
    stopped: Array

    def activities(self) -> tuple[Activity, ...]:
        """Return the activity of the front end and of each stage."""
        return measure_parts(self.runs)


def measure_parts(runs: Sequence[Array], first: int = 0, last: int | None = None) -> tuple[Activity, ...]:
    """Return the activity of each part over some hops of a recording.

    A part that runs at every hop of the recording is steady: it opened before the recording began. A part that already
    runs before the first of the hops does not open there.

    Args:
        runs: whether each part runs, [parts][hops of the recording].
        first, last: index of the first hop, and of the hop after the last one; None for the end of the recording.

    >>> measure_parts([np.array([True, True, False, True])], first=1)
    (Activity(open_share=0.6666666666666666, openings=0.3333333333333333),)
    """
    return tuple(
        STEADY if part.all() else measure_activity(part[first:last], was_open=first > 0 and bool(part[first - 1]))
        for part in runs
    )


def run_chain(scores: ChainScores, settings: ChainSettings) -> ChainRun:
    """Return the run of a chain over a recording, with the given settings of its gates.

    Raises:
        DataError: the settings have another number of gates, or name an unknown statistic.

    >>> scores = ChainScores(np.array([[1.0], [-1.0], [2.0]]), np.array([[0.9], [0.8], [0.1]]), ())
    >>> run = run_chain(scores, ChainSettings((StreamGateSettings(threshold=0.0),)))
    >>> [runs.tolist() for runs in run.runs]
    [[True, True, True], [True, True, True], [True, False, True]]
    >>> run.stopped.tolist(), run.activities()[2]
    ([False, True, False], Activity(open_share=0.6666666666666666, openings=0.6666666666666666))
    """
    return collect_run(scores, tuple(_parts(scores, settings)))


def collect_run(scores: ChainScores, runs: tuple[Array, ...]) -> ChainRun:
    """Return the run of a chain, given whether each part runs at each hop, [parts][hops]."""
    stopped, posteriors = ~runs[-1], scores.posteriors
    for k, exit_posteriors in scores.exits.items():
        leaves = runs[k + 1] & ~runs[k + 2]
        stopped = stopped & ~leaves
        posteriors = np.where(leaves[:, None], exit_posteriors, posteriors)
    return ChainRun(runs=runs, posteriors=posteriors, stopped=stopped)


def describe_chain(settings: ChainSettings) -> dict[str, Any]:
    """Return the manifest's entry of a chain's gates.

    >>> describe_chain(ChainSettings((StreamGateSettings(threshold=0.5, smoothing=3, hold=2),)))
    {'signal': None, 'gates': [{'threshold': 0.5, 'smoothing': 3, 'hold': 2}]}
    """
    signal = settings.signal
    return {
        "signal": None if signal is None else {"statistic": signal.statistic, **_describe_gate(signal.settings)},
        "gates": [_describe_gate(gate) for gate in settings.gates],
    }


def _describe_gate(settings: StreamGateSettings) -> dict[str, Any]:
    """Return a gate's settings; JSON has no infinity, so the threshold of an open gate is the smallest double."""
    limits = np.finfo(float)
    threshold = float(np.clip(settings.threshold, limits.min, limits.max))
    return {**asdict(settings), "threshold": threshold}


def read_chain(manifest: Mapping[str, Any], where: str) -> ChainSettings:
    """Return the settings of a bundle's gates over a stream; without an entry, the gates decide each hop by itself.

    Raises:
        UserError: the entry cannot be read.
    """
    entry = manifest.get(STREAM_GATES)
    if entry is None:
        thetas = [stage["gate"]["theta"] for stage in manifest["stages"] if stage["gate"] is not None]
        return ChainSettings(tuple(StreamGateSettings(threshold=theta) for theta in thetas))
    try:
        gates = tuple(StreamGateSettings(**gate) for gate in entry["gates"])
        if entry["signal"] is None:
            return ChainSettings(gates)
        values = dict(entry["signal"])
        return ChainSettings(gates, SignalGate(values.pop("statistic"), StreamGateSettings(**values)))
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise UserError(f"{where}: {STREAM_GATES}: {error}; export again") from None


def _parts(scores: ChainScores, settings: ChainSettings) -> Iterator[Array]:
    if len(settings.gates) != scores.gates.shape[1]:
        raise DataError(f"chain: settings of {len(settings.gates)} gates; wanted: settings of {scores.gates.shape[1]}")
    runs = np.ones(len(scores.posteriors), bool)
    if settings.signal is not None:
        if settings.signal.statistic not in scores.signal:
            raise unknown("chain: gate on the signal", "statistic", settings.signal.statistic, scores.signal)
        runs = StreamGate(settings.signal.settings).decide(scores.signal[settings.signal.statistic], runs)
    yield runs
    yield runs  # the first stage runs at the same hops as the front end
    for k, gate in enumerate(settings.gates):
        runs = StreamGate(gate).decide(scores.gates[:, k], runs)
        yield runs
