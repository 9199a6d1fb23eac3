"""Tables with the quality and the costs of every plan of a small search space, and their files."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gatesearch.gates import cut_gates
from gatesearch.graph.sites import CutSite, LayerSite
from gatesearch.plan import GatePlan, PlacedGate, Scalar
from gatesearch.search import pareto
from gatesearch.search.slots import Slot, merge_values
from gatesearch.search.space import Space
from gatesearch.search.space_builder import build_space
from results.search.spaces import gates_to_train

Array = npt.NDArray[np.float64]
Passed = Mapping[str, Sequence[float]]
DROP = 0.05  # largest drop of quality below the network without gates, which is trained in the same way
# Distance of the hypervolume's reference point from the true front, as a share of the front's range (Ishibuchi et al.
# 2018, "How to Specify a Reference Point in Hypervolume Calculation").
MARGIN = 0.1


@dataclass(frozen=True)
class Table:
    """The recorded outcomes of every plan of a space.

    A reading is the outcome of a training after a number of epochs. Each training has several readings.

    Args:
        name: name of the table.
        space: space of the plans.
        shares: share of each kind of window in the stream.
        plans: all plans of the space.
        training: index of each plan's training, [plans]; plans with the same gates share a training.
        at: epochs of the readings; the last reading is at the end of the training.
        seconds: seconds from the start of each training to each reading, [trainings, readings].
        errors: 1 - quality, [plans, readings].
        costs: expected latency [us] and energy [uJ], [plans, readings, 2].
        passed: for each plan and reading, the share of each kind of window that reaches each stage.
        runs: for each plan, the costs of its stages, which do not depend on training; see the argument ``stage_costs``
            of :class:`gatesearch.search.sampler.gate_sampler.GateSampler`.
        allowed: whether the device can run each plan, [plans].
        about: recipe, machine and versions of the recording.
    """

    name: str
    space: Space
    shares: Mapping[str, float]
    plans: tuple[GatePlan, ...]
    training: npt.NDArray[np.intp]
    at: tuple[int, ...]
    seconds: Array
    errors: Array
    costs: Array
    passed: Sequence[Sequence[Passed]]
    runs: Sequence[Sequence[Sequence[float]]]
    allowed: npt.NDArray[np.bool_]
    about: Mapping[str, Any]

    @cached_property
    def index(self) -> Mapping[GatePlan, int]:
        """The index of each plan."""
        return {plan: i for i, plan in enumerate(self.plans)}

    @property
    def epochs(self) -> int:
        """The epochs of a whole training."""
        return self.at[-1]

    def level(self, epoch: int) -> int:
        """Return the index of the reading that follows an epoch."""
        return self.at.index(epoch)

    @cached_property
    def limit(self) -> float:
        """The largest error that keeps the constraint: the error of the plan without gates plus :data:`DROP`."""
        ungated = next(i for i, plan in enumerate(self.plans) if not plan.gates)
        return float(self.errors[ungated, -1]) + DROP

    def point(self, i: int, epoch: int | None = None) -> tuple[float, float, float]:
        """Return error and costs of a plan after an epoch; None: after a whole training."""
        k = -1 if epoch is None else self.level(epoch)
        return (float(self.errors[i, k]), *map(float, self.costs[i, k]))  # type: ignore[return-value]

    @cached_property
    def front(self) -> tuple[int, ...]:
        """The feasible plans that no other feasible plan dominates.

        A plan is feasible if the device can run it and it keeps the constraint.
        """
        feasible = np.flatnonzero(self.allowed & (self.errors[:, -1] <= self.limit))
        points = np.column_stack([self.errors[feasible, -1], self.costs[feasible, -1]])
        best: list[int] = []
        for i in np.lexsort(points.T[::-1]):  # in this order, a point comes before all points that it dominates
            if not best or not (points[best] <= points[i]).all(1).any():
                best.append(int(i))
        return tuple(int(feasible[i]) for i in sorted(best))

    @cached_property
    def corner(self) -> tuple[float, ...]:
        """The reference point of the hypervolume, a tenth of the true front's range beyond the front's worst values."""
        points = np.array([self.point(i) for i in self.front])
        worst, best = points.max(0), points.min(0)
        return tuple((worst + MARGIN * np.maximum(worst - best, 1e-9)).tolist())

    def volume(self, plans: Sequence[int]) -> float:
        """Return the hypervolume of the plans that keep the constraint, as a share of the true front's hypervolume."""
        return self._volume(plans) / self._whole

    @cached_property
    def _whole(self) -> float:
        return self._volume(self.front)

    def _volume(self, plans: Sequence[int]) -> float:
        scale, low = np.array(self.corner), np.array([self.point(i) for i in self.front]).min(0)
        points = [(np.array(self.point(i)) - low) / (scale - low) for i in plans if self.errors[i, -1] <= self.limit]
        scaled = [tuple(point.tolist()) for point in points]
        return pareto.hypervolume([scaled[i] for i in pareto.front(scaled)], (1.0, 1.0, 1.0))


