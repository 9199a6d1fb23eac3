"""The plan: the gates of a network with their sites, and the core that runs each stage.

A search proposes plans. The gated model is built from a plan, the cost model prices it, export cuts the network by it,
and the report draws it. A plan is frozen, hashable and can be written as JSON. Its digest names the trial, the cache
entry and the artifact.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from gatesearch.errors import UserError, first_line, quote

Scalar = str | int | float | bool | None
MAX_INTEGER_BITS = 1024  # number of bits of the largest finite float


@dataclass(frozen=True, slots=True)
class PlacedGate:
    """One technique placed at one site.

    Args:
        kind: name of the gate kind, such as ``"gc"``.
        site: name of the site, as ``gatesearch sites`` prints it.
        params: parameters of the gate, sorted by name, so that equal gates are equal objects.

    >>> PlacedGate.of("gc", "blocks.2", recall=0.99, keep=0.5).params
    (('keep', 0.5), ('recall', 0.99))
    """

    kind: str
    site: str
    params: tuple[tuple[str, Scalar], ...] = ()

    @classmethod
    def of(cls, kind: str, site: str, **params: Scalar) -> PlacedGate:
        """Build a gate from keyword parameters."""
        return cls(kind, site, tuple(sorted(params.items())))

    def __getitem__(self, name: str) -> Any:
        return dict(self.params)[name]

    def to_dict(self) -> dict[str, Any]:
        """Return the gate as a JSON-ready dictionary."""
        return {"kind": self.kind, "site": self.site, "params": dict(self.params)}


@dataclass(frozen=True, slots=True)
class GatePlan:
    """The gates of a network, the core of every stage, and the clocks of cores.

    Gates at cut sites come first, then gates at layer sites. Within each of the two groups, gates are in the order in
    which data meets them. ``cores`` has one entry for each stage, and there is one stage more than there are cut gates.
    The empty plan is the ungated backbone. ``clocks`` has pairs of a core and its clock point, sorted by core. It lists
    only cores that run at another point than their first one.

    >>> plan = GatePlan((PlacedGate.of("gc", "input", keep=1.0),), ("mcu", "npu"))
    >>> GatePlan.from_dict(plan.to_dict()) == plan
    True
    >>> plan.digest == GatePlan.from_json(plan.to_json()).digest
    True
    >>> print(GatePlan(tuple(PlacedGate.of("fbs", site, density=0.9) for site in ("conv1", "conv2")), ("npu",)))
    fbs@conv1, conv2(density=0.9) on npu
    >>> print(GatePlan((), ("cpu",), (("cpu", "48MHz"),)))
    no gates on cpu at 48MHz
    """

    gates: tuple[PlacedGate, ...] = ()
    cores: tuple[str, ...] = field(default=())
    clocks: tuple[tuple[str, str], ...] = field(default=())

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits that identify the plan."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:12]

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as a JSON-ready dictionary; without clocks, it has no key for them."""
        plan = {"gates": [gate.to_dict() for gate in self.gates], "cores": list(self.cores)}
        return plan | ({"clocks": dict(self.clocks)} if self.clocks else {})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> GatePlan:
        """Rebuild a plan from the result of :meth:`to_dict`; other keys, such as a digest, are ignored.

        Raises:
            UserError: a key is missing, or a value has the wrong type.
        """
        gates, cores = (_read_list(values, key) for key in ("gates", "cores"))
        for index, core in enumerate(cores):
            _check_text(core, f"cores[{index}]")
        return cls(
            gates=tuple(_read_gate(gate, f"gates[{index}]") for index, gate in enumerate(gates)),
            cores=tuple(cores),
            clocks=_read_clocks(values.get("clocks", {})),
        )

    def to_json(self) -> str:
        """Return the plan as canonical JSON; equal plans have equal text."""
        values = self.to_dict()
        for gate in values["gates"]:  # 1 and 1.0 are equal, so both are written as 1
            gate["params"] = {
                name: int(value) if isinstance(value, float) and value.is_integer() else value
                for name, value in sorted(gate["params"].items())
            }
        return json.dumps(values, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> GatePlan:
        """Rebuild a plan from the result of :meth:`to_json`.

        Raises:
            UserError: the text is not JSON, a key is missing, or a value has the wrong type.
        """
        if not isinstance(text, str):
            raise UserError(f"plan: {quote(text)} is not JSON text")
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UserError(f"plan: {quote(text)} is not JSON: {first_line(error)}") from None
        return cls.from_dict(values)

    def __str__(self) -> str:
        gates = [  # neighbouring gates that differ only in their site share an entry
            f"{kind}@{', '.join(g.site for g in group)}({', '.join(f'{k}={v}' for k, v in params)})"
            for (kind, params), group in groupby(self.gates, key=lambda g: (g.kind, g.params))
        ]
        return f"{' | '.join(gates) or 'no gates'} on {self.describe_cores() or '?'}"

    def describe_cores(self) -> str:
        """Return the cores of the stages in a line, with the clocks that the plan chooses.

        >>> GatePlan((), ("cpu", "npu"), (("cpu", "48MHz"),)).describe_cores()
        'cpu at 48MHz > npu'
        """
        clocks = dict(self.clocks)
        text = " > ".join(f"{core} at {clocks[core]}" if core in clocks else core for core in self.cores)
        others = [f"{core} at {point}" for core, point in self.clocks if core not in self.cores]
        return f"{text}, {', '.join(others)}" if others else text


def _read_list(values: object, key: str) -> list[Any]:
    if not isinstance(values, Mapping):
        raise UserError(f"plan: {quote(values)} is not a group of keys")
    if key not in values:
        raise UserError(f"plan: missing key {key!r}")
    entries = values[key]
    if not isinstance(entries, list | tuple):
        raise UserError(f"plan: {key}: {quote(entries)} is not a list")
    return list(entries)


def _read_gate(values: object, where: str) -> PlacedGate:
    """Return the gate of one entry of a plan's JSON, or refuse the entry."""
    if not isinstance(values, Mapping):
        raise UserError(f"plan: {where}: {quote(values)} is not a group of keys")
    for key in ("kind", "site", "params"):
        if key not in values:
            raise UserError(f"plan: {where}: missing key {key!r}")
    for key in ("kind", "site"):
        _check_text(values[key], f"{where}.{key}")
    params = values["params"]
    if not isinstance(params, Mapping):
        raise UserError(f"plan: {where}.params: {quote(params)} is not a group of keys")
    for name, value in params.items():
        _check_text(name, f"{where}.params, a name")
        _check_scalar(value, f"{where}.params.{name}")
    return PlacedGate(values["kind"], values["site"], tuple(sorted(params.items())))


def _read_clocks(values: object) -> tuple[tuple[str, str], ...]:
    """Return the clocks of a plan's JSON, or refuse them."""
    if not isinstance(values, Mapping):
        raise UserError(f"plan: clocks: {quote(values)} is not a group of keys")
    for core, point in values.items():
        _check_text(core, "clocks, a core")
        _check_text(point, f"clocks.{core}")
    return tuple(sorted(values.items()))


def _check_text(value: object, where: str) -> None:
    if not isinstance(value, str) or not value or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise UserError(f"plan: {where}: {quote(value)} is not text")


def _check_scalar(value: object, where: str) -> None:
    """Refuse a value that JSON cannot hold, because the digest is a hash of the plan's JSON.

    JSON has no NaN and no infinity. Python writes no integer of more than 4300 digits.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"plan: {where}: {value} is not a finite number")
    if isinstance(value, int) and value.bit_length() > MAX_INTEGER_BITS:
        raise UserError(f"plan: {where}: {quote(value)} is out of range")
    if not isinstance(value, Scalar):
        raise UserError(f"plan: {where}: {quote(value)} is neither text nor a number, true, false or null")
