"""Draws candidates for the next proposal: random plans with few gates, and neighbours of good plans."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from random import Random

from gatesearch.plan import PlacedGate
from gatesearch.search.slots import Gates, Slot
from gatesearch.search.space import Space

ONE_MORE_GATE = 0.6  # probability of n + 1 cut gates divided by the probability of n cut gates, for n >= 1
NO_GATE_WEIGHT = 0.3  # probability of no cut gate divided by the probability of one cut gate
EMPTY_LAYER_SHARE = 0.7  # share of the layer slots that a drawn plan leaves empty
NEIGHBOUR_SHARE = 0.6  # share of the candidates that are neighbours of a parent
ANOTHER_CHANGE = 0.5  # probability that a change is followed by another
ONE_PARAM_CHANGE = 0.7  # probability that a change of a gate's parameters changes one parameter only


class Candidates:
    """Draws the gates of candidate plans; it draws no cores.

    Args:
        space: the space of plans.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self._cuts, self._layers = space.cut_slots, space.layer_slots
        self._near: dict[Gates, list[Gates]] = {}

    def draw_many(self, count: int, generator: Random, parents: Sequence[Gates] = ()) -> Iterator[Gates]:
        """Yield candidates, which may repeat.

        Args:
            count: number of candidates.
            generator: the generator of all random numbers.
            parents: gates of good plans; part of the candidates are neighbours of a parent. Without parents, no
                neighbours are drawn.
        """
        for _ in range(count):
            if parents and generator.random() < NEIGHBOUR_SHARE:
                yield self.neighbour(generator.choice(parents), generator)
            else:
                yield self.draw(generator)

    def draw_evenly(self, count: int, generator: Random) -> Iterator[Gates]:
        """Yield gates with equal probabilities for each number of cut gates, each site and each choice of a slot."""
        for _ in range(count):
            yield self.draw(generator, one_more_gate=1.0, no_gate_weight=1.0, empty_layer_share=None)

    def draw(
        self,
        generator: Random,
        one_more_gate: float = ONE_MORE_GATE,
        no_gate_weight: float = NO_GATE_WEIGHT,
        empty_layer_share: float | None = EMPTY_LAYER_SHARE,
    ) -> Gates:
        """Draw the gates of one plan.

        Args:
            generator: the generator of all random numbers.
            one_more_gate: probability of n + 1 cut gates divided by the probability of n cut gates, for n >= 1.
            no_gate_weight: probability of no cut gate divided by the probability of one cut gate.
            empty_layer_share: share of the layer slots that stay empty; None: to stay empty is as likely as each of
                the slot's gates.
        """
        least, most = self._space.min_gates, self._space.max_gates
        weights = [one_more_gate ** max(0, n - 1) * (no_gate_weight if n == 0 else 1) for n in range(least, most + 1)]
        count = least + _draw_index(weights, generator)
        places = sorted(generator.sample(range(len(self._cuts)), count))
        choices = [generator.choice(self._cuts[place].choices[1:]) for place in places]
        for slot in self._layers:
            share = 1 / len(slot.choices) if empty_layer_share is None else empty_layer_share
            if generator.random() >= share:
                choices.append(generator.choice(slot.choices[1:]))
        return tuple(chain.from_iterable(choices))

    def neighbour(self, parent: Gates, generator: Random) -> Gates:
        """Return the gates of a parent after one or more random changes.

        A change adds a gate, drops a gate, moves a gate to another site, or changes the parameters of a gate.
        """
        cuts = {place: slot.choice_in(parent) for place, slot in enumerate(self._cuts)}
        cuts = {place: choice for place, choice in cuts.items() if choice}
        layers = [slot.choice_in(parent) for slot in self._layers]
        is_done = False
        while not is_done:
            if self._layers and (not self._cuts or generator.random() < 0.5):
                place = generator.randrange(len(self._layers))
                layers[place] = generator.choice(self._layers[place].choices)
            elif self._cuts:
                self._change_cuts(cuts, generator)
            is_done = generator.random() >= ANOTHER_CHANGE
        return tuple(chain(*(cuts[place] for place in sorted(cuts)), *layers))

    def _change_cuts(self, cuts: dict[int, Gates], generator: Random) -> None:
        """Change the cut gates of a plan once at random, within the limits on their number.

        Args:
            cuts: the gate of each filled cut slot, by the index of the slot; it is changed in place.
            generator: the generator of all random numbers.
        """
        free = [place for place in range(len(self._cuts)) if place not in cuts]
        changes = ["add"] if free and len(cuts) < self._space.max_gates else []
        if len(cuts) > self._space.min_gates:
            changes.append("drop")
        if cuts:
            changes += ["change parameters"] * 2
        if cuts and free:
            changes.append("move")
        if not changes:
            return
        change = generator.choice(changes)
        if change == "add":
            place = generator.choice(free)
            cuts[place] = generator.choice(self._cuts[place].choices[1:])
            return
        old_place = generator.choice(sorted(cuts))
        old = cuts.pop(old_place)
        if change == "change parameters":
            near = self._nearest(self._cuts[old_place], old)
            is_small = bool(near) and generator.random() < ONE_PARAM_CHANGE
            cuts[old_place] = generator.choice(near if is_small else self._cuts[old_place].choices[1:])
        elif change == "move":
            place = generator.choice(free)
            slot = self._cuts[place]
            cuts[place] = generator.choice(slot.choices[1:])
            # The gate keeps its parameters where the new site allows them.
            moved = (PlacedGate(old[0].kind, slot.sites[0].name, old[0].params),)
            if moved in slot.choices:
                cuts[place] = moved

    def _nearest(self, slot: Slot, choice: Gates) -> list[Gates]:
        """Return the choices of a slot that have the same gate kind as ``choice`` and differ in one parameter."""
        if choice not in self._near:
            same_kind = [other for other in slot.choices[1:] if other[0].kind == choice[0].kind]
            self._near[choice] = [other for other in same_kind if _differences(choice[0], other[0]) == 1]
        return self._near[choice]


def _differences(one: PlacedGate, other: PlacedGate) -> int:
    return sum(a != b for a, b in zip(one.params, other.params, strict=True))


def _draw_index(weights: Sequence[float], generator: Random) -> int:
    """Draw an index with probabilities in proportion to the weights."""
    remaining = generator.random() * sum(weights)
    for index, weight in enumerate(weights):
        remaining -= weight
        if remaining < 0:
            return index
    return len(weights) - 1
