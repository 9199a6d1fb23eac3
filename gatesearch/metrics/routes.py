"""Computes which share of the samples reaches each stage of a cascade."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from torch import Tensor


def share(flags: Tensor) -> float:
    """Return the share of true flags [N] in double precision; 0 if there are no flags.

    >>> import torch
    >>> share(torch.tensor([True, False, False])), share(torch.tensor([], dtype=torch.bool))
    (0.3333333333333333, 0.0)
    """
    return float(flags.double().mean()) if len(flags) else 0.0


def reach_by_kind(exits: Tensor, kinds: Tensor, kind_names: Sequence[str], gates: int) -> dict[str, tuple[float, ...]]:
    """Return, for each kind, the shares of its samples that reach stages 0 to ``gates``.

    Args:
        exits: index of the gate that stopped each sample, or ``gates`` if none did, [N].
        kinds: index into ``kind_names`` of every sample, [N].
        kind_names: names of the kinds of samples: the positives together, then each negative class.
        gates: number of gates.

    >>> import torch
    >>> reach_by_kind(torch.tensor([0, 2, 1, 1]), torch.tensor([0, 0, 1, 1]), ["positive", "noise"], gates=2)
    {'positive': (1.0, 0.5, 0.5), 'noise': (1.0, 1.0, 0.0)}
    """
    reach: dict[str, tuple[float, ...]] = {}
    for index, name in enumerate(kind_names):
        own = exits[kinds == index]
        reach[name] = tuple(share(own >= stage) for stage in range(gates + 1))
    return reach


def describe_stops(
    passed: Mapping[str, Sequence[float]], early_stop_rate: float, gate_recall: float, absent: Collection[str] = ()
) -> dict[str, Any]:
    """Return the shares of samples that gates stop and let pass, named as in summary.json.

    Args:
        passed: for each kind, the shares that reach stages 0, 1, 2 and so on; the first entry is 1.
        early_stop_rate: share of negatives that a gate stops.
        gate_recall: share of positives that pass every gate.
        absent: kinds without a sample; their shares are None.

    >>> describe_stops({"positive": (1.0, 0.9), "noise": (1.0, 0.25)}, 0.75, 0.9)["early_stop_by_kind"]
    {'noise': 0.75}
    >>> describe_stops({"positive": (1.0, 0.9), "noise": (1.0, 0.25)}, 0.75, 0.9, {"noise"})["early_stop_by_kind"]
    {'noise': None}
    """
    negatives = {kind: row for kind, row in passed.items() if kind != "positive"}

    def stopped(kind: str, share: float) -> float | None:
        return None if kind in absent else 1 - share

    return {
        "early_stop_rate": early_stop_rate,
        "early_stop_by_kind": {kind: stopped(kind, row[-1]) for kind, row in negatives.items()},
        "first_gate_stop_by_kind": {kind: stopped(kind, row[1]) for kind, row in negatives.items() if len(row) > 1},
        "gate_recall": gate_recall,
    }
