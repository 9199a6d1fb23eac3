"""The rows of the ``dsg`` benchmark: the gates of each layer, the paper's figures, and the tables.

The figures are from Huang et al. 2020, "Pushing the Envelope of Dynamic Spatial Gating technologies", Tables 1 and 2
and Figure 2. PG is precision gating: it computes every output from the high bits, and some outputs from the low bits,
too. FBS is feature boosting and suppression: it computes only a share of the channels, the density. "PG 8/4" has 8
bits, of which 4 are high bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gatesearch.gates.pg.arithmetic import MASKS
from gatesearch.graph.sites import LayerSite
from gatesearch.plan import GatePlan, PlacedGate, Scalar

CORES = ("any",)


@dataclass(frozen=True, slots=True)
class Published:
    """The figures that the paper prints for a row; None for a figure that it does not print.

    Args:
        accuracy: share of right answers.
        sparsity: share of outputs without low bits.
        average_bits: B_avg, the mean bits of an output.
        saving: the work without gates, divided by the remaining work.
    """

    accuracy: float | None = None
    sparsity: float | None = None
    average_bits: float | None = None
    saving: float | None = None


@dataclass(frozen=True, slots=True)
class Spec:
    """A row of the tables: one configuration of gates, trained once for each seed.

    Args:
        name: name of the row's folder.
        title: title of the row in the tables.
        pg: parameters of precision gating; None for a row without precision gating.
        density: density of FBS; None for a row without FBS.
        goal: the B_avg that the training reaches by shifts of the thresholds, on validation images; None: no shifts.
        published: the paper's figures.
    """

    name: str
    title: str
    pg: Mapping[str, Scalar] | None = None
    density: float | None = None
    goal: float | None = None
    published: Published = field(default_factory=Published)

    @property
    def bits(self) -> int:
        """B, the bits of an output; 8 for rows without quantisation, because the paper compares with 8 bits."""
        return 8 if self.pg is None else int(str(self.pg["bits"]))

    @property
    def high_bits(self) -> int:
        """B_hb, the number of high bits; equal to B if every output has all bits."""
        return self.bits if self.pg is None else int(str(self.pg["high_bits"]))

    def plan(self, sites: Sequence[LayerSite]) -> GatePlan:
        """Return the plan of the row for the sites of a network.

        As in the published code of each technique, FBS gates every convolution, and PG every convolution but the first.
        The first convolution, whose input is the image, is not quantised. The classifier is never gated.
        """
        first, *others = (site for site in sites if site.op == "conv2d")
        channels = {} if self.density is None else {"density": self.density}
        gates = [PlacedGate.of("fbs", first.name, **channels)] if channels else []
        if channels or self.pg is not None:
            kind = "fbs" if self.pg is None else "fbs_pg" if channels else "pg"
            gates += [PlacedGate.of(kind, site.name, **channels, **(self.pg or {})) for site in others]
        return GatePlan(tuple(gates), CORES)


def _pg(bits: int, high_bits: int, mask: str = "3d") -> dict[str, Scalar]:
    return {"bits": bits, "high_bits": high_bits, "mask": mask, "target": 0.0}


# The paper's Table 1 prints the sparsity for pairs of bits (B, B_hb) and densities. Its Table 2 prints accuracy,
# sparsity and B_avg for each mask.
TABLE_1 = {
    (8, 4): {1.0: 0.7189, 0.9: 0.7148, 0.8: 0.7146, 0.7: 0.7046},
    (4, 2): {1.0: 0.6529, 0.9: 0.6492, 0.8: 0.6414, 0.7: 0.6495},
}
TABLE_2 = {
    "3d": Published(0.9157, 0.6283, 4.23),
    "m1": Published(0.9155, 0.1223, 7.2662),
    "m2-8": Published(0.9183, 0.4571, 5.2574),
    "m2-16": Published(0.9146, 0.3868, 5.6792),
    "m2-32": Published(0.9166, 0.2508, 6.4952),
}
EQUAL_BITS = 4.23  # goal for the B_avg of all masks: the B_avg of the mask 3d in the paper
HEADLINE = 1.92  # the saving that the paper reports for both techniques together
SAVINGS = (1.7, 1.8)  # savings below the headline, as further goals (points of the curve) for PG alone

BASELINES = (
    Spec("unquantised", "no gates, not quantised"),
    Spec("uniform-8", "8 bits everywhere, no gates", _pg(8, 8)),
)
HYBRIDS = tuple(
    Spec(
        f"hybrid-{bits}-{high}-d{density}",
        f"FBS at density {density} x PG {bits}/{high}",
        _pg(bits, high),
        density,
        published=Published(sparsity=sparsity),
    )
    for (bits, high), row in TABLE_1.items()
    for density, sparsity in row.items()
)
MASKED = tuple(Spec(f"mask-{name}", f"PG 8/2, mask {name}", _pg(8, 2, name), published=TABLE_2[name]) for name in MASKS)
EQUAL = tuple(
    Spec(f"equal-{name}", f"PG 8/2, mask {name}, moved to B_avg {EQUAL_BITS}", _pg(8, 2, name), goal=EQUAL_BITS)
    for name in MASKS
)
FBS_ALONE = tuple(Spec(f"fbs-d{d}", f"FBS at density {d}", density=d) for d in (0.9, 0.8, 0.7, 0.6, 0.5))
PG_ALONE = (
    Spec("pg-8-4", "PG 8/4", _pg(8, 4)),
    *(Spec(f"pg-8-4-x{s}", f"PG 8/4, moved to {s}x", _pg(8, 4), goal=8 / s) for s in SAVINGS),
)
PAIR = (
    Spec(
        "pg-8-4-x1.92",
        "PG 8/4, moved to 1.92x",
        _pg(8, 4),
        goal=8 / HEADLINE,
        published=Published(accuracy=0.899, saving=HEADLINE),
    ),
    Spec(
        "hybrid-8-4-x1.92",
        "FBS at density 0.9 x PG 8/4, moved to 1.92x",
        _pg(8, 4),
        0.9,
        goal=8 / (HEADLINE * 0.9**2),
        published=Published(accuracy=0.9135, saving=HEADLINE),
    ),
)
SPECS: Mapping[str, Spec] = {
    spec.name: spec for spec in (*BASELINES, *HYBRIDS, *MASKED, *EQUAL, *PAIR, *FBS_ALONE, *PG_ALONE)
}
CURVES: Mapping[str, Sequence[Spec]] = {
    "FBS": FBS_ALONE,
    "PG 8/4": (*PG_ALONE, PAIR[0]),
    "FBS x PG 8/4": (*(spec for spec in HYBRIDS if spec.bits == 8), PAIR[1]),
}
TABLES: Mapping[str, Sequence[Spec]] = {
    "baselines": BASELINES,
    "table1": HYBRIDS,
    "table2": MASKED,
    "equal": EQUAL,
    "headline": PAIR,
    "figure2": tuple(spec for curve in CURVES.values() for spec in curve),
}
