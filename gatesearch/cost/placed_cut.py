"""A gate at a cut together with its site and its work, and the bits that cross the cuts of a plan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gatesearch.cost.blocks import exit_of, variant_of
from gatesearch.cost.energy import link_bits
from gatesearch.gates import CutWork, work_of
from gatesearch.graph.sites import CutSite
from gatesearch.plan import PlacedGate

CROSSING_BITS = 8  # bits of each value that crosses a cut from an int8 stage


class PlacedCut(NamedTuple):
    """A gate at a cut, its site and the work that the gate causes.

    Args:
        placed: the gate with its parameters.
        site: the cut site at which it stands.
        work: the work of the gate, and the share of the tensor that it lets through.
        cost_key: a string that identifies the gate's effect on the cost of the stages on both sides and of its exit.
            Gates that differ only in a threshold, such as their recall target, have the same key.
        head: name of the gate's head in the latency table.
    """

    placed: PlacedGate
    site: CutSite
    work: CutWork
    cost_key: str
    head: str

    @classmethod
    def place(cls, placed: PlacedGate, site: CutSite) -> PlacedCut:
        """Return a gate at a site, with its work."""
        work = work_of(site, placed)
        head = f"{variant_of(placed)}@{site.name}"
        program = exit_of(placed, site.name) if work.exit_macs else head
        return cls(placed=placed, site=site, work=work, cost_key=f"{program} {work!r}", head=head)

    @property
    def channel_share(self) -> float:
        """Share of the site's channels that remains behind the gate."""
        return self.work.kept_channels / self.site.channels


def crossing_bits(cuts: Sequence[PlacedCut], densities: Sequence[float] | None) -> list[float]:
    """Return the bits that cross each cut if each value has 8 bits.

    Args:
        cuts: the cuts of a plan.
        densities: by cut, the measured share of the site's values that are not zero. If None, the shares follow from
            the parameters of the gates.
    """
    if densities is None:
        nonzeros = [cut.work.density * cut.work.elements for cut in cuts]
    else:
        nonzeros = [density * cut.site.elements for density, cut in zip(densities, cuts, strict=True)]
    return [
        link_bits(cut.work.elements, count, cut.work.elements, CROSSING_BITS)
        for cut, count in zip(cuts, nonzeros, strict=True)
    ]
