"""The rows of the ``hmd`` benchmark; each row is a task, a compression method and a compression factor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

from gatesearch.graph.sites import LayerSite
from gatesearch.plan import GatePlan, PlacedGate, Scalar

FACTORS = (2, 3, 4)
CORES = ("any",)
TASKS: Mapping[str, str] = {
    "kws_lstm": "Keywords, LSTM",
    "kws_gru": "Keywords, GRU",
    "har_bilstm": "Activities, bidirectional LSTM",
    "lm": "Characters, LSTM language model",
}
METHODS: Mapping[str, str] = {
    "dense": "dense",
    "smaller": "fewer units, dense",
    "lmf": "low rank (LMF)",
    "pruned": "magnitude pruning",
    "hmd": "hybrid matrices (HMD)",
}
RECURRENT = ("lstm", "gru")


@dataclass(frozen=True, slots=True)
class Spec:
    """A row of the tables: one network, trained once for each seed.

    Args:
        task: key of :data:`TASKS`.
        method: key of :data:`METHODS`.
        factor: how many times fewer parameters the recurrent matrices have than in the dense row; 1 for the dense row.
    """

    task: str
    method: str
    factor: int = 1

    @property
    def name(self) -> str:
        """Name of the row's folder."""
        return f"{self.task}-{self.method}" + (f"-{self.factor}" if self.factor > 1 else "")

    @property
    def is_layer_kind(self) -> bool:
        """Whether the method replaces dense layers by compressed layers."""
        return self.method not in ("dense", "smaller")

    def plan(self, sites: tuple[LayerSite, ...], fitted: bool) -> GatePlan:
        """Return the plan that applies the method to every recurrent layer; all other layers stay dense.

        Args:
            sites: the layer sites of the network.
            fitted: whether compressed layers start from a fit to the dense weights; False: from random weights.
        """
        if not self.is_layer_kind:
            return GatePlan((), CORES)
        params: dict[str, Scalar] = {"factor": self.factor}
        if self.method != "pruned":  # a pruned layer has no such parameter: it always starts with the dense weights
            params["init"] = "fitted" if fitted else "random"
        gates = [PlacedGate.of(self.method, site.name, **params) for site in sites if site.op in RECURRENT]
        return GatePlan(tuple(gates), CORES)


# The dense row of a task comes first, because other rows may start from its weights.
SPECS: Mapping[str, Spec] = {
    spec.name: spec
    for task in TASKS
    for spec in (
        Spec(task, "dense"),
        *(Spec(task, method, factor) for method, factor in product(list(METHODS)[1:], FACTORS)),
    )
}
