"""Plans to choose among: drawn with few gates in mind, or bred from the best so far by changing a choice or two."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gatesearch.plan import GatePlan, Scalar
from gatesearch.search.layer_space import NONE
from gatesearch.search.space import Space

Choices = dict[str, Scalar]
FEWER = 0.6  # how likely one more gate is, relative to one less
UNGATED_LAYERS = 0.7  # share of the layers that a drawn plan leaves alone
BRED = 0.5  # share of the candidates


def candidates(
    space: Space,
    count: int,
    generator: np.random.Generator,
    parents: Sequence[Mapping[str, Scalar]] = (),
    evenly: bool = False,
) -> Iterator[tuple[Choices, GatePlan]]:
    """Yield plans, each with what a trial would choose to propose it.

    Args:
        space: of plans.
        count: how many; equal ones may be among them.
        generator: of all that is random here.
        parents: choices of the plans to breed from.
        evenly: whether any choice is as likely as any other, few gates or many.
    """
    for _ in range(count):
        draw = _Draw(generator, evenly=evenly)
        if parents and generator.random() < BRED:
            parent = parents[int(generator.integers(len(parents)))]
            renewed = generator.choice(list(parent), size=min(len(parent), 1 + generator.geometric(0.5)), replace=False)
            draw = _Draw(generator, {name: value for name, value in parent.items() if name not in renewed})
        plan = space.propose(draw)
        yield draw.chosen, plan


def replay(space: Space, params: Mapping[str, Any]) -> tuple[Choices, GatePlan] | None:
    """Return what a trial chose of this space and its plan; None where it did not choose, or of another space."""
    known = _Known(params)
    try:
        plan = space.propose(known)
    except KeyError:
        return None
    return known.chosen, plan


class _Known:
    """Stands in for a trial that has chosen.

    Raises:
        KeyError: it has not.
    """

    def __init__(self, params: Mapping[str, Any]) -> None:
        self._params = params
        self.chosen: Choices = {}

    def suggest_categorical(self, name: str, choices: Sequence[Scalar]) -> Scalar:
        if self._params[name] not in choices:
            raise KeyError(name)
        self.chosen[name] = self._params[name]
        return self.chosen[name]


class _Draw:
    """Stands in for a trial: takes over what was given, and draws the rest."""

    def __init__(
        self, generator: np.random.Generator, given: Mapping[str, Scalar] | None = None, evenly: bool = False
    ) -> None:
        self._generator, self._given, self._evenly = generator, given or {}, evenly
        self.chosen: Choices = {}

    def suggest_categorical(self, name: str, choices: Sequence[Scalar]) -> Scalar:
        value = self._given.get(name)
        if name not in self._given or value not in choices:
            weights = [1.0] * len(choices) if self._evenly else self._weights(name, choices)
            value = choices[_index(weights, self._generator.random())]
        self.chosen[name] = value
        return value

    @staticmethod
    def _weights(name: str, choices: Sequence[Scalar]) -> Sequence[float]:
        if name == "gates":
            return [FEWER ** max(0, int(gates or 0) - 1) * (0.3 if gates == 0 else 1.0) for gates in choices]
        if NONE in choices and len(choices) > 1:
            rest = (1 - UNGATED_LAYERS) / (len(choices) - 1)
            return [UNGATED_LAYERS if choice == NONE else rest for choice in choices]
        return [1.0] * len(choices)


def _index(weights: Sequence[float], dice: float) -> int:
    left = dice * sum(weights)
    for index, weight in enumerate(weights):
        left -= weight
        if left < 0:
            return index
    return len(weights) - 1


def offered_by(
    proposed: Iterator[tuple[Choices, GatePlan]], barred: Callable[[GatePlan], bool]
) -> dict[GatePlan, Choices]:
    """Return each plan once that is not barred, with its choices."""
    return {plan: choices for choices, plan in proposed if not barred(plan)}
