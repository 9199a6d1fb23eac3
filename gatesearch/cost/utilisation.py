"""The utilisation of each core: the share of a period for which the core is busy.

The period is the time from window to window.

A core that is busy for longer than the period falls behind at every window. Cores work side by side, so each core has
the whole period for its own stages. A stage keeps its core busy while the core wakes, receives the tensor that enters
the stage, and computes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gatesearch.cost.energy import StageCost

MAX_UTILISATION = 1.0  # above this, a core cannot keep up with the stream


def mean_utilisation(
    runs: Sequence[StageCost], shares: Sequence[float], period_us: float, always: Mapping[str, float]
) -> dict[str, float]:
    """Return the mean share of the period for which each core is busy.

    Args:
        runs: costs of the stages and exits.
        shares: for each stage or exit, the share of the windows for which it runs.
        period_us: microseconds from window to window.
        always: by core, microseconds of the work that every window needs, which is the front end.

    >>> runs = [StageCost("mcu", 400.0, 0.0), StageCost("app", 900.0, 0.0, wake_us=100.0)]
    >>> mean_utilisation(runs, [1.0, 0.25], 1000.0, {"mcu": 200.0})
    {'mcu': 0.6, 'app': 0.25}
    """
    busy_us = dict(always)
    for run, share in zip(runs, shares, strict=True):
        busy_us[run.core] = busy_us.get(run.core, 0.0) + share * run.total_us
    return {core: us / period_us for core, us in busy_us.items()}


def worst_utilisation(
    paths: Sequence[Sequence[StageCost]], period_us: float, always: Mapping[str, float]
) -> dict[str, float]:
    """Return, for each core, the largest share of the period for which it can be busy, over all paths of a window.

    Args:
        paths: each sequence of stages and exits that a window may run.
        period_us: microseconds from window to window.
        always: by core, microseconds of the work that every window needs, which is the front end.
    """
    worst: dict[str, float] = {}
    for path in paths:
        for core, share in mean_utilisation(path, [1.0] * len(path), period_us, always).items():
            worst[core] = max(worst.get(core, 0.0), share)
    return worst


def describe_overload(worst: Mapping[str, float], period_us: float) -> str:
    """Return a phrase about the busiest core, such as ``app is busy 33 ms of a period of 1 ms``.

    >>> describe_overload({"mcu": 0.5, "app": 33.0}, 1000.0)
    'app is busy 33 ms of a period of 1 ms'
    """
    core = max(worst, key=worst.__getitem__)
    return f"{core} is busy {worst[core] * period_us / 1e3:.3g} ms of a period of {period_us / 1e3:.3g} ms"
