"""Expected latency and energy of a gated cascade on cores that differ (techniques 0.4); no I/O.

Over the stream that a device hears, stage ``k`` runs for a share ``R_k`` of the windows, its reach. Then

    E = E_sense + E_frontend + sum_k R_k [E_link,k + E_wake,k + E_compute,k + E_weights,k]
      + sum_cores P_idle T

where ``E_link,k`` and ``E_wake,k`` are what it costs to *enter* stage ``k``: both are zero for a stage on the
core that ran before it. The first stage may cost something to enter, too, where the front end runs on another
core.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

TERMS = ("sense", "frontend", "compute", "weights", "link", "wake", "idle")


@dataclass(frozen=True, slots=True)
class StageCost:
    """What one run of a stage costs, in microseconds and microjoules.

    Args:
        core: the core it runs on.
        latency_us: time of its kernels.
        compute_uj: energy of its kernels.
        weights_uj: fetching its weights.
        link_us: moving the tensor that enters it from another core.
        link_uj: the same, as energy.
        wake_us: waking its core; zero where the core is awake already.
        wake_uj: the same, as energy.
    """

    core: str
    latency_us: float
    compute_uj: float
    weights_uj: float = 0.0
    link_us: float = 0.0
    link_uj: float = 0.0
    wake_us: float = 0.0
    wake_uj: float = 0.0

    @property
    def total_us(self) -> float:
        """Time from the tensor's leaving the core before until the stage has run."""
        return self.link_us + self.wake_us + self.latency_us

    @property
    def terms(self) -> dict[str, float]:
        """Energy of one run by term, in microjoules."""
        return {
            "compute": self.compute_uj,
            "weights": self.weights_uj,
            "link": self.link_uj,
            "wake": self.wake_uj,
        }


@dataclass(frozen=True)
class EnergyBreakdown:
    """Expected energy of one window, in microjoules.

    Args:
        by_term: energy of every term of :data:`TERMS`.
        by_core: energy of every core. Sensor and front end count for the core that runs the front end, link
            and wake energy for the core that is entered.
        by_stage: for every stage, energy by term weighted by its reach.
    """

    by_term: Mapping[str, float]
    by_core: Mapping[str, float]
    by_stage: tuple[Mapping[str, float], ...] = field(default=())

    @property
    def total_uj(self) -> float:
        """Energy of one window."""
        return math.fsum(self.by_term.values())

    def share(self, *terms: str) -> float:
        """Return the share of the total that some terms have, between 0 and 1."""
        return math.fsum(self.by_term[term] for term in terms) / self.total_uj


def at_prevalence(shares: Mapping[str, float], prevalence: float) -> dict[str, float]:
    """Return a stream's shares with another prevalence of positives, the negatives mixed as before.

    Args:
        shares: of every kind in the stream, ``"positive"`` among them; they add up to 1.
        prevalence: the wanted share of positives, in [0, 1].

    Raises:
        ValueError: a prevalence out of range, or under 1 where the stream has no negatives.

    >>> at_prevalence({"positive": 0.5, "silence": 0.25, "unknown": 0.25}, 0.25)
    {'positive': 0.25, 'silence': 0.375, 'unknown': 0.375}
    """
    if not 0 <= prevalence <= 1:
        raise ValueError(f"prevalence lies between 0 and 1, found {prevalence}")
    negatives = math.fsum(share for kind, share in shares.items() if kind != "positive")
    if prevalence < 1 and negatives <= 0:
        raise ValueError(f"the stream {dict(shares)} has no negatives to mix")
    return {
        kind: prevalence if kind == "positive" else (1 - prevalence) * share / negatives if negatives else 0.0
        for kind, share in shares.items()
    }