def write(path: Path, space: Space, shares: Mapping[str, float], rows: Sequence[Any], about: Mapping[str, Any]) -> None:
    """Write a table to a gzipped JSON file.

    Args:
        path: path of the file.
        space: space of the plans.
        shares: share of each kind of window in the stream.
        rows: rows of a recording, with the costs of each choice of cores.
        about: recipe, machine and versions of the recording.
    """
    tree = {
        "about": dict(about),
        "shares": dict(shares),
        "space": {
            "sites": [asdict(site) for site in space.cut_sites],
            "kinds": _kinds(space.cut_slots),
            "cores": space.cores,
            "gates": [space.min_gates, space.max_gates],
            "layers": {
                "sites": [asdict(site) for site in space.layer_sites],
                "kinds": _kinds(space.layer_slots),
            },
        },
        "rows": list(rows),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(tree, separators=(",", ":"))
    path.write_bytes(gzip.compress(text.encode(), mtime=0))


def read(path: Path, name: str) -> Table:
    """Read a table from the file that :func:`write` wrote."""
    tree = json.loads(gzip.decompress(path.read_bytes()))
    space = _space(tree["space"])
    after = tree["about"]["after"]
    row_of = {tuple(json.dumps(g, sort_keys=True) for g in row["gates"]): i for i, row in enumerate(tree["rows"])}
    plans = tuple(space.plans())
    training, errors, costs, passed, runs, allowed = [], [], [], [], [], []
    for plan in plans:
        key = tuple(json.dumps(gate.to_dict(), sort_keys=True) for gate in gates_to_train(plan, after))
        training.append(row_of[key])
        row = tree["rows"][row_of[key]]
        values = [[gate[name] for name in after.get(gate.kind, ())] for gate in cut_gates(plan)]
        readings = [next(r for r in epoch if r.get("after", values) == values) for epoch in row["epochs"]]
        priced = row["cores"][",".join(plan.cores)]
        runs.append(_finite(priced["runs"]))
        allowed.append(not priced["broken"])
        errors.append([1 - reading["quality"] for reading in readings])
        passed.append([reading["passed"] for reading in readings])
        observed = [_finite(epoch) for epoch in priced.get("observed") or [priced["runs"]] * len(readings)]
        costs.append(
            [expected(r, reading["passed"], tree["shares"]) for r, reading in zip(observed, readings, strict=True)]
        )
    return Table(
        name=name,
        space=space,
        shares=tree["shares"],
        plans=plans,
        training=np.array(training),
        at=tuple(tree["about"].get("at", range(1, len(errors[0]) + 1))),
        seconds=np.array([row["seconds"] for row in tree["rows"]]),
        errors=np.array(errors),
        costs=np.array(costs),
        passed=passed,
        runs=runs,
        allowed=np.array(allowed),
        about=tree["about"],
    )


def _finite(runs: Sequence[Sequence[float | None]]) -> list[list[float]]:
    return [[math.inf if value is None else value for value in pair] for pair in runs]


def expected(runs: Sequence[Sequence[float]], passed: Passed, shares: Mapping[str, float]) -> list[float]:
    """Return the two expected costs of a plan.

    Args:
        runs: the costs of the plan's stages; see :class:`Table`.
        passed: the share of each kind of window that reaches each stage.
        shares: the share of each kind of window in the stream.
    """
    reach = [sum(share * passed[kind][k] for kind, share in shares.items()) for k in range(len(runs) - 1)]
    return [runs[0][c] + sum(r * run[c] for r, run in zip(reach, runs[1:], strict=True)) for c in (0, 1)]


def _space(tree: Mapping[str, Any]) -> Space:
    def tuples(site: Mapping[str, Any]) -> dict[str, Any]:
        return {name: tuple(value) if isinstance(value, list) else value for name, value in site.items()}

    layers = tree["layers"]
    min_gates, max_gates = tree["gates"]
    return build_space(
        [CutSite(**tuples(site)) for site in tree["sites"]],
        tuple(tree["cores"]),
        {**tree["kinds"], **layers["kinds"]},
        layer_sites=[LayerSite(**tuples(site)) for site in layers["sites"]],
        cut_names=[site["name"] for site in tree["sites"]],
        min_gates=min_gates,
        max_gates=max_gates,
    )


def _kinds(slots: Sequence[Slot]) -> dict[str, dict[str, tuple[Scalar, ...]]]:
    """Return the gate kinds that can fill some slots, each with the values of its parameters."""
    gates: dict[str, list[PlacedGate]] = {}
    for slot in slots:
        for gate in slot.gates:
            gates.setdefault(gate.kind, []).append(gate)
    return {kind: merge_values(same_kind) for kind, same_kind in gates.items()}
