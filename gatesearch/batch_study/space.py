"""The search space of a batch-size study: ranges with bounds that can move, and quasi-random points."""

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

from gatesearch._lib.quiet_optuna import quiet_optuna
from gatesearch.batch_study.config import Config

EDGE_SHARE = 0.1  # share of a range; if the best trial is nearer to a bound, a better one may lie beyond that bound
GROWTH_SHARE = 0.5  # a bound moves outwards by this share of the width of the range
OVERLAP_SHARE = 0.2  # share of the old width, next to the old bound, that is searched again with the added part
LOW, HIGH = -1, 1  # the sides of a range


@dataclass(frozen=True, slots=True)
class Range:
    """The range of one parameter, on a logarithmic scale or a linear one.

    A position in the range is 0 at the low bound and 1 at the high bound, on that scale.

    Args:
        low, high: bounds.
        lowest, highest: limits to which the bounds can be moved.
        log: whether the scale is logarithmic.
    """

    low: float
    high: float
    lowest: float
    highest: float
    log: bool = True

    def position(self, value: float) -> float:
        """Return the position of a value; 0.5 in a range of a single value."""
        width = self._width
        return (self._scale(value) - self._scale(self.low)) / width if width else 0.5

    def value(self, position: float) -> float:
        """Return the value at a position; the inverse of :meth:`position`."""
        scaled = self._scale(self.low) + position * self._width
        return math.exp(scaled) if self.log else scaled

    def extend(self, side: int) -> Range:
        """Return the range with the bound on one side moved outwards, as far as its limit allows."""
        if side == LOW:
            return replace(self, low=max(self.lowest, self.value(-GROWTH_SHARE)))
        return replace(self, high=min(self.highest, self.value(1 + GROWTH_SHARE)))

    def extension(self, side: int) -> Range:
        """Return the part that :meth:`extend` adds, with a strip of the old range."""
        wider = self.extend(side)
        if side == LOW:
            return replace(wider, high=self.value(OVERLAP_SHARE))
        return replace(wider, low=self.value(1 - OVERLAP_SHARE))

    @property
    def distribution(self) -> BaseDistribution:
        """The range as a distribution of Optuna."""
        return FloatDistribution(self.low, self.high, log=self.log)

    @property
    def _width(self) -> float:
        return self._scale(self.high) - self._scale(self.low)

    def _scale(self, value: float) -> float:
        return math.log(value) if self.log else value


class Edge(NamedTuple):
    """A bound of a range: the name of the parameter, and the side of the range."""

    name: str
    side: int


@dataclass(frozen=True, slots=True)
class Space:
    """The ranges of all parameters of :class:`Config`, of which ``slack`` is 1 - momentum.

    The bounds of decay and end do not move, because values beyond them change little. A decay within less than a tenth
    of the budget acts like a smaller rate. An end below a thousandth of the rate acts like a rate of 0.
    """

    rate: Range = Range(low=0.01, high=10.0, lowest=1e-6, highest=1e4)
    slack: Range = Range(low=0.01, high=1.0, lowest=1e-4, highest=1.0)
    decay: Range = Range(low=0.1, high=1.0, lowest=0.1, highest=1.0, log=False)
    end: Range = Range(low=1e-3, high=1.0, lowest=1e-3, highest=1.0)

    def find_edges(self, config: Config) -> Iterator[Edge]:
        """Yield the movable bounds that a config is too near to."""
        for field in fields(self):
            own: Range = getattr(self, field.name)
            position = own.position(getattr(config, field.name))
            if position < EDGE_SHARE and own.low > own.lowest:
                yield Edge(field.name, LOW)
            if position > 1 - EDGE_SHARE and own.high < own.highest:
                yield Edge(field.name, HIGH)

    def extend(self, edge: Edge) -> Space:
        """Return the space with one bound moved outwards."""
        return replace(self, **{edge.name: getattr(self, edge.name).extend(edge.side)})

    def extension(self, edge: Edge) -> Space:
        """Return the part that :meth:`extend` adds; all other ranges stay whole."""
        return replace(self, **{edge.name: getattr(self, edge.name).extension(edge.side)})

    def centre(self, rate: float, factor: float) -> Space:
        """Return the space with effective rates from ``rate / factor`` to ``rate * factor``."""
        return replace(self, rate=replace(self.rate, low=rate / factor, high=rate * factor))

    def sample(self, count: int, seed: int) -> list[Config]:
        """Return quasi-random configs: points of a scrambled Sobol sequence, which depends on the seed alone."""
        with quiet_optuna(), warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            study = optuna.create_study(sampler=QMCSampler(scramble=True, seed=seed))
        ranges = {field.name: getattr(self, field.name).distribution for field in fields(self)}
        # Optuna's sampler learns the names of the parameters from its first point, which it draws at random.
        study.tell(study.ask(ranges), 0.0)
        points = []
        for _ in range(count):
            trial = study.ask(ranges)
            study.tell(trial, 0.0)
            points.append(Config(**trial.params))
        return points
