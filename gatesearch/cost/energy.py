"""Expected latency and energy of a gated cascade on different cores.

Stage ``k`` runs for the share ``R_k`` of the stream's windows, its reach. The expected energy of one window is

    E = E_sense + E_frontend + sum_k R_k [E_link,k + E_wake,k + E_compute,k + E_weights,k]
      + sum_cores P_idle T

``E_sense`` and ``E_frontend`` are the energies of the sensor and of the front end. ``E_compute,k`` is the energy to run
stage ``k``, and ``E_weights,k`` the energy to fetch its weights. ``E_link,k`` is the energy to move the tensor that
enters the stage from another core, and ``E_wake,k`` the energy to wake the stage's core. ``E_link,k`` and ``E_wake,k``
are zero if the stage before ran on the same core; for the first stage, the core of the front end counts as the core
before. ``P_idle`` is the idle power of a core, and ``T`` is the time from window to window. If the profile
states a listening floor of the sensor's core, ``P_idle`` of this core is the floor. ``E_frontend`` and ``E_compute,k``
on this core are then the energies that a run adds to the floor.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

TERMS = ("sense", "frontend", "compute", "weights", "link", "wake", "idle")


@dataclass(frozen=True, slots=True)
class StageCost:
    """The cost of one run of a stage, in microseconds and microjoules.

    Args:
        core: the core that runs the stage.
        latency_us: time of its kernels.
        compute_uj: energy of its kernels.
        weights_uj: energy to fetch its weights.
        link_us: time to move the tensor that enters the stage from another core.
        link_uj: energy to move that tensor.
        wake_us: time to wake its core; zero if the core is already awake.
        wake_uj: energy to wake its core.
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
        """Time from the end of the stage before to the end of this stage."""
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
        by_core: energy of every core. Sensor and front end count for the core that runs the front end; link and wake
            energy count for the core that the tensor enters.
        by_stage: energy of every stage by term, weighted by its reach.
    """

    by_term: Mapping[str, float]
    by_core: Mapping[str, float]
    by_stage: tuple[Mapping[str, float], ...] = field(default=())

    @property
    def total_uj(self) -> float:
        """Energy of one window."""
        return math.fsum(self.by_term.values())

    def add(self, term: str, core: str, energy_uj: float) -> EnergyBreakdown:
        """Return the breakdown with more energy for one term and one core; no stage spends this energy."""
        by_term = {**self.by_term, term: self.by_term[term] + energy_uj}
        by_core = {**self.by_core, core: self.by_core[core] + energy_uj}
        return EnergyBreakdown(by_term, by_core, self.by_stage)

    def share(self, *terms: str) -> float:
        """Return the share of the total energy that some terms have together, between 0 and 1."""
        return math.fsum(self.by_term[term] for term in terms) / self.total_uj


def expected_latency_us(stages: Sequence[StageCost], reached: Sequence[float], frontend_us: float = 0.0) -> float:
    """Return the mean time of a window over the stream, in microseconds.

    Raises:
        ValueError: the numbers of stages and reaches differ.
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
    """Return the expected energy of one window of the stream.

    Args:
        stages: the cost of each stage, in order.
        reached: share of the windows that reach each stage, [stages]; see :func:`gatesearch.cost.stream_shares.reach`.
        idle_mw: idle power of *every* core of the device, also of cores that run no stage. A core draws its idle power
            during the whole period, and its active power in addition while it runs.
        period_s: seconds from window to window.
        sense_core: the core that computes the front end.
        sense_uj: the sensor's energy for one window.
        frontend_uj: the front end's energy for one window.

    Raises:
        ValueError: the numbers of stages and reaches differ, or a stage is on a core without idle power.

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


def link_bits(elements: float, nonzeros: float, channel_elements: float, precision: int) -> float:
    """Return the bits that cross a cut in the smallest of three encodings.

    The dense encoding sends every element. The sparse encoding sends one bit per element, then the nonzero elements.
    The third encoding sends only the elements of the channels that remain; both sides know these channels in advance.

    Args:
        elements: number of elements of the tensor.
        nonzeros: mean number of elements that are not zero. Because it is a mean, the result is an upper bound: the
            mean of a minimum is at most the minimum of the means.
        channel_elements: number of elements in the channels that remain.
        precision: bits per element.

    >>> link_bits(elements=1000, nonzeros=100, channel_elements=500, precision=8)
    1800.0
    """
    return float(min(elements * precision, elements + nonzeros * precision, channel_elements * precision))


def gain_end_to_end(ungated_uj: float, gated_uj: float) -> float:
    """Return the gain: the total energy of the ungated backbone divided by the total energy of the gated one."""
    return ungated_uj / gated_uj


def gain_paper_style(early_stop: float, activation_sparsity: float) -> float:
    """Return the idealised gain of negatives as papers compute it, 1/((1-ES)(1-AS)).

    ES is the early-stop rate of negatives. AS is the sparsity of the activations that cross the cut. The figure ignores
    positives, sensor, front end, link and wake, and assumes that kernels skip every zero. Wherever the figure appears,
    label it *idealised, negatives only*.

    >>> gain_paper_style(0.5, 0.5)
    4.0
    """
    remaining = (1.0 - early_stop) * (1.0 - activation_sparsity)
    return 1.0 / remaining if remaining > 0 else math.inf


def front_end_bound(share: float) -> float:
    """Return 1/share, the largest possible gain if gates cannot change this share of the ungated energy.

    >>> front_end_bound(0.25)
    4.0
    """
    return 1.0 / share if share > 0 else math.inf
