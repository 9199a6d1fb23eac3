"""Whole networks in int8 with gated convolutions, compared with the ungated network in three libraries.

The networks are M-CifarNets with random weights. The seven convolutions behind the first one have equal gates.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from gatesearch.backbones.m_cifarnet import MCifarNet
from gatesearch.compile.tflite import channel_last
from gatesearch.cost.sources.host import executable
from gatesearch.devices.profile import load
from gatesearch.graph.sites import cut_sites, layer_sites
from gatesearch.model import GatedModel
from gatesearch.plan import GatePlan, PlacedGate
from results.kernels import library_networks
from results.kernels.library_networks import Calls

GROUP = "network"
NETWORKS: Mapping[str, tuple[tuple[int, int, int], float]] = {
    "8 x 8 pixels, width .25": ((1, 8, 8), 0.25),  # the network of recipes/digits_hybrid.yaml
    "32 x 32 pixels, width .25": ((3, 32, 32), 0.25),
    "32 x 32 pixels, width 1": ((3, 32, 32), 1.0),
}
"""Shape of an image, and width of the network, by the name of the case."""
PG = {"bits": 8, "high_bits": 4, "mask": "m2-16"}
GATES: Mapping[str, tuple[str, dict[str, Any]]] = {
    "FBS of blocks, density .5": ("fbs", {"density": 0.5, "block": 16}),
    "FBS of channels, density .5": ("fbs", {"density": 0.5, "block": 1}),
    "PG 8/4, M2 of 16": ("pg", PG),
    "FBS of channels at .5 and PG": ("fbs_pg", {"density": 0.5, "block": 1, **PG}),
}
GATED_LAYERS = range(1, 8)
SAMPLES = 32  # random images that set ranges


def calls(name: str) -> Calls:
    """Return the calls of a case: the ungated network in each library and number format, and the gated networks."""
    shape, width = NETWORKS[name]
    torch.manual_seed(0)
    x = torch.rand(SAMPLES, *shape)
    network = _network(shape, width)
    return {
        **{f"fp32: {library}": call for library, call in library_networks.float_calls(network, x).items()},
        **{f"int8: {library}": call for library, call in library_networks.int8_calls(network, x).items()},
        "int8: LiteRT, exported by gatesearch": _call(shape, width, x, GatePlan((), ("host",))),
        **{f"gated: {gate}": _call(shape, width, x, _plan(gate)) for gate in GATES},
    }


def _network(shape: tuple[int, int, int], width: float) -> MCifarNet:
    torch.manual_seed(0)
    network = MCifarNet(10, shape, width=width, dropout=0.0)
    with torch.no_grad():
        network.train()(torch.rand(SAMPLES, *shape))  # sets the statistics of normalisations
    return network.eval()


def _plan(gate: str) -> GatePlan:
    kind, params = GATES[gate]
    return GatePlan(tuple(PlacedGate.of(kind, f"conv{i}.0", **params) for i in GATED_LAYERS), ("host",))


def _call(shape: tuple[int, int, int], width: float, x: Tensor, plan: GatePlan) -> Any:
    """Return the call of a plan's bundle on this host, without copies in and out."""
    network = _network(shape, width)
    sites, layers = cut_sites(network, x[:1]), layer_sites(network, x[:1])
    model = GatedModel(network, plan, sites, 10, layers=layers)
    with torch.no_grad():
        model.train()(x)  # sets the ranges of quantisers
    [program] = executable.cascade(executable.assemble(model.eval(), x, load("host"))).programs
    program(program.inputs[0].quantise(channel_last(x[:1].numpy())))
    return program.invoke
