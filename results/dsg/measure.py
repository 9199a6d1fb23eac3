"""Measures a network of the ``dsg`` benchmark: accuracy, sparsity, and the saving of work in two ways.

One saving follows the formula of the paper, the other is counted layer by layer. The paper is Huang et al. 2020,
"Pushing the Envelope of Dynamic Spatial Gating technologies". FBS (feature boosting and suppression) computes only some
channels of a layer, the winning channels. Precision gating computes every output from its high bits, and only some
outputs from the low bits, too. Sparsity is the share of outputs without low bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from gatesearch.gates import LayerWork, work_of
from gatesearch.graph.sites import LayerSite, find
from gatesearch.model import GatedModel
from gatesearch.plan import PlacedGate
from results.dsg.rows import Spec
from results.dsg.savings import GatedLayer, approximate_saving, average_bits, exact_saving
from results.dsg.train import Images

Reports = Mapping[str, Mapping[str, float]]


@torch.no_grad()
def observe(model: GatedModel, images: Images) -> tuple[float, Reports]:
    """Return the accuracy on a split, and the report of each gate by site; the model stays in evaluation mode."""
    model.eval()
    gates = model.layer_gates
    for gate in gates.values():
        gate.reset()
    right = sum(int((model(inputs).logits.argmax(1) == labels).sum()) for inputs, labels in images.batches())
    return right / len(images.labels), {site: dict(gate.report()) for site, gate in gates.items()}


@dataclass(frozen=True, slots=True)
class Sparsity:
    """Shares of outputs without low bits, over all layers with precision gating.

    Args:
        winners: share among the outputs in winning channels; without FBS, all channels win.
        everywhere: share among all outputs; outputs in other channels count as outputs without low bits.
        weighted: share among the outputs in winning channels, weighted by the multiply-accumulates of each output.
    """

    winners: float
    everywhere: float
    weighted: float


def sparsity(reports: Reports, sites: Sequence[LayerSite]) -> Sparsity | None:
    """Return the sparsity of a network from the reports of its gates; None if no gate quantises.

    >>> site = LayerSite("a", "conv2d", (8, 4, 4), (8, 4, 4), 100, 0)
    >>> report = {"sparsity": 0.75, "outputs": 400.0, "sparsity_winners": 0.5, "density": 0.5}
    >>> sparsity({"a": report}, [site])
    Sparsity(winners=0.5, everywhere=0.75, weighted=0.5)
    """
    gated = [(find(sites, name), report) for name, report in reports.items() if "sparsity" in report]
    if not gated:
        return None

    def mean(values: Sequence[float], weights: Sequence[float]) -> float:
        return sum(v * w for v, w in zip(values, weights, strict=True)) / sum(weights)

    winners = [report.get("sparsity_winners", report["sparsity"]) for _, report in gated]
    shares = [report.get("density", 1.0) for _, report in gated]
    outputs = [report["outputs"] for _, report in gated]
    return Sparsity(
        winners=mean(winners, [o * s for o, s in zip(outputs, shares, strict=True)]),
        everywhere=mean([report["sparsity"] for _, report in gated], outputs),
        weighted=mean(winners, [site.macs * s for (site, _), s in zip(gated, shares, strict=True)]),
    )


def observed_bits(spec: Spec, observed: Sparsity | None) -> float | None:
    """Return B_avg, the mean bits of an output of gated layers, as in the paper; None without quantisation."""
    if observed is None:
        return None
    return average_bits(spec.bits, spec.high_bits, observed.winners)


def saving_paper(spec: Spec, average: float | None) -> float:
    """Return the saving by the paper's Eq. 3: 1 / d^2 times B / B_avg.

    d is the density of FBS (the share of channels that it computes), B the bits of an output, and B_avg the mean bits
    of an output (``average``). Without FBS, d is 1 and Eq. 3 becomes Eq. 2. The paper does not say how it counts the
    saving of FBS. With the factor 1 / d^2 and the sparsity in the paper's Table 1, the formula gives the saving of 1.92
    that the paper reports.
    """
    return approximate_saving(1 / (spec.density or 1.0) ** 2, spec.bits, spec.bits if average is None else average)


def saving_of_network(spec: Spec, model: GatedModel, sites: Sequence[LayerSite], reports: Reports) -> float:
    """Return the saving of the whole network, counted layer by layer; first convolution and classifier are included."""
    works = {placed.site: _work(spec, find(sites, placed.site), placed, reports) for placed in model.plan.gates}
    layers, rest = [], 0.0
    for site in sites:
        if site.name not in works:
            rest += site.macs
            continue
        source = works.get(site.source or "")
        layers.append(GatedLayer(site.macs, works[site.name], 1.0 if source is None else source.density))
    return exact_saving(layers, spec.bits, rest)


def _work(spec: Spec, site: LayerSite, placed: PlacedGate, reports: Reports) -> LayerWork:
    work = work_of(site, placed, reports[site.name])
    if placed.kind != "fbs":
        return work
    # A layer with FBS alone is not quantised. Each of its MACs counts B bits, as in the network without gates.
    return replace(work, calls=tuple(call._replace(bits=(spec.bits, call.bits[1])) for call in work.calls))
