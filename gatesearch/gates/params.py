"""Parameters of a gate kind: a frozen dataclass whose fields say which values are valid.

For example, this class declares one parameter with two choices:

    @dataclass(frozen=True)
    class MeanParams(GateParams):
        recall: float = param(0.99, choices=(0.97, 0.99), above=0, high=1, doc="share of positives that must pass")

From these fields alone, gatesearch derives the search space, the checks of a plan, the messages of failed checks and
much of the conformance suite for plug-ins.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from gatesearch.errors import unknown_name
from gatesearch.plan import Scalar

Aim = Literal["recall", "leaving"]


class GateError(ValueError):
    """Raised if a gate cannot be built with a parameter or for a layer; the caller adds the site to the message."""


@dataclass(frozen=True, slots=True)
class Param:
    """The rule of one field of a :class:`GateParams`: its default, its choices and its range.

    Args:
        default: the value of a gate whose plan does not set the parameter; if it is an int, values are whole numbers.
        choices: the values that a search tries unless the recipe names others. Numbers are sorted from the value that
            saves the most work to the value that saves the least. Without choices, a search uses the default alone.
        among: the valid values; empty if the bounds define them.
        low, high: inclusive bounds.
        above, below: exclusive bounds.
        optional: whether None is a valid value as well.
        new_program: whether each value of the parameter results in another program, with a latency of its own.
        tunable_after_training: whether only calibration uses the parameter, so that its value can still change after
            training.
        aim: the meaning of the parameter as a target of calibration. ``"recall"``: at least this share of positives
            passes. ``"leaving"``: this share of all samples leaves at the gate. None: calibration does not use the
            parameter.
        doc: a phrase that says what the parameter is.
    """

    default: Scalar
    choices: tuple[Scalar, ...] = ()
    among: tuple[Scalar, ...] = ()
    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None
    optional: bool = False
    new_program: bool = False
    tunable_after_training: bool = False
    aim: Aim | None = None
    doc: str = ""

    @property
    def values(self) -> str:
        """The valid values, in words."""
        if self.among:
            return f"one of {', '.join(map(str, self.among))}"
        low, high = self.low, self.high
        if type(self.default) is int:
            least = "" if low is None else f" from {low:g}"
            return f"a whole number{least}" + ("" if high is None else f" to {high:g}")
        if self.above is not None and (high is not None or self.below is not None):
            return f"in ({self.above:g}, " + (f"{self.below:g})" if high is None else f"{high:g}]")
        if self.above is not None:
            return f"a number above {self.above:g}"
        return "a finite number"

    def check(self, name: str, value: object) -> None:
        """Check a value.

        Raises:
            GateError: the value is not valid; the message quotes it and names the nearest valid value or the range.
        """
        if value is None and self.optional:
            return
        if isinstance(self.default, str):
            if value not in self.among:
                raise GateError(unknown_name(name, str(value), [str(choice) for choice in self.among]))
        elif not self._holds(value):
            raise GateError(f"{name}: {value!r} is not {self.values}")

    def _holds(self, value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, int if type(self.default) is int else int | float):
            return False
        return (
            math.isfinite(value)
            and (not self.among or value in self.among)
            and (self.low is None or value >= self.low)
            and (self.high is None or value <= self.high)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )


def param(default: Scalar, **rule: Any) -> Any:
    """Declare a field of a :class:`GateParams`; ``rule`` holds the keywords of :class:`Param`."""
    return dataclasses.field(default=default, metadata={"param": Param(default, **rule)})


def recall_param() -> Any:
    """Declare the parameter ``recall``: the share of positives that calibration must let pass."""
    return param(
        0.99,
        choices=(0.97, 0.98, 0.99, 0.995),
        above=0,
        high=1,
        tunable_after_training=True,
        aim="recall",
        doc="share of positives that calibration must let pass",
    )


@dataclass(frozen=True)
class GateParams:
    """The base of every kind's parameters; a kind without parameters uses it as it is.

    Raises:
        GateError: a value is out of its range.

    >>> GateParams.read({"keep": 0.5})
    Traceback (most recent call last):
    gatesearch.gates.params.GateError: unknown parameter 'keep'; choices: none
    """

    def __post_init__(self) -> None:
        for name, rule in self.fields().items():
            rule.check(name, getattr(self, name))

    @classmethod
    def fields(cls) -> dict[str, Param]:
        """Return the rule of each field, by name."""
        return {field.name: field.metadata["param"] for field in dataclasses.fields(cls)}

    @classmethod
    def choices(cls) -> dict[str, tuple[Scalar, ...]]:
        """Return the values that a search tries for each parameter, by name."""
        return {name: rule.choices for name, rule in cls.fields().items() if rule.choices}

    @classmethod
    def new_programs(cls) -> frozenset[str]:
        """Return the names of the parameters whose values each result in another program."""
        return frozenset(name for name, rule in cls.fields().items() if rule.new_program)

    @classmethod
    def read(cls, written: Mapping[str, Scalar]) -> Self:
        """Return an instance with the parameters that a plan sets; a missing parameter gets its default.

        Raises:
            GateError: a parameter is unknown or a value out of its range.
        """
        rules = cls.fields()
        for name in written:
            if name not in rules:
                raise GateError(unknown_name("parameter", name, rules))
        return cls(**written)

    def calibration(self) -> dict[Aim, float]:
        """Return the target shares of calibration, by aim: ``"recall"`` or ``"leaving"``."""
        return {rule.aim: getattr(self, name) for name, rule in self.fields().items() if rule.aim is not None}
