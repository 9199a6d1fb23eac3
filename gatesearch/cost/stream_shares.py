"""The shares of kinds of windows in a stream, and the share that reaches each stage."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence


def shift_prevalence(shares: Mapping[str, float], prevalence: float) -> dict[str, float]:
    """Return a stream's shares at another prevalence of positives; the mixture of negatives does not change.

    Args:
        shares: share of every kind in the stream, including ``"positive"``; they add up to 1.
        prevalence: the new share of positives, in [0, 1].

    Raises:
        ValueError: the prevalence is out of range, or it is below 1 and the stream has no negatives.

    >>> shift_prevalence({"positive": 0.5, "silence": 0.25, "unknown": 0.25}, 0.25)
    {'positive': 0.25, 'silence': 0.375, 'unknown': 0.375}
    """
    if not 0 <= prevalence <= 1:
        raise ValueError(f"prevalence lies between 0 and 1, found {prevalence}")
    negatives = math.fsum(share for kind, share in shares.items() if kind != "positive")
    if prevalence < 1 and negatives <= 0:
        raise ValueError(f"the stream {dict(shares)} has no negatives to mix")
    shifted = {kind: (1 - prevalence) * share / negatives if negatives else 0.0 for kind, share in shares.items()}
    return {kind: prevalence if kind == "positive" else share for kind, share in shifted.items()}


def reach(shares: Mapping[str, float], passed: Mapping[str, Sequence[float]]) -> list[float]:
    """Return the share of the stream's windows that reaches each stage.

    The share of a kind's windows that reach stage k is the product of the pass rates of the gates before the stage. The
    reach of stage k is the mean of these products over the kinds, weighted by the kinds' shares.

    Args:
        shares: share of every kind (positive, silence, unknown word ...) in the stream; they add up to 1.
        passed: for every kind, the pass rate of each gate *among the windows that reach it*: the gate recall for
            positives, 1 - early-stop rate for a kind of negative.

    Returns:
        Reach of each stage, [gates + 1]; the first number is 1, and no number is larger than the one before.

    Raises:
        ValueError: the shares do not add up to 1, a rate is outside [0, 1], the two mappings have different
            kinds, or the kinds have different numbers of rates.

    >>> reach({"positive": 0.1, "silence": 0.9}, {"positive": [1.0, 0.5], "silence": [0.5, 0.0]})
    [1.0, 0.55, 0.05]
    """
    if set(shares) != set(passed):
        raise ValueError(f"kinds of the stream {sorted(shares)} differ from those with rates {sorted(passed)}")
    if not math.isclose(math.fsum(shares.values()), 1.0, abs_tol=1e-6) or min(shares.values()) < 0:
        raise ValueError(f"the stream's shares must add up to 1 and none be negative, found {dict(shares)}")
    counts = {len(rates) for rates in passed.values()}
    if len(counts) != 1:
        raise ValueError(f"every kind needs a rate for each gate, found {sorted(counts)} rates")
    for kind, rates in passed.items():
        if any(not 0.0 <= rate <= 1.0 for rate in rates):
            raise ValueError(f"pass rates lie between 0 and 1, found {list(rates)} for {kind!r}")
    reached = [1.0]
    for gates in range(1, counts.pop() + 1):
        expected = math.fsum(share * math.prod(passed[kind][:gates]) for kind, share in shares.items())
        reached.append(min(expected, reached[-1]))  # rounding must not let the reach rise
    return reached
