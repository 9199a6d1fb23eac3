"""What a gate kind is: eight questions that it answers in its own file.

Everything else in gatesearch treats all kinds alike, so that a new technique is one file (and, where it needs one, a
kernel). Kinds are found through the entry-point group ``gatesearch.gates``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import NamedTuple, Protocol, runtime_checkable

from torch import Tensor, nn

from gatesearch.errors import unknown
from gatesearch.plan import PlacedGate, Scalar
from gatesearch.sites import CutSite

GROUP = "gatesearch.gates"


class GateOutput(NamedTuple):
    """What a cut gate makes of the activations at its site.

    ``passed`` [N, *site.shape] is what goes on, suppressed channels or values being zero. ``logit`` [N] grows with the
    belief that the sample holds a signal of interest; the sample stops where ``logit <= theta``.
    """

    passed: Tensor
    logit: Tensor


@dataclass(frozen=True, slots=True)
class Work:
    """What a placed gate costs and what it leaves to do, before anything is trained.

    Args:
        macs: of the gate's own head, per sample that reaches it.
        params: of the gate's own head.
        kept_channels: channels of the site that exist on both sides of the cut.
        elements: values of one sample that can cross, after channels were cut away.
        density: share of those elements that is expected to be non-zero on what passes; 1.0 where all are sent.
    """

    macs: int
    params: int
    kept_channels: int
    elements: int
    density: float


class Lowered(NamedTuple):
    """A gate made ready for export.

    ``channels`` are the indices of the kept channels (None: all), which export cuts out of the stages on both sides;
    ``head`` maps the kept activations [N, kept, ...] to (passed [N, kept, ...], logit [N, 1]).
    """

    channels: Sequence[int] | None
    head: nn.Module


@runtime_checkable
class CutGate(Protocol):
    """A gate at a cut site, as a module. Conformance: :func:`gatesearch.testing.check_cut_gate`."""

    theta: Tensor

    def __call__(self, hidden: Tensor) -> GateOutput:
        """Gate activations [N, *site.shape]."""

    def loss(
        self, output: GateOutput, positive: Tensor, alpha: float, beta: float, weight: Tensor | None = None
    ) -> Tensor:
        """Return what the gate adds to the training loss, a scalar.

        ``positive`` [N] is boolean; ``weight`` [N] says how often such a sample arrives at this gate in use.
        """

    def steering(self) -> Iterator[nn.Parameter]:
        """Yield the parameters that need their own, higher learning rate and no weight decay."""

    def initialise(self, saliency: Tensor) -> None:
        """Start from the importance of each channel [C], measured on the trained backbone."""

    def calibrate(self, logit: Tensor, positive: Tensor) -> None:
        """Set ``theta`` from held-out logits [N] and their labels [N]."""

    def report(self, output: GateOutput, hidden: Tensor) -> Mapping[str, float]:
        """Return activation sparsity of what passes, beside the ungated activations [N, *site.shape]."""

    def lower(self) -> Lowered:
        """Return what export needs."""


@runtime_checkable
class GateKind(Protocol):
    """A technique: where it may go, what of it is searched, how it wraps and what work it leaves."""

    name: str

    def may_go(self, site: CutSite) -> bool:
        """Say whether a gate of this kind can stand at the site."""

    def space(self, site: CutSite) -> Mapping[str, Sequence[Scalar]]:
        """Return each parameter with its default choices; a single choice where the site leaves none."""

    def wrap(self, site: CutSite, placed: PlacedGate) -> CutGate:
        """Build the module.

        Raises:
            UserError: a parameter is unknown or out of range.
        """

    def work(self, site: CutSite, placed: PlacedGate) -> Work:
        """Return what the gate costs and what work is left around it."""


@cache
def kinds() -> Mapping[str, GateKind]:
    """Return every installed gate kind by name."""
    return {point.name: point.load()() for point in sorted(entry_points(group=GROUP), key=lambda p: p.name)}


def kind_of(name: str, where: str = "plan") -> GateKind:
    """Return the gate kind of that name.

    Raises:
        UserError: there is none; the message names the nearest.
    """
    if name not in kinds():
        raise unknown(where, "gate kind", name, kinds())
    return kinds()[name]
