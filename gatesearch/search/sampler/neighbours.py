"""Gates to choose among: drawn with few of them in mind, or bred from the best so far by a change or two."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations_with_replacement
from random import Random
from typing import Any

from gatesearch.plan import GatePlan, PlacedGate, Scalar
from gatesearch.search.space import Space

Gates = tuple[PlacedGate, ...]
FEWER = 0.6  # how likely one more gate is, relative to one less
NO_GATES = 0.3
UNGATED_LAYERS = 0.7  # share of the layers that a drawn plan leaves alone
BRED = 0.6  # share of the candidates
AGAIN = 0.5  # how likely a change is followed by one more
NEAR = 0.7  # how likely a gate that is turned otherwise is so in one parameter alone


class Candidates:
    """Draws what the plans of a space have beside their cores: the gates, and how many at cut sites.

    Args:
        space: of plans.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self._names = [site.name for site in space.sites]
        self._at = [space.gates_at(site) for site in space.sites]
        self._layers = space.layers.offered()
        self._place = {name: k for k, name in enumerate(self._names)}
        self._turned: dict[PlacedGate, list[PlacedGate]] = {}

    def __call__(self, count: int, generator: Random, parents: Sequence[Gates] = ()) -> Iterator[Gates]:
        """Yield gates; equal ones may be among them.

        Args:
            count: how many.
            generator: of all that is random here.
            parents: to breed from.
        """
        for _ in range(count):
            if parents and generator.random() < BRED:
                yield self.bred(generator.choice(parents), generator)
            else:
                yield self.drawn(generator)

    def evenly(self, count: int, generator: Random) -> Iterator[Gates]:
        """Yield gates of which any number, place and kind is as likely as any other."""
        for _ in range(count):
            yield self.drawn(generator, fewer=1.0, no_gates=1.0, ungated=None)

    def drawn(
        self,
        generator: Random,
        fewer: float = FEWER,
        no_gates: float = NO_GATES,
        ungated: float | None = UNGATED_LAYERS,
    ) -> Gates:
        """Draw gates.

        Args:
            generator: of all that is random here.
            fewer: how likely one more gate at a cut site is, relative to one less.
            no_gates: how likely none is, relative to one.
            ungated: share of the layers without gates; None: as likely as any gate there.
        """
        space = self._space
        weights = [fewer ** max(0, n - 1) * (no_gates if n == 0 else 1) for n in range(space.fewest, space.most + 1)]
        count = space.fewest + _index(weights, generator)
        cuts = [generator.choice(self._at[place]) for place in sorted(generator.sample(range(len(self._names)), count))]
        inside: list[PlacedGate] = []
        for offered in self._layers:
            alone = 1 / len(offered) if ungated is None else ungated
            if generator.random() >= alone:
                inside += generator.choice(offered[1:])
        return (*cuts, *inside)

    def bred(self, parent: Gates, generator: Random) -> Gates:
        """Change a choice or two of gates: one more, one less, elsewhere, turned otherwise."""
        cuts = {self._place[gate.site]: gate for gate in parent if gate.kind in self._space.kinds}
        inside = [tuple(gate for gate in parent[len(cuts) :] if _holds(offered, gate)) for offered in self._layers]
        again = True
        while again:
            if self._layers and (not self._names or generator.random() < 0.5):
                at = generator.randrange(len(self._layers))
                inside[at] = generator.choice(self._layers[at])
            elif self._names:
                self._change(cuts, generator)
            again = generator.random() < AGAIN
        return (*(cuts[place] for place in sorted(cuts)), *(gate for gates in inside for gate in gates))

    def _change(self, cuts: dict[int, PlacedGate], generator: Random) -> None:
        free = [place for place in range(len(self._names)) if place not in cuts]
        can = ["add"] if free and len(cuts) < self._space.most else []
        can += ["drop"] if len(cuts) > self._space.fewest else []
        can += ["turn", "turn", *(["move"] if free else [])] if cuts else []
        if not can:
            return
        what = generator.choice(can)
        gone = cuts.pop(generator.choice(sorted(cuts))) if what != "add" else None
        if what == "drop":
            return
        if what == "turn" and gone is not None:
            place = self._place[gone.site]
            near = self._near(gone)
            cuts[place] = generator.choice(near if near and generator.random() < NEAR else self._at[place])
            return
        place = generator.choice(free)
        cuts[place] = generator.choice(self._at[place])
        if gone is not None:  # as it was turned, where that can be
            moved = PlacedGate(gone.kind, self._names[place], gone.params)
            cuts[place] = moved if moved in self._at[place] else cuts[place]

    def _near(self, gate: PlacedGate) -> list[PlacedGate]:
        """Return the gates of its kind, at its site, that differ in one parameter."""
        if gate not in self._turned:
            same = [other for other in self._at[self._place[gate.site]] if other.kind == gate.kind]
            self._turned[gate] = [other for other in same if _differing(gate, other) == 1]
        return self._turned[gate]


def cores_of(space: Space, gates: Gates) -> list[tuple[str, ...]]:
    """Return every choice of cores for the stages that gates make."""
    stages = sum(gate.kind in space.kinds for gate in gates) + 1
    return list(combinations_with_replacement(space.cores, stages))


def replay(space: Space, params: Mapping[str, Any]) -> GatePlan | None:
    """Return the plan that a trial chose of this space; None where it did not choose, or of another space."""
    try:
        return space.propose(_Known(params))
    except KeyError:
        return None


class _Known:
    """Stands in for a trial that has chosen.

    Raises:
        KeyError: it has not.
    """

    def __init__(self, params: Mapping[str, Any]) -> None:
        self._params = params

    def suggest_categorical(self, name: str, choices: Sequence[Scalar]) -> Scalar:
        value: Scalar = self._params[name]
        if value not in choices:
            raise KeyError(name)
        return value


def _holds(offered: Sequence[Gates], gate: PlacedGate) -> bool:
    return any(gate in gates for gates in offered)


def _differing(one: PlacedGate, other: PlacedGate) -> int:
    return sum(a != b for a, b in zip(one.params, other.params, strict=True))


def _index(weights: Sequence[float], generator: Random) -> int:
    left = generator.random() * sum(weights)
    for index, weight in enumerate(weights):
        left -= weight
        if left < 0:
            return index
    return len(weights) - 1
