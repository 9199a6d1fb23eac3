"""Tests that every shipped recipe has a table of costs and a priced plan on every shipped device."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gatesearch import backbones, recipe
from gatesearch._lib.tool_output import ToolError
from gatesearch.cli import app
from gatesearch.cost.frontend import FrontendWork
from gatesearch.cost.layers import layer_changes
from gatesearch.cost.model import CostModel
from gatesearch.cost.sources import board
from gatesearch.cost.table_reader import build_table
from gatesearch.devices import profile
from gatesearch.gates import cut_gates, layer_gates, work_of
from gatesearch.graph.sites import cut_sites, layer_sites
from gatesearch.plan import GatePlan, PlacedGate
from gatesearch.search.space import Space
from gatesearch.search.space_builder import build_space
from tests import places, tones

# Shape of the features and number of classes of each recipe. Real data would take minutes and would change no price.
SHAPES = {
    "cifar10_hybrid": ((3, 32, 32), 10),
    "codec_dsl": ((1, 512, 1), 1),
    "digits_hybrid": ((1, 8, 8), 10),
    "har_hmd": ((32, 9), 6),
    "har_stream": ((1, 32, 6), 2),
    "kws": ((1, 49, 20), 16),
    "kws_clips": ((1, 49, 10), 12),
    "kws_lstm_hmd": ((25, 10), 12),
    "kws_vit_gc": ((1, 49, 10), 12),
    "wake_word": ((1, 49, 20), 7),
}
# Devices whose costs need neither timings nor a compiler.
COUNTED = ("bit_serial", "cortex_a", "stm32u3c5")
# Gated layers and recurrent cells have no int8 program, so a device without a core for float programs cannot run them.
INT8_ONLY = tuple(name for name in profile.names() if not any(core.runs_float for core in profile.load(name).cores))
VELA = ("m55_u55", "three_core")
REFUSED = ("codec_dsl",)  # the argmin of its quantiser stays in float, which Vela does not compile
IN_LAYERS = ("cifar10_hybrid", "digits_hybrid", "har_hmd", "kws_lstm_hmd")


@pytest.fixture(autouse=True)
def place(tmp_path: Path) -> Iterator[Path]:
    with places.working_in(tmp_path):
        yield tmp_path


def test_no_recipe_is_forgotten() -> None:
    assert {name.removesuffix(".yaml") for name in recipe.available()} == set(SHAPES)


def model(name: str, device: str) -> tuple[CostModel, Space]:
    """Return the cost model and the search space of a recipe on a device, for an untrained backbone."""
    loaded, on = recipe.load(f"{name}.yaml"), profile.load(device)
    shape, classes = SHAPES[name]
    torch.manual_seed(0)
    backbone = backbones.build(
        loaded.backbone, num_classes=classes, input_shape=shape, args=loaded.backbone_args
    ).eval()
    samples = torch.randn(4, *shape)
    sites, layers = cut_sites(backbone, samples[:1]), layer_sites(backbone, samples[:1])
    space = build_space(
        sites, on.core_names, loaded.space.kinds, cut_names=loaded.space.sites, core_names=loaded.space.cores,
        min_work=loaded.space.min_work, min_gates=loaded.space.gates.min, max_gates=loaded.space.gates.max,
        layer_sites=layers, layer_names=loaded.space.layers.sites, together=loaded.space.layers.together,
    )  # fmt: skip
    searched = layers if space.layer_sites else ()
    table = build_table(backbone, space.cut_sites, samples, on, space.variants(), searched)
    shares = {kind: share for kind, share in (loaded.stream.shares or {}).items() if share} or {"positive": 1.0}
    costs = board.kernels_of(on)
    return CostModel(
        on, table, space.cut_sites, FrontendWork(100_000), loaded.stream.period_s, shares, layers, costs
    ), space


class Dice:
    """Stands in for a trial of the search: it chooses at random."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def suggest_categorical(self, name: str, choices: list) -> object:
        return self.random.choice(list(choices))


def gated(cost: CostModel, space: Space) -> GatePlan | None:
    """Return a plan with a gate that the device can run."""
    for seed in range(300):
        plan = space.propose(Dice(seed))
        if (cut_gates(plan) or layer_gates(plan)) and not cost.violations(plan):
            return plan
    return None


def check(name: str, device: str) -> None:
    if device in VELA and name in REFUSED:
        with pytest.raises(ToolError, match="Vela failed"):
            model(name, device)
        return
    cost, space = model(name, device)
    ungated, rival = cost.ungated()
    if device in INT8_ONLY and name in IN_LAYERS:
        assert gated(cost, space) is None
        return
    assert not cost.violations(ungated) and math.isfinite(rival.energy.total_uj) and rival.energy.total_uj > 0
    plan = gated(cost, space)
    assert plan is not None
    bound = cost.bound(plan)
    assert math.isfinite(bound.energy.total_uj) and 0 < bound.expected_latency_us < math.inf


@pytest.mark.parametrize("device", COUNTED)
@pytest.mark.parametrize("name", SHAPES)
def test_a_plan_of_each_recipe_is_priced(name: str, device: str) -> None:
    check(name, device)


@pytest.mark.slow
@pytest.mark.parametrize("device", [name for name in profile.names() if name not in COUNTED])
@pytest.mark.parametrize("name", SHAPES)
def test_a_plan_of_each_recipe_is_priced_where_blocks_are_compiled_and_timed(name: str, device: str) -> None:
    check(name, device)


def test_gated_layers_are_priced_by_the_table_of_a_core_that_has_one() -> None:
    cost, _ = model("digits_hybrid", "cortex_a")
    [site] = [layer for layer in cost.layers if layer.name == "conv2.0"]
    gate = PlacedGate.of("fbs", site.name, block=16, density=0.5)
    plan = GatePlan((gate,), ("a64",))
    [call] = work_of(site, gate).kernels
    [change] = [change for name, change in layer_changes([gate], cost.layers, {}).items() if name == site.name]
    costs = cost.kernels["a64"]
    [kernel_call] = change.kernels
    reading, dense = costs.reading(kernel_call), cost.table.layers[site.name].readings["a64"]
    assert call.kernel == "fbs" and reading is not None
    bound, without = cost.bound(plan), replace(cost, kernels={}).bound(plan)
    core = cost.device.core("a64")
    by_skips = dense * change.cost(core.kernels)
    differs = core.timing.latency_us(reading) - core.timing.latency_us(by_skips)
    assert bound.expected_latency_us - without.expected_latency_us == pytest.approx(differs)
    assert differs != 0


@pytest.mark.slow
@pytest.mark.parametrize("device", profile.names())
def test_a_search_ends_on_each_device(device: str, place: Path) -> None:
    words = tones.write(place / "tones")
    settings = [f"data.root={words}", *tones.TINY, f"device={device}", "out=run"]
    assert app.main(["run", "recipe=kws_clips.yaml", *settings]) == 0
    assert (place / "run" / "report.html").is_file()
