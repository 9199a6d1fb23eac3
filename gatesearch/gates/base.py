"""What a gate kind is: eight questions that it answers in its own file.

Everything else in gatesearch treats all kinds alike, so that a new technique is one file (and, where it needs one, a
kernel). Kinds are found through the entry-point group ``gatesearch.gates``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import NamedTuple, Protocol, runtime_checkable

from torch import Tensor, nn

from gatesearch.errors import UserError, unknown
from gatesearch.graph.sites import CutSite, LayerSite, Site
from gatesearch.plan import GatePlan, PlacedGate, Scalar

GROUP = "gatesearch.gates"


class GateOutput(NamedTuple):
    """What a cut gate makes of the activations at its site.

    ``passed`` [N, *site.shape] is what goes on, suppressed channels or values being zero. ``logit`` [N] grows with the
    belief that the rest of the network is needed; the sample leaves where ``logit <= theta``. ``exit`` is the model's
    output for the samples if they left here, [N, *output]; None from a gate whose leaving samples get a constant
    answer, and wherever nobody asked for it.
    """

    passed: Tensor
    logit: Tensor
    exit: Tensor | None = None


@dataclass(frozen=True, slots=True)
class GateContext:
    """What a cut gate is told of a training batch beside its own activations.

    Args:
        positive: whether each sample holds a signal of interest, [N]; all true where nothing is labelled.
        alpha: weight of the gate's decision in the loss.
        beta: weight of its compression.
        distillation: pull of what an exit gives towards what the whole network gives.
        weight: how often such a sample arrives at this gate in use, [N]; None: all alike.
        final: what the network gives for samples that leave nowhere, [N, *output].
        errors: the error of each sample, [N], if the network had given that.
    """

    positive: Tensor
    alpha: float
    beta: float
    distillation: float
    weight: Tensor | None
    final: Tensor
    errors: Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Work:
    """What a placed gate costs and what it leaves to do, before anything is trained.

    Args:
        macs: of the gate's own head, per sample that reaches it.
        params: of the gate's own head.
        kept_channels: channels of the site that exist on both sides of the cut.
        elements: values of one sample that can cross, after channels were cut away.
        density: share of those elements that is expected to be non-zero on what passes; 1.0 where all are sent.
        exit_macs: of the gate's exit, per sample that leaves through it.
        exit_params: of the gate's exit.
        leaving: share of all samples that is meant to leave through the exit.
    """

    macs: int
    params: int
    kept_channels: int
    elements: int
    density: float
    exit_macs: int = 0
    exit_params: int = 0
    leaving: float = 0.0


class Call(NamedTuple):
    """A part of a layer's dense work, as one kernel call.

    Multiplications are between so many magnitude ``bits`` of an activation and of a weight. ``left`` names what can be
    skipped, each with the share that is left of it: ``"channel"``, ``"channel-block-16"``, ``"element"``, ``"pixel"``,
    ``"pixel-group-16"`` or ``"weight"``. A core that cannot skip the one may well skip the other. ``size`` is the share
    of the layer's multiplications that is there at all: a smaller matrix is smaller on every core.

    >>> Call((4, 8), (("channel", 0.5), ("element", 0.25))).share
    0.125
    """

    bits: tuple[int, int]
    left: tuple[tuple[str, float], ...] = ()
    size: float = 1.0

    @property
    def share(self) -> float:
        """What is left of the layer's multiply-accumulates where all is skipped that can be."""
        return math.prod((share for _, share in self.left), start=self.size)


BLOCK = 16  # channels that kernels compute together


class KernelCall(NamedTuple):
    """One run of a gated layer by a kernel of :mod:`gatesearch.kernels`, as a table of costs knows it.

    Args:
        kernel: its name.
        shape: of the layer: a convolution's ``LayerSite.geometry``, a recurrent layer's steps, inputs and units.
        variant: what else makes another program of it, by name, sorted.
        left: shares of the work that are there, by name: continuous, and known only where data has been seen.
    """

    kernel: str
    shape: tuple[int, ...]
    variant: tuple[tuple[str, int | str], ...] = ()
    left: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class LayerWork:
    """What a gated layer costs.

    Args:
        calls: what is left of the layer's own work.
        macs: of the gate's own parts, such as a predictor, per sample.
        params: of the gate's own parts.
        density: share of the output channels that the next layer has to read.
        stored: share of the layer's own parameters that is kept in memory.
        kernels: the runs of kernels that do all of this; none where there is no kernel, and a reference computes it.
    """

    calls: tuple[Call, ...]
    macs: float
    params: int
    density: float
    stored: float = 1.0
    kernels: tuple[KernelCall, ...] = ()


class Lowered(NamedTuple):
    """A gate made ready for export.

    ``channels`` are the indices of the kept channels (None: all), which export cuts out of the stages on both sides;
    ``head`` maps the kept activations [N, kept, ...] to (passed [N, kept, ...], logit [N, 1]). ``exit`` maps what
    passes [N, kept, ...] to the model's output; None where the gate has no exit.
    """

    channels: Sequence[int] | None
    head: nn.Module
    exit: nn.Module | None = None


