"""A slot of the search space: a site in the network, and every choice of gates that can fill this site."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

from gatesearch.graph.sites import CutSite, Site
from gatesearch.plan import PlacedGate, Scalar
from gatesearch.search.trial_protocol import CategoricalTrial

Gates = tuple[PlacedGate, ...]
NO_GATE = "none"  # in a study, the gate kind of a slot that stays empty


@dataclass(frozen=True)
class Slot:
    """One decision of a plan: which gate fills a site, if any.

    Args:
        label: prefix of the names that the slot's parameters have in a study.
        sites: the sites where a choice places gates: one site, or all layer sites together.
        choices: the gates of each choice. The empty choice comes first. A gate kind has one choice for each combination
            of its parameter values.

    >>> site = CutSite("stem", (8, 4), 10, 20, 1, 2, "stem")
    >>> gates = [PlacedGate.of("gc", "stem", keep=keep) for keep in (0.5, 1.0)]
    >>> slot = Slot("cut:stem", (site,), ((), *((gate,) for gate in gates)))
    >>> slot.kinds, slot.values("gc")
    (('gc',), {'keep': (0.5, 1.0)})
    >>> slot.describe((gates[0],))
    {'cut:stem:gc.keep': 0.5}
    """

    label: str
    sites: tuple[Site, ...]
    choices: tuple[Gates, ...]

    @property
    def is_cut(self) -> bool:
        """Whether a gate in this slot ends a stage; the number of such gates in a plan is limited."""
        return isinstance(self.sites[0], CutSite)

    @cached_property
    def gates(self) -> tuple[PlacedGate, ...]:
        """Every gate of every choice."""
        return tuple(chain.from_iterable(self.choices))

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of gates that can fill the slot, in order."""
        return tuple(dict.fromkeys(gate.kind for gate in self.gates))

    def values(self, kind: str) -> Mapping[str, tuple[Scalar, ...]]:
        """Return the values of each parameter of a gate kind; numbers are in order from the strongest to the gentlest.

        A strong gate saves much work, a gentle gate little.
        """
        return self._values[kind]

    def gates_at(self, site: Site) -> list[PlacedGate]:
        """Return every gate that a choice places at a site."""
        return [gate for gate in self.gates if gate.site == site.name]

    def choice_in(self, gates: Iterable[PlacedGate]) -> Gates:
        """Return those gates of a plan that fill this slot; empty if the slot is empty."""
        return tuple(gate for gate in gates if gate in self._gate_set)

    def gentlest(self, kind: str) -> Gates:
        """Return the gentlest choice of a gate kind.

        Numeric parameters have their last value, text parameters their first value.
        """
        params = {}
        for name, values in self.values(kind).items():
            is_numeric = not any(isinstance(value, str | None) for value in values)
            params[name] = values[-1] if is_numeric else values[0]
        return self._find(kind, params)

    def suggest(self, trial: CategoricalTrial) -> Gates:
        """Return the choice that a trial suggests.

        A cut slot always gets a gate, because the space calls this method only for the cut slots that it fills.
        """
        kinds = list(self.kinds) if self.is_cut else [NO_GATE, *self.kinds]
        kind = kinds[0] if len(kinds) == 1 else str(trial.suggest_categorical(self._kind_name, kinds))
        if kind == NO_GATE:
            return ()
        params: dict[str, Scalar] = {}
        for name, values in self.values(kind).items():
            label = self._param_name(kind, name)
            params[name] = values[0] if len(values) == 1 else trial.suggest_categorical(label, list(values))
        return self._find(kind, params)

    def describe(self, choice: Gates) -> dict[str, Scalar]:
        """Return the trial parameters, by name, with which :meth:`suggest` returns a choice."""
        if not choice:
            return {self._kind_name: NO_GATE}
        kind = choice[0].kind
        params: dict[str, Scalar] = {}
        if len(self.kinds) > 1 or not self.is_cut:
            params[self._kind_name] = kind
        for name, values in self.values(kind).items():
            if len(values) > 1:
                params[self._param_name(kind, name)] = choice[0][name]
        return params

    @property
    def param_names(self) -> list[str]:
        """The names of all parameters that this slot may have in a trial."""
        names = [self._kind_name]
        for kind in self.kinds:
            names += [self._param_name(kind, name) for name in self.values(kind)]
        return names

    @property
    def _kind_name(self) -> str:
        return f"{self.label}:kind"

    def _param_name(self, kind: str, name: str) -> str:
        return f"{self.label}:{kind}.{name}"

    @cached_property
    def _gate_set(self) -> frozenset[PlacedGate]:
        return frozenset(self.gates)

    @cached_property
    def _values(self) -> dict[str, dict[str, tuple[Scalar, ...]]]:
        return {kind: merge_values([gate for gate in self.gates if gate.kind == kind]) for kind in self.kinds}

    @cached_property
    def _by_params(self) -> dict[tuple[str, tuple[tuple[str, Scalar], ...]], Gates]:
        return {(choice[0].kind, choice[0].params): choice for choice in self.choices if choice}

    def _find(self, kind: str, params: Mapping[str, Scalar]) -> Gates:
        return self._by_params[kind, tuple(sorted(params.items()))]


def merge_values(gates: Sequence[PlacedGate]) -> dict[str, tuple[Scalar, ...]]:
    """Return the different values of each parameter among gates of one kind, in the order in which they occur."""
    merged: dict[str, dict[Scalar, None]] = {}
    for gate in gates:
        for name, value in gate.params:
            merged.setdefault(name, {})[value] = None
    return {name: tuple(values) for name, values in merged.items()}
