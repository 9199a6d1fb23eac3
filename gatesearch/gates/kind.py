"""The base class of a gate kind, and the functions that look up and use the installed kinds.

A gate kind is one technique. Its class states its name, its parameters, the sites where it fits, the module that it
builds and the computation that remains with its gates. The rest of gatesearch treats all kinds alike. Kinds are entry
points of the group ``gatesearch.gates``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar, overload

from torch import nn

from gatesearch._lib.plugins import load_plugins
from gatesearch.errors import UserError, unknown
from gatesearch.gates.modules import CutGate, LayerGate
from gatesearch.gates.params import GateError, GateParams
from gatesearch.gates.work import CutWork, LayerWork, Work
from gatesearch.graph.sites import CutSite, LayerSite, Site
from gatesearch.plan import GatePlan, PlacedGate, Scalar

GROUP = "gatesearch.gates"
SITES = {CutSite: "cut sites", LayerSite: "layer sites"}

AnySite = TypeVar("AnySite", CutSite, LayerSite)
AnyParams = TypeVar("AnyParams", bound=GateParams)


class Figure(NamedTuple):
    """One figure that the gates of a kind report, for people and for tests.

    Args:
        name: the key of the report.
        unit: ``"share"`` for a figure between 0 and 1; otherwise the name of what the figure counts.
        meaning: title of the figure's column in the report; empty if the report does not show the figure.
        headline: whether ``summary.json`` lists the figure with the gate.
    """

    name: str
    unit: str
    meaning: str = ""
    headline: bool = False


class GateKind(ABC, Generic[AnySite, AnyParams]):
    """The base class of a gate kind: one technique.

    Attributes:
        name: the kind's name in a search space.
        site_type: :class:`CutSite` for a gate between stages, :class:`LayerSite` for a gate that replaces a layer.
        Params: the class of the kind's parameters.
        figures: the figures that gates of this kind report at layer sites.

    :class:`gatesearch.testing.gates.GateConformance` tests whether a kind does all that is required.
    """

    name: ClassVar[str]
    site_type: ClassVar[type[Any]]
    Params: ClassVar[type[GateParams]] = GateParams
    figures: ClassVar[Sequence[Figure]] = ()

    @abstractmethod
    def fits(self, site: AnySite) -> bool:
        """Say whether a gate of this kind can be placed at a site of type ``site_type``."""

    def choices(self, site: AnySite) -> dict[str, tuple[Scalar, ...]]:
        """Return the values that a search tries for each parameter at this site."""
        return self.Params.choices()

    def check(self, site: AnySite, params: AnyParams) -> None:
        """Check that a gate with these parameters can be placed at this site.

        Raises:
            GateError: the site does not allow these parameters.
        """

    @abstractmethod
    def build(
        self, site: AnySite, params: AnyParams, layer: nn.Module | None = None, norm: nn.BatchNorm2d | None = None
    ) -> CutGate | LayerGate:
        """Build the gate's module; the module shares no parameter with the layer.

        Args:
            site: the site of the gate.
            params: parameters that :meth:`check` accepts for this site.
            layer: the trained layer that the gate replaces; None at a cut site.
            norm: the batch normalisation behind the layer, if nothing else reads the layer's output; otherwise None.

        Raises:
            GateError: the technique cannot replace a layer of this form.
        """

    def trains_alone(self, site: AnySite, params: AnyParams) -> bool:
        """Say whether a gate with these parameters can be trained alone, at a site of a network that does not change.

        This is true if the gate passes its input as it is, in training, too, has no exit, and has weights to train.
        Such a gate changes nothing for other gates. So it can be trained once for all plans that contain it.
        """
        return False

    @abstractmethod
    def work(self, site: AnySite, params: AnyParams, observed: Mapping[str, float] | None = None) -> Work:
        """Return the cost of the gate and the work that remains: a :class:`CutWork` or a :class:`LayerWork`.

        ``observed`` is the report of the trained module. Without a report, the result is the least work that the
        parameters allow.
        """


AnyKind = GateKind[Any, Any]


@cache
def kinds() -> Mapping[str, AnyKind]:
    """Return every installed gate kind by name."""
    return {name: kind() for name, kind in load_plugins(GROUP).items()}


def kind_of(name: str, where: str = "plan") -> AnyKind:
    """Return the gate kind of this name; ``where`` starts the error message.

    Raises:
        UserError: no kind has this name; the message names the nearest one.
    """
    if name not in kinds():
        raise unknown(where, "gate kind", name, kinds())
    return kinds()[name]


def fits(kind: str, site: Site) -> bool:
    """Say whether a gate of the kind named ``kind`` can be placed at a site."""
    technique = kind_of(kind)
    return isinstance(site, technique.site_type) and technique.fits(site)


def params_of(site: Site, placed: PlacedGate) -> Any:
    """Return the checked parameters of a placed gate, an instance of its kind's ``Params``.

    Raises:
        UserError: the kind is for the other type of site, a parameter is unknown, or a value is not valid.
    """
    return _checked(kind_of(placed.kind), site, placed)


def _checked(kind: AnyKind, site: Site, placed: PlacedGate) -> GateParams:
    if not isinstance(site, kind.site_type):
        raise UserError(f"plan: {kind.name!r} is a gate for {SITES[kind.site_type]}, not for {SITES[type(site)]}")
    try:
        params = kind.Params.read(dict(placed.params))
        kind.check(site, params)
    except GateError as error:
        raise _refusal(placed, error) from error
    return params


def _refusal(placed: PlacedGate, error: GateError) -> UserError:
    return UserError(f"{placed.kind} gate at {placed.site}: {error}")


@overload
def build_gate(site: CutSite, placed: PlacedGate) -> CutGate: ...
@overload
def build_gate(
    site: LayerSite, placed: PlacedGate, layer: nn.Module, norm: nn.BatchNorm2d | None = None
) -> LayerGate: ...
def build_gate(
    site: Site, placed: PlacedGate, layer: nn.Module | None = None, norm: nn.BatchNorm2d | None = None
) -> CutGate | LayerGate:
    """Build the module of a placed gate; see :meth:`GateKind.build`.

    Raises:
        UserError: a parameter is not valid, or the technique cannot replace a layer of this form.
    """
    kind = kind_of(placed.kind)
    params = _checked(kind, site, placed)
    try:
        return kind.build(site, params, layer, norm)
    except GateError as error:
        raise _refusal(placed, error) from error


@overload
def work_of(site: CutSite, placed: PlacedGate, observed: Mapping[str, float] | None = None) -> CutWork: ...
@overload
def work_of(site: LayerSite, placed: PlacedGate, observed: Mapping[str, float] | None = None) -> LayerWork: ...
def work_of(site: Site, placed: PlacedGate, observed: Mapping[str, float] | None = None) -> Work:
    """Return the work of a placed gate; see :meth:`GateKind.work`.

    Raises:
        UserError: a parameter is not valid.
    """
    kind = kind_of(placed.kind)
    return kind.work(site, _checked(kind, site, placed), observed)


def trained_form(placed: PlacedGate) -> PlacedGate:
    """Return a placed gate without the parameters that only calibration uses; gates with equal forms train alike.

    >>> trained_form(PlacedGate.of("gc", "input", keep=1.0, recall=0.99))
    PlacedGate(kind='gc', site='input', params=(('keep', 1.0),))
    """
    rules = kind_of(placed.kind).Params.fields()
    parameters = {name: value for name, value in placed.params if not rules[name].tunable_after_training}
    return PlacedGate.of(placed.kind, placed.site, **parameters)


def trains_alone(site: Site, placed: PlacedGate) -> bool:
    """Say whether a placed gate can be trained alone; see :meth:`GateKind.trains_alone`.

    Raises:
        UserError: a parameter is not valid.
    """
    kind = kind_of(placed.kind)
    return isinstance(site, CutSite) and kind.trains_alone(site, _checked(kind, site, placed))


def cut_gates(plan: GatePlan) -> tuple[PlacedGate, ...]:
    """Return the gates of a plan at cut sites; each of them ends a stage."""
    return tuple(gate for gate in plan.gates if kind_of(gate.kind).site_type is CutSite)


def layer_gates(plan: GatePlan) -> tuple[PlacedGate, ...]:
    """Return the gates of a plan that replace layers."""
    return tuple(gate for gate in plan.gates if kind_of(gate.kind).site_type is LayerSite)
