"""What is tuned for each batch size: ranges, quasi-random points in them, and ranges that were too narrow."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import QMCSampler

optuna.logging.set_verbosity(optuna.logging.WARNING)
EDGE = 0.1  # of a range: a best trial that is nearer to a bound might have been better beyond it
GROWTH = 0.5  # of a range's width, added beyond such a bound
OVERLAP = 0.2  # of the width, this side of the old bound, searched once more with what was added


@dataclass(frozen=True, slots=True)
class Config:
    """One way to train with Nesterov momentum and a rate that falls linearly.

    Args:
        rate: effective learning rate, the learning rate over 1 - momentum.
        slack: 1 - momentum.
        decay: share of the step budget in which the rate falls.
        end: the rate from then on, as a share of the first.
    """

    rate: float
    slack: float
    decay: float
    end: float

    @property
    def momentum(self) -> float:
        """Momentum."""
        return 1.0 - self.slack

    def learning_rate(self, step: int, budget: int) -> float:
        """Return the learning rate of a step, counted from 0, of a training with a budget of steps.

        >>> config = Config(rate=1.0, slack=0.1, decay=0.5, end=0.1)
        >>> [round(config.learning_rate(step, 100), 3) for step in (0, 25, 50, 99)]
        [0.1, 0.055, 0.01, 0.01]
        """
        fallen = min(1.0, step / max(1.0, self.decay * budget))
        return self.rate * self.slack * (1.0 + (self.end - 1.0) * fallen)


@dataclass(frozen=True, slots=True)
class Range:
    """Where one parameter is searched, on a logarithmic scale unless it says otherwise.

    Args:
        low, high: bounds.
        least, most: how far the bounds can be moved.
        log: whether ratios count, not differences.
    """

    low: float
    high: float
    least: float
    most: float
    log: bool = True

    def place(self, value: float) -> float:
        """Return where a value lies, 0 at the low bound and 1 at the high one."""
        return (self._scaled(value) - self._scaled(self.low)) / self._width if self._width else 0.5

    def at(self, place: float) -> float:
        """Return the value at a place; the opposite of :meth:`place`."""
        scaled = self._scaled(self.low) + place * self._width
        return math.exp(scaled) if self.log else scaled

    def shifted(self, factor: float) -> Range:
        """Return a range as wide, with all bounds multiplied by ``factor``."""
        return replace(
            self,
            low=self.low * factor,
            high=self.high * factor,
            least=self.least * factor,
            most=self.most * factor,
        )

    def extended(self, side: int) -> Range:
        """Return the range with the bound on one side (-1 low, 1 high) moved on, as far as it can be."""
        if side < 0:
            return replace(self, low=max(self.least, self.at(-GROWTH)))
        return replace(self, high=min(self.most, self.at(1 + GROWTH)))

    def added(self, side: int) -> Range:
        """Return what :meth:`extended` adds, with a strip of what was there."""
        wider = self.extended(side)
        return replace(wider, high=self.at(OVERLAP)) if side < 0 else replace(wider, low=self.at(1 - OVERLAP))

    @property
    def distribution(self) -> BaseDistribution:
        """The range as Optuna has it."""
        return FloatDistribution(self.low, self.high, log=self.log)

    @property
    def _width(self) -> float:
        return self._scaled(self.high) - self._scaled(self.low)

    def _scaled(self, value: float) -> float:
        return math.log(value) if self.log else value


class Edge(NamedTuple):
    """A bound: of which parameter, and on which side (-1 low, 1 high)."""

    name: str
    side: int


@dataclass(frozen=True, slots=True)
class Space:
    """The ranges of all parameters of :class:`Config`.

    Decay and end are searched over all that they can mean: a decay that is over after a tenth of the budget is a
    smaller rate, and a thousandth of a rate is none.
    """

    rate: Range = Range(0.01, 10.0, 1e-6, 1e4)
    slack: Range = Range(0.01, 1.0, 1e-4, 1.0)
    decay: Range = Range(0.1, 1.0, 0.1, 1.0, log=False)
    end: Range = Range(1e-3, 1.0, 1e-3, 1.0)

    def edges(self, config: Config) -> Iterator[Edge]:
        """Yield the bounds that a config is too near to and that can be moved."""
        for each in fields(self):
            own: Range = getattr(self, each.name)
            place = own.place(getattr(config, each.name))
            if place < EDGE and own.low > own.least:
                yield Edge(each.name, -1)
            if place > 1 - EDGE and own.high < own.most:
                yield Edge(each.name, 1)

    def extended(self, edge: Edge) -> Space:
        """Return the space with one bound moved on."""
        return replace(self, **{edge.name: getattr(self, edge.name).extended(edge.side)})

    def added(self, edge: Edge) -> Space:
        """Return the part of :meth:`extended` that is new, all other ranges as they are."""
        return replace(self, **{edge.name: getattr(self, edge.name).added(edge.side)})

    def centred(self, rate: float, width: float) -> Space:
        """Return the space with effective rates from ``rate / width`` to ``rate * width``."""
        return replace(self, rate=replace(self.rate, low=rate / width, high=rate * width))

    def points(self, count: int, seed: int) -> list[Config]:
        """Return quasi-random points: a scrambled Sobol sequence by Optuna's sampler, the same for the same seed."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            study = optuna.create_study(sampler=QMCSampler(scramble=True, seed=seed))
        ranges = {each.name: getattr(self, each.name).distribution for each in fields(self)}
        # The sampler draws its first point at random, to learn from it which parameters there are.
        study.tell(study.ask(ranges), 0.0)
        found = []
        for _ in range(count):
            trial = study.ask(ranges)
            study.tell(trial, 0.0)
            found.append(Config(**trial.params))
        return found
