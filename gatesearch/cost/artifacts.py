"""Prices a plan on the engines that run its exported files, if the search assumed other engines.

An engine is the software that runs a core's programs. A search may price a core with an engine for which no exporter
writes files, such as gatesearch's own kernels. The exported files of such a core run on another engine, at another
price.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from gatesearch._lib.format import format_si
from gatesearch.cost.energy import gain_end_to_end
from gatesearch.cost.model import CostModel
from gatesearch.cost.price import Price
from gatesearch.cost.sources import board
from gatesearch.devices.engine import ENGINES
from gatesearch.devices.profile import Core
from gatesearch.gates import layer_gates
from gatesearch.plan import GatePlan


def price_artifacts(cost: CostModel) -> CostModel:
    """Return a copy of a cost model in which each core has the engine that runs its exported files."""
    cores = tuple(core.model_copy(update={"engine": core.artifact_engine}) for core in cost.device.cores)
    device = cost.device.model_copy(update={"cores": cores})
    return replace(cost, device=device, kernels=board.kernels_of(device))


def describe_artifacts(
    cost: CostModel,
    plan: GatePlan,
    passed: Mapping[str, Sequence[float]],
    observed: Mapping[str, Mapping[str, float]] | None = None,
    price: Callable[[CostModel], Price] | None = None,
) -> Iterator[str]:
    """Yield a line for each core whose files run on another engine than its price assumes, and a line for the plan.

    Args:
        cost: the cost model of the search; its price of the plan is the "printed price" in the lines.
        plan: the plan whose files are exported.
        passed: for each kind of window, the share of its windows that reaches each stage.
        observed: by site, the shares that were measured for each layer gate.
        price: a function that prices the plan over a stream with a cost model; None prices the plan at the shares of
            ``passed``.
    """
    ungated, ungated_price = cost.ungated()
    cores = [core for core in cost.device.cores if core.name in {*plan.cores, *ungated.cores}]
    other = [core for core in cores if core.artifact_engine != core.engine]
    with_gates = {plan.cores[cost.stage_of(plan, gate.site)] for gate in layer_gates(plan)}
    for core in other:
        yield _describe_core(core, core.name in with_gates)
    if not other or any(core.engine == "imagined" for core in other):
        return  # no engine runs the files of a hypothetical core, so their time is unknown
    if price is None:
        price = partial(_price_at, plan=plan, passed=passed, observed=observed)
    priced = price(cost)
    shipped_model = price_artifacts(cost)
    shipped = price(shipped_model)
    gain = gain_end_to_end(ungated_price.energy.total_uj, priced.energy.total_uj)
    shipped_gain = gain_end_to_end(shipped_model.ungated()[1].energy.total_uj, shipped.energy.total_uj)
    has_times = all(ENGINES[core.artifact_engine].slowdown_source for core in other)
    figures = _figures(shipped) if has_times else f"at least {_figures(shipped)}"
    yield (
        f"plan {plan.digest}: as its files run, {figures} and a gain of {shipped_gain:.2f}x; "
        f"the printed price, {_figures(priced)} and {gain:.2f}x, assumes {_titles(other)}"
    )


def _price_at(
    cost: CostModel,
    plan: GatePlan,
    passed: Mapping[str, Sequence[float]],
    observed: Mapping[str, Mapping[str, float]] | None,
) -> Price:
    return cost.price(plan, passed, observed=observed)


def _describe_core(core: Core, has_gated_layers: bool) -> str:
    engine, files = ENGINES[core.engine], ENGINES[core.artifact_engine]
    masks = "; it computes gated layers in full and masks them" if has_gated_layers else ""
    head = f"core {core.name}: its price assumes {engine.title}"
    if core.engine == "imagined":
        return f"{head}, and no file runs on it; the .tflite is for {files.title}{masks}"
    times = ", whose time is not known"
    if files.slowdown_source:
        times = f", which takes {files.slowdown:g} times as long (modelled: {files.slowdown_source})"
    return f"{head}; its files are for {files.title}{times}{masks}"


def _figures(price: Price) -> str:
    energy, latency = price.energy.total_uj * 1e-6, price.expected_latency_us * 1e-6
    return f"{format_si(energy, 'J')} and {format_si(latency, 's')} a window"


def _titles(cores: Iterable[Core]) -> str:
    return " and ".join(dict.fromkeys(ENGINES[core.engine].title for core in cores))