def reach(shares: Mapping[str, float], passed: Mapping[str, Sequence[float]]) -> list[float]:
    """Return the share of the stream's windows that reach each stage (techniques 0.4).

    Args:
        shares: share of every kind (positive, silence, unknown word ...) in the stream; they add up to 1.
        passed: for every kind, the pass rate of each gate *among the windows that reach it*: the gate recall
            for positives, 1 - early-stop rate for a kind of negative.

    Returns:
        [gates + 1] numbers; the first is 1 and they never rise.

    Raises:
        ValueError: shares that do not add up to 1, rates outside [0, 1], kinds or numbers of gates that
            differ.

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
    stages = [1.0]
    for gates in range(1, counts.pop() + 1):
        expected = math.fsum(share * math.prod(passed[kind][:gates]) for kind, share in shares.items())
        stages.append(min(expected, stages[-1]))
    return stages


def expected_latency_us(stages: Sequence[StageCost], reached: Sequence[float], frontend_us: float = 0.0) -> float:
    """Return the mean time of a window over the stream, in microseconds.

    Raises:
        ValueError: not one reach a stage.
    """
    return frontend_us + math.fsum(r * stage.total_us for stage, r in zip(stages, reached, strict=True))


def longest_latency_us(stages: Sequence[StageCost], frontend_us: float = 0.0) -> float:
    """Return the time of a window that passes every gate, in microseconds."""
    return frontend_us + math.fsum(stage.total_us for stage in stages)


def expected_energy(
    stages: Sequence[StageCost],
    reached: Sequence[float],
    *,
    idle_mw: Mapping[str, float],
    period_s: float,
    sense_core: str,
    sense_uj: float = 0.0,
    frontend_uj: float = 0.0,
) -> EnergyBreakdown:
    """Return the energy of one window, expected over the stream.

    Args:
        stages: one cost a stage, in order.
        reached: [stages] shares, as :func:`reach` gives them.
        idle_mw: idle power of *every* core of the device: a core that runs no stage draws it, too. It is
            drawn during the whole period, so active power is what a running core draws on top of it.
        period_s: seconds from window to window.
        sense_core: the core that computes the front end.
        sense_uj: the sensor's energy for one window.
        frontend_uj: the front end's energy for one window.

    Raises:
        ValueError: not one reach a stage, or a stage on a core without idle power.

    >>> stage = StageCost("mcu", latency_us=1000.0, compute_uj=10.0)
    >>> energy = expected_energy(
    ...     [stage, stage], [1.0, 0.5], idle_mw={"mcu": 0.1}, period_s=1.0, sense_core="mcu"
    ... )
    >>> round(energy.total_uj, 6), round(energy.by_term["idle"], 6)
    (115.0, 100.0)
    """
    unknown = {stage.core for stage in stages} - set(idle_mw)
    if unknown:
        raise ValueError(f"no idle power for {sorted(unknown)}; known cores: {sorted(idle_mw)}")
    by_stage = tuple(
        {term: r * value for term, value in stage.terms.items()} for stage, r in zip(stages, reached, strict=True)
    )
    idle = {core: power * period_s * 1e3 for core, power in idle_mw.items()}
    by_term = dict.fromkeys(TERMS, 0.0) | {
        "sense": sense_uj,
        "frontend": frontend_uj,
        "idle": math.fsum(idle.values()),
    }
    by_core = dict(idle)
    by_core[sense_core] = by_core.get(sense_core, 0.0) + sense_uj + frontend_uj
    for stage, terms in zip(stages, by_stage, strict=True):
        by_core[stage.core] += math.fsum(terms.values())
        for term, value in terms.items():
            by_term[term] += value
    return EnergyBreakdown(by_term, by_core, by_stage)


def link_bits(elements: float, nonzeros: float, kept: float, precision: int) -> float:
    """Return the bits that cross a cut in the cheapest of three encodings.

    Dense: every element. Sparse: one bit an element, then the nonzero ones. Channels: the elements of the
        channels
    that the gate keeps, which both sides know beforehand.

    Args:
        elements: elements of the tensor.
        nonzeros: elements that are not zero, in the mean. (The mean of the minimum is at most this minimum.)
        kept: elements of the channels kept.
        precision: bits an element.

    >>> link_bits(elements=1000, nonzeros=100, kept=500, precision=8)
    1800.0
    """
    return float(min(elements * precision, elements + nonzeros * precision, kept * precision))


def gain_end_to_end(ungated_uj: float, gated_uj: float) -> float:
    """Return how many times less energy the gated cascade needs, all terms counted."""
    return ungated_uj / gated_uj


def gain_paper_style(early_stop: float, activation_sparsity: float) -> float:
    """Return 1/((1-ES)(1-AS)): *idealised, negatives only*.

    It counts neither positives, sensor, front end, link nor wake, and takes it that a kernel skips every
    zero. Give it that label wherever it is shown.

    >>> gain_paper_style(0.5, 0.5)
    4.0
    """
    left = (1.0 - early_stop) * (1.0 - activation_sparsity)
    return 1.0 / left if left > 0 else math.inf


def front_end_bound(share: float) -> float:
    """Return 1/share: no gate gains more where ``share`` of the ungated energy is out of its reach.

    >>> front_end_bound(0.25)
    4.0
    """
    return 1.0 / share if share > 0 else math.inf