@runtime_checkable
class CutGate(Protocol):
    """A gate at a cut site, as a module. Conformance: :func:`gatesearch.testing.conformance.check_cut_gate`.

    ``exit`` maps what passes [N, *site.shape] to the model's output [N, *site.output], for samples that leave; None
    where they get a constant answer. The gate itself never calls it, so that in use only those run it that leave.
    """

    theta: Tensor
    exit: nn.Module | None

    def __call__(self, hidden: Tensor) -> GateOutput:
        """Gate activations [N, *site.shape]."""

    def loss(self, output: GateOutput, context: GateContext) -> Tensor:
        """Return what the gate adds to the training loss, a scalar; ``output.exit`` is there if it has an exit."""

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
class LayerGate(Protocol):
    """A gate in the place of a layer, as a module.

    Conformance: :func:`gatesearch.testing.conformance.check_layer_gate`.
    """

    traced_whole: bool  # True: torch.fx keeps it as one node
    absorbs_norm: bool  # whether it takes the place of the batch normalisation behind the layer as well

    def __call__(self, x: Tensor) -> Tensor:
        """Map [N, *site.shape_in] to [N, *site.shape]; in evaluation sample by sample, whatever the batch."""

    def loss(self) -> Tensor:
        """Return what the last forward in training adds to the loss, a scalar."""

    def steering(self) -> Iterator[nn.Parameter]:
        """Yield the parameters that need their own, higher learning rate and no weight decay."""

    def anneal(self, progress: float) -> None:
        """Take note of how far a training has come, from 0 to 1."""

    def reset(self) -> None:
        """Forget what was observed."""

    def report(self) -> Mapping[str, float]:
        """Return what was observed over all forwards in evaluation since :meth:`reset`."""


class Kind(Protocol):
    """What cut kinds and layer kinds have in common."""

    name: str

    def may_go(self, site: Site) -> bool:
        """Say whether a gate of this kind can stand at the site."""

    def space(self, site: Site) -> Mapping[str, Sequence[Scalar]]:
        """Return each parameter with its default choices; a single choice where the site leaves none.

        Numbers go from strong to gentle: a search starts with the last.
        """


@runtime_checkable
class CutKind(Kind, Protocol):
    """A technique for cut sites: where it may go, what of it is searched, how it wraps and what work it leaves.

    ``read_apart`` names the numeric parameters of which each value is another program, so that its time has to be read
    apart; textual parameters always are.
    """

    read_apart: Sequence[str]

    def wrap(self, site: CutSite, placed: PlacedGate) -> CutGate:
        """Build the module.

        Raises:
            UserError: a parameter is unknown or out of range.
        """

    def work(self, site: CutSite, placed: PlacedGate) -> Work:
        """Return what the gate costs and what work is left around it."""


@runtime_checkable
class LayerKind(Kind, Protocol):
    """A technique for layer sites."""

    def replace(
        self, site: LayerSite, placed: PlacedGate, layer: nn.Module, norm: nn.BatchNorm2d | None = None
    ) -> LayerGate:
        """Build the module that takes a trained layer's place.

        Args:
            site: where.
            placed: with its parameters.
            layer: the trained layer.
            norm: the batch normalisation that alone reads it, or None.

        Raises:
            UserError: a parameter is unknown or out of range.
        """

    def work_left(self, site: LayerSite, placed: PlacedGate, observed: Mapping[str, float] | None = None) -> LayerWork:
        """Return what is left of the layer's work.

        ``observed`` is the module's report; before there is one, the least work that the parameters allow.
        """


@runtime_checkable
class ElasticKind(CutKind, Protocol):
    """A technique for cut sites of which one module serves many parameters, so that a supernet trains them at once.

    ``calibrated`` names those parameters that only :meth:`CutGate.calibrate` reads. Conformance:
    :func:`gatesearch.testing.conformance.check_cut_gate`.
    """

    calibrated: Sequence[str]

    def elastic(self, placed: PlacedGate) -> Sequence[str]:
        """Name the parameters that the module of a gate can take on otherwise, ``calibrated`` ones among them."""

    def turn(self, gate: CutGate, placed: PlacedGate) -> None:
        """Let a module take on the parameters of another gate at its site, which differs in elastic ones alone."""


GateKind = CutKind | LayerKind


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


def cut_kind(name: str, where: str = "plan") -> CutKind:
    """Return the kind of that name for cut sites.

    Raises:
        UserError: there is none.
    """
    kind = kind_of(name, where)
    if not isinstance(kind, CutKind):
        raise UserError(f"{where}: {name!r} is a gate for layer sites, not for cut sites")
    return kind


def layer_kind(name: str, where: str = "plan") -> LayerKind:
    """Return the kind of that name for layer sites.

    Raises:
        UserError: there is none.
    """
    kind = kind_of(name, where)
    if not isinstance(kind, LayerKind):
        raise UserError(f"{where}: {name!r} is a gate for cut sites, not for layer sites")
    return kind


def at_cuts(plan: GatePlan) -> tuple[PlacedGate, ...]:
    """Return the gates of a plan that stand at cut sites: those that end a stage."""
    return tuple(gate for gate in plan.gates if _goes_at_cuts(gate.kind))


def at_layers(plan: GatePlan) -> tuple[PlacedGate, ...]:
    """Return the gates of a plan that stand in the place of layers."""
    return tuple(gate for gate in plan.gates if not _goes_at_cuts(gate.kind))


@cache
def _goes_at_cuts(kind: str) -> bool:
    return isinstance(kind_of(kind), CutKind)
