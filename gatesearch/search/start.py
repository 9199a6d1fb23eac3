"""Where a search starts, on the cores that cost alone likes best.

No gates; one gentle gate at each cut site; each layer kind, gentle, at every layer where it can go.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations_with_replacement
from typing import cast

from gatesearch.plan import GatePlan, Scalar
from gatesearch.search.layer_space import NONE
from gatesearch.search.space import Space


def first_proposals(space: Space, cost: Callable[[GatePlan], float]) -> list[dict[str, Scalar]]:
    """Return what the first proposals choose, by the names under which a trial is asked.

    A sampler that knows nothing spends its first dozen of trials on three gates at once, which short trainings hardly
    recover from; the simplest plans are the ones to beat, and tell most about a site.

    Args:
        space: which plans there are.
        cost: of a plan before training, to be minimised; infinite where it cannot be.
    """
    starts: list[dict[str, Scalar]] = [{"gates": 0}]
    starts += [{"gates": 1, "site_0": site.name} for site in space.sites]
    starts += [{"gates": 0, **space.layers.everywhere(kind)} for kind in space.layers.kinds if space.layers.sites]
    found = []
    for given in starts:
        gates = cast(int, given["gates"])
        if not space.fewest <= gates <= space.most:
            continue
        answered = [
            _Gentle.ask(space, {**given, **{f"core_{k}": core for k, core in enumerate(cores)}})
            for cores in combinations_with_replacement(space.cores, gates + 1)
        ]
        chosen, _ = min(answered, key=lambda pair: cost(pair[1]))
        found.append(chosen)
    return found


class _Gentle:
    """Stands in for a trial: what is not given is the last of numbers, which go from strong to gentle, or the first.

    Layers of which nothing is given have no gates.
    """

    def __init__(self, given: dict[str, Scalar]) -> None:
        self.given = given
        self.chosen: dict[str, Scalar] = {}

    @classmethod
    def ask(cls, space: Space, given: dict[str, Scalar]) -> tuple[dict[str, Scalar], GatePlan]:
        trial = cls(given)
        plan = space.propose(trial)
        return trial.chosen, plan

    def suggest_categorical(self, name: str, choices: Sequence[Scalar]) -> Scalar:
        numbers = not any(isinstance(choice, str | None) for choice in choices)
        usual = NONE if NONE in choices else choices[-1] if numbers else choices[0]
        self.chosen[name] = self.given.get(name, usual)
        return self.chosen[name]
