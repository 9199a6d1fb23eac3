"""The plan: which gate goes where, and which core runs each stage.

Search proposes plans, the gated model is built from one, the cost model prices it, export cuts by it and the report
draws it. A plan is frozen, hashable and JSON; its digest names the trial, the cache entry and the artifact.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class PlacedGate:
    """One technique placed at one site.

    Args:
        kind: name of the gate kind, such as ``"gc"``.
        site: name of the site, as ``gatesearch sites`` prints it.
        params: the kind's parameters, sorted by name so that equal gates are equal objects.

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
        """Return the gate as JSON-ready values."""
        return {"kind": self.kind, "site": self.site, "params": dict(self.params)}


@dataclass(frozen=True, slots=True)
class GatePlan:
    """Gates in the order in which data meets them, and the core of every stage.

    ``cores`` has one entry a stage, that is one more than there are cut gates. The empty plan is the ungated backbone.

    >>> plan = GatePlan((PlacedGate.of("gc", "input", keep=1.0),), ("mcu", "npu"))
    >>> GatePlan.from_dict(plan.to_dict()) == plan
    True
    >>> plan.digest == GatePlan.from_json(plan.to_json()).digest
    True
    >>> print(GatePlan(tuple(PlacedGate.of("fbs", site, density=0.9) for site in ("conv1", "conv2")), ("npu",)))
    fbs@conv1, conv2(density=0.9) on npu
    """

    gates: tuple[PlacedGate, ...] = ()
    cores: tuple[str, ...] = field(default=())

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits that identify the plan."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:12]

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as JSON-ready values."""
        return {"gates": [gate.to_dict() for gate in self.gates], "cores": list(self.cores)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> GatePlan:
        """Rebuild a plan from :meth:`to_dict`."""
        gates = tuple(PlacedGate.of(g["kind"], g["site"], **g["params"]) for g in values["gates"])
        return cls(gates, tuple(values["cores"]))

    def to_json(self) -> str:
        """Return canonical JSON: equal plans give equal text."""
        values = self.to_dict()
        for gate in values["gates"]:  # 1 and 1.0 are equal, so plans with either are one plan
            gate["params"] = {
                name: int(value) if isinstance(value, float) and value.is_integer() else value
                for name, value in sorted(gate["params"].items())
            }
        return json.dumps(values, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> GatePlan:
        """Rebuild a plan from :meth:`to_json`."""
        return cls.from_dict(json.loads(text))

    def __str__(self) -> str:
        gates = [  # neighbours that differ in their site alone share an entry
            f"{kind}@{', '.join(g.site for g in group)}({', '.join(f'{k}={v}' for k, v in params)})"
            for (kind, params), group in groupby(self.gates, key=lambda g: (g.kind, g.params))
        ]
        return f"{' | '.join(gates) or 'no gates'} on {' > '.join(self.cores) or '?'}"
