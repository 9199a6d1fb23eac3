"""The supernet itself: a backbone with a gate at every site of a space, of which any plan turns some on."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from random import Random
from typing import cast

import torch
from torch import Tensor, nn

from gatesearch.gates import CutGate, build_gate
from gatesearch.graph.sites import CutSite
from gatesearch.model import GatedModel, GatedOutput
from gatesearch.plan import GatePlan, PlacedGate
from gatesearch.search.sampler.neighbours import Gates
from gatesearch.search.space import Space
from gatesearch.search.supernet.elastic import elastic_parameters, turn


class Supernet(GatedModel):
    """A backbone with gates at every site; a gate of a plan is one of those, turned as the plan says.

    Gates of a site that differ in elastic parameters alone are one module.

    Args:
        backbone: maps [N, *shape] to [N, *output]; copied.
        space: of the plans; each kind in it has to be elastic.
        outputs: as of :class:`gatesearch.model.GatedModel`.
        saliency: as of :class:`gatesearch.model.GatedModel`.
    """

    def __init__(
        self,
        backbone: nn.Module,
        space: Space,
        outputs: int | Sequence[int],
        saliency: Mapping[str, Tensor] | None = None,
    ) -> None:
        every = [list(dict.fromkeys(map(_shared, space.gates_at(site)))) for site in space.sites]
        super().__init__(
            backbone, GatePlan(tuple(_any(space, shared[0]) for shared in every)), space.sites, outputs, saliency
        )
        self._index = {shared[0]: k for k, shared in enumerate(every)}
        for site, shared in zip(space.sites, every, strict=True):
            for other in shared[1:]:
                gate = build_gate(site, _any(space, other))
                if saliency is not None and site.name in saliency:
                    gate.initialise(saliency[site.name])
                self._index[other] = len(self.gates)
                self.gates.append(cast(nn.Module, gate))
        self._order = {site.name: k for k, site in enumerate(space.sites)}

    def turned(self, placed: PlacedGate) -> CutGate:
        """Return the gate that serves one of a plan, turned as that says."""
        gate = self.gate(self._index[_shared(placed)])
        turn(gate, placed)
        return gate

    def order(self, placed: PlacedGate) -> int:
        """Return the index of the stage that a gate ends."""
        return self._order[placed.site]

    def forward(self, inputs: Tensor, gates: Gates = ()) -> GatedOutput:
        """Run every stage on every sample [N, *shape], with these gates alone."""
        at, hidden, outputs = {self.order(placed): placed for placed in gates}, inputs, []
        for k, stage in enumerate(self.stages):
            hidden = stage(hidden)
            if k in at:
                output = self.turned(at[k])(hidden)
                outputs.append(output)
                hidden = output.passed
        return GatedOutput(hidden, tuple(outputs))

    def extracted(self, plan: GatePlan, backbone: nn.Module, calibration: Tensor) -> GatedModel:
        """Return a plan as a model of its own, with what it shares here; its thresholds are not set.

        Args:
            plan: what to build.
            backbone: what this was built from.
            calibration: features [N, *shape] that normalisations take their statistics from.
        """
        settle(self, calibration, plan.gates)
        own = copy.deepcopy(backbone)
        missing, unknown = own.load_state_dict(
            {name: value for stage in self.stages for name, value in stage.state_dict().items()}, strict=False
        )
        assert not missing and not unknown
        model = GatedModel(own, plan, self.sites, self.output_shape)
        for gate, placed in zip(model.gates, plan.gates, strict=True):
            gate.load_state_dict(cast(nn.Module, self.turned(placed)).state_dict())
        return model.eval()


def settle(net: Supernet, calibration: Tensor, gates: Gates) -> None:
    """Let all normalisations that a plan's windows meet take their statistics from features [N, *shape]."""
    at, hidden = {net.order(placed): placed for placed in gates}, calibration
    for k, stage in enumerate(net.stages):
        hidden = fitted(stage, hidden)
        if k in at:
            hidden = fitted(cast(nn.Module, net.turned(at[k])), hidden).passed


@torch.no_grad()
def fitted(part: nn.Module, hidden: Tensor):  # type: ignore[no-untyped-def] # whatever the part returns
    """Run a part on [N, ...] while its normalisations take their statistics from that; leaves evaluation mode."""
    part.eval()
    norms = [module for module in part.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    usual = [norm.momentum for norm in norms]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0  # nothing of what was there before
    result = part(hidden)
    for norm, momentum in zip(norms, usual, strict=True):
        norm.eval()
        norm.momentum = momentum
    return result


def strongest(space: Space, dice: Random) -> Gates:
    """Return a gate at each site, numbers turned as hard as can be, and what is no number at random."""
    return tuple(_hard(space, site, dice.choice(space.gates_at(site))) for site in space.sites)


def _hard(space: Space, site: CutSite, placed: PlacedGate) -> PlacedGate:
    choices = space.choices(placed.kind, site)
    hard = {name: values[0] for name, values in choices.items() if not any(isinstance(v, str) for v in values)}
    return PlacedGate.of(placed.kind, placed.site, **{**dict(placed.params), **hard})


def _shared(placed: PlacedGate) -> PlacedGate:
    """Return what the gates of one module have in common."""
    elastic = elastic_parameters(placed)
    return PlacedGate.of(placed.kind, placed.site, **{k: v for k, v in placed.params if k not in elastic})


def _any(space: Space, shared: PlacedGate) -> PlacedGate:
    """Return one of the gates that a module serves."""
    site = next(site for site in space.sites if site.name == shared.site)
    return next(placed for placed in space.gates_at(site) if _shared(placed) == shared)
