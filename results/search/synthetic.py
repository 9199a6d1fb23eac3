"""Builds a synthetic table for the development of samplers, in which a formula gives the quality of each plan.

The table has the space, the device and the costs of a recorded table. In the formula, a gate that reduces its tensor
more raises the error more, above all near the input of the network. Deeper gates stop more negatives. Errors fall from
epoch to epoch, and faster for some plans. Every seed has its own coefficients and noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from gatesearch.gates import cut_gates
from gatesearch.plan import GatePlan
from gatesearch.search.sampler.encoding import PlanEncoder
from results.search.table import Table

NOISE = 0.006
FIRST_EPOCH_EXCESS = 0.4  # mean relative excess of the error after the first epoch over the error at the end


def synthetic(real: Table, seed: int, at: Sequence[int] = ()) -> Table:
    """Return a table of the same plans and costs with synthetic qualities and pass rates.

    Args:
        real: a recorded table, for its space, prices and seconds; its qualities are not used.
        seed: the seed of the coefficients.
        at: epochs after which the table has the outcome of a training; empty: the same epochs as in ``real``.
    """
    at = tuple(at) or real.at
    generator = np.random.default_rng(seed)
    encoder = PlanEncoder(real.space)
    base, early, bend = generator.uniform(0.1, 0.3), generator.uniform(0.02, 0.2), generator.uniform(0.7, 2.0)
    site_factors = {site.name: generator.uniform(0.4, 1.6) for site in real.space.cut_sites}
    mode_factors = {"channel": 1.0, "activation": generator.uniform(0.4, 1.2)}
    stop_rates = {kind: generator.uniform(0.1, 0.6) for kind in real.shares if kind != "positive"}
    deeper = {kind: generator.uniform(0.2, 0.6) for kind in stop_rates}
    noise: dict[tuple[object, ...], float] = {}
    curves: dict[tuple[object, ...], npt.NDArray[np.float64]] = {}
    epoch_generator = np.random.default_rng((seed, 1))
    errors, passed = np.zeros((len(real.plans), len(at))), []
    for i, plan in enumerate(real.plans):
        loss, rows = 0.0, {kind: [1.0] for kind in real.shares}
        for gate in cut_gates(plan):
            depth, reduction = encoder.encode_cut_gate(gate)[:2]
            loss += (
                early * site_factors[gate.site] * mode_factors[gate["mode"]] * (1.2 - depth) * reduction**bend + 0.004
            )
            for kind, row in rows.items():
                if kind == "positive":
                    row.append(row[-1] * gate["recall"])
                else:
                    strictness = 1.0 if gate["recall"] < 0.993 else 0.8
                    stopped = (
                        strictness * min(0.98, stop_rates[kind] + deeper[kind] * depth) * np.exp(-0.15 * reduction)
                    )
                    row.append(row[-1] * (1 - stopped))
            loss += 0.8 * (1 - gate["recall"])
        key = _gates_to_train(plan)
        noise.setdefault(key, generator.normal(0, NOISE))
        whole = base + loss * (1 + 0.3 * len(plan.gates)) + noise[key]
        curves.setdefault(key, _lacking(epoch_generator, at))
        errors[i] = whole * (1 + curves[key])
        passed.append([rows] * len(at))
    costs = np.array([[_costs(real, i, rows[0])] * len(at) for i, rows in enumerate(passed)])
    seconds = real.seconds[:, -1:] * np.array(at) / at[-1]
    name = f"synthetic-{seed}"
    return replace(real, name=name, at=at, seconds=seconds, errors=errors, costs=costs, passed=passed)


def _gates_to_train(plan: GatePlan) -> tuple[object, ...]:
    return tuple((gate.kind, gate.site, gate["keep"], gate["mode"]) for gate in plan.gates)


def _lacking(generator: np.random.Generator, at: Sequence[int]) -> npt.NDArray[np.float64]:
    """Return the relative excess of an error over its final value, after each epoch of ``at``; the last is 0."""
    remaining = (at[-1] - np.array(at)) / max(1, at[-1] - 1)
    lacking: npt.NDArray[np.float64] = FIRST_EPOCH_EXCESS * remaining**2 * generator.uniform(
        0.5, 1.5
    ) + generator.normal(0, 0.05, len(at))
    return lacking * (remaining > 0)


def _costs(real: Table, i: int, passed: dict[str, list[float]]) -> list[float]:
    runs = real.runs[i]
    reach = [sum(real.shares[kind] * row[k] for kind, row in passed.items()) for k in range(len(runs) - 1)]
    return [runs[0][c] + sum(r * run[c] for r, run in zip(reach, runs[1:], strict=True)) for c in (0, 1)]
