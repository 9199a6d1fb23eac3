"""Tests of the goal ``detection``: figures on a stream, with a detector that is tuned on the validation stream."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from gatesearch.data import Dataset, Split, StreamDataset
from gatesearch.data.scenes import Scene
from gatesearch.data.stream_loader import from_scenes
from gatesearch.errors import DataError, UserError
from gatesearch.frontends import build
from gatesearch.graph.sites import cut_sites
from gatesearch.metrics.streams import STEADY, Background, Event
from gatesearch.model import GatedModel
from gatesearch.plan import GatePlan, PlacedGate
from gatesearch.runtime.chain import describe_chain, read_chain
from gatesearch.training import GOALS, GateSettings, Operation, Schedule, calibrate, fit, prepare
from gatesearch.training.stream_run import StreamRuns

RATE, WINDOW_S, HOP_S = 100, 0.5, 0.1


def loud_scene(name: str, seed: int, seconds: float = 120.0, bursts: int = 20) -> Scene:
    """Return faint noise with loud bursts, which are the events."""
    generator = torch.Generator().manual_seed(seed)
    samples = torch.randn(round(seconds * RATE), generator=generator) * 300
    events = []
    for k in range(bursts):
        start = round((2 + k * (seconds - 4) / bursts) * RATE)
        samples[start : start + 30] += torch.randn(30, generator=generator) * 6000
        events.append(Event("burst", start / RATE, (start + 30) / RATE))
    return Scene(
        name=name,
        rate=RATE,
        length=len(samples),
        classes=("burst",),
        events=tuple(events),
        segments=(Background("quiet", 0.0, seconds),),
        samples=samples.clamp(-32768, 32767).to(torch.int16).numpy(),
    )


def data(windows: int = 60, **changes) -> StreamDataset:
    scenes = {split: loud_scene(split, seed) for seed, split in enumerate(("train", "validation", "test"))} | changes
    return from_scenes(
        scenes, name="bursts", source="made here", synthetic=True, window_s=WINDOW_S, hop_s=HOP_S, windows=windows
    )


class Energy(nn.Module):
    """A network of two layers; a window with more energy has a higher logit of "burst" and a lower other logit."""

    def __init__(self) -> None:
        super().__init__()
        self.square = nn.Conv1d(1, 1, 1, bias=False)
        self.head = nn.Linear(1, 2)
        with torch.no_grad():
            self.square.weight.fill_(1.0)
            self.head.weight.copy_(torch.tensor([[400.0], [-400.0]]))
            self.head.bias.copy_(torch.tensor([-12.0, 12.0]))

    def forward(self, x):
        return self.head(self.square(x.unsqueeze(1)).abs().mean(2))


@pytest.fixture(scope="module")
def problem():
    bursts = data()
    features = prepare(bursts, build("identity").fit(bursts.train.inputs), augment=None, renditions=1, seed=0)
    return features, GOALS["detection"](features, bursts.classes, 60.0)


def model(features, plan=None) -> GatedModel:
    network = Energy()
    sites = cut_sites(network, features.train.features[:1])
    return GatedModel(network, plan or GatePlan(), sites, 2).eval()


def test_a_network_that_detects_bursts_misses_none(problem):
    features, goal = problem
    figures = goal.assess(model(features), features.test)
    assert figures.value == 1.0
    assert figures.figures.fa_per_hour <= 60.0
    assert figures.gate_recall == 1.0 and figures.early_stop_rate == 0.0
    assert figures.passed == {"positive": (1.0,), "quiet": (1.0,)}


def test_a_gate_that_stops_every_hop_misses_every_event(problem):
    features, goal = problem
    gated = model(features, GatePlan((PlacedGate.of("gc", "input", mode="channel", keep=1.0, recall=0.9),)))
    calibrate(gated, features.validation, features.positive)
    gated.cut_gates[0].theta.fill_(float("inf"))
    figures = goal.assess(gated, features.test)
    assert figures.value == 0.0
    assert figures.figures.gate_misses == figures.figures.misses == 20
    assert figures.early_stop_rate == 1.0
    assert figures.gated_summary()["early_stop_by_kind"] == {"quiet": 1.0}


def test_the_detector_is_tuned_on_the_validation_stream(problem):
    features, goal = problem
    network = model(features)
    validation, test = goal.assess(network, features.validation), goal.assess(network, features.test)
    assert validation.detector == test.detector


GATED = GatePlan((PlacedGate.of("gc", "input", mode="channel", keep=1.0, recall=0.9),))


def operation(reference: float = 1.0, max_miss_rise: float = 0.05) -> Operation:
    """Return a target of calibration whose price counts the last stage alone; an opening costs as much as five hops."""
    return Operation(
        price=lambda parts: sum(part.open_share + 4 * part.openings for part in parts[-1:]),
        reference=reference,
        max_miss_rise=max_miss_rise,
    )


@pytest.fixture(scope="module")
def trained(problem):
    features, goal = problem
    gated = model(features, GATED)
    fit(gated, features, Schedule(epochs=4, batch_size=10, learning_rate=0.01), GateSettings(), seed=0, goal=goal)
    return gated


def test_gates_of_a_stream_are_set_together_for_the_least_price(problem, trained):
    features, goal = problem
    assert goal.calibrate(trained, features.validation, features.positive, operation()) is None
    figures = goal.assess(trained, features.validation)
    assert figures.value >= 0.95 and figures.figures.fa_per_hour <= 60.0
    assert figures.activities[:2] == (STEADY,) * 2 or figures.chain.signal is not None
    assert figures.activities[-1].open_share < 0.5
    assert figures.chain == trained.stream
    # In the manifest, the infinite threshold of an open gate is the smallest double, because JSON has no infinity.
    assert describe_chain(read_chain(goal.manifest_entries(trained), "bundle")) == describe_chain(figures.chain)


def test_a_plan_without_gates_gets_a_gate_on_the_signal(problem):
    features, goal = problem
    ungated = model(features)
    assert goal.calibrate(ungated, features.validation, features.positive, operation()) is None
    figures = goal.assess(ungated, features.validation)
    assert (figures.chain.signal is not None) == bool(features.validation.stream.signal)
    assert figures.activities[-1].open_share < 0.5
    assert goal.calibrate(ungated, features.validation, features.positive) is None
    assert goal.assess(ungated, features.validation).activities[-1] == STEADY


def test_figures_say_what_each_gate_stops_and_misses(problem, trained):
    features, goal = problem
    goal.calibrate(trained, features.validation, features.positive, operation())
    figures = goal.assess(trained, features.test)
    summary = figures.gated_summary()
    stopped = summary["stop_shares_by_background"]["quiet"]
    assert sum(stopped.values()) == pytest.approx(figures.early_stop_rate)
    assert sum(summary["misses_by_gate"].values()) == figures.figures.gate_misses
    assert summary["openings_per_hour"][-1] == pytest.approx(figures.activities[-1].openings * 3600 / HOP_S)
    trained.cut_gates[0].theta.fill_(float("inf"))
    misses_by_gate = goal.assess(trained, features.test).gated_summary()["misses_by_gate"]
    assert sum(misses_by_gate.values()) == 20


def test_without_targets_a_gate_decides_each_hop_by_itself(problem, trained):
    features, goal = problem
    goal.calibrate(trained, features.validation, features.positive)
    assert trained.stream is None
    gate = goal.assess(trained, features.validation).chain.gates[0]
    assert (gate.smoothing, gate.hold, gate.threshold) == (1, 0, float(trained.cut_gates[0].theta))


def test_all_gates_stay_open_if_no_setting_keeps_the_misses_within_the_limit(problem, trained):
    features, goal = problem
    warning = goal.calibrate(trained, features.validation, features.positive, operation(1.0, max_miss_rise=-0.5))
    assert warning is not None and "all gates stay open" in warning
    assert goal.assess(trained, features.validation).early_stop_rate == 0.0


def test_a_model_runs_over_a_stream_once(problem, trained, monkeypatch):
    features, goal = problem
    goal = replace(goal, runs=StreamRuns())
    batch_sizes = []
    forward = trained.forward
    monkeypatch.setattr(trained, "forward", lambda batch: batch_sizes.append(len(batch)) or forward(batch))
    goal.calibrate(trained, features.validation, features.positive, operation())
    windows = len(features.validation.labels)  # calibration first sets thresholds on these
    goal.assess(trained, features.validation)
    goal.assess(trained, features.test)
    goal.manifest_entries(trained)
    assert sum(batch_sizes) == windows + len(features.validation.stream.features) + len(features.test.stream.features)


def test_a_limit_returns_by_how_much_the_figures_exceed_it(problem):
    features, goal = problem
    figures = goal.assess(model(features), features.validation)
    assert goal.limits["max_miss_rise"](figures, 1.0, 0.02) == pytest.approx(-0.02)
    assert goal.limits["min_gate_recall"](figures, 1.0, 0.97) == pytest.approx(-0.03)


def test_a_split_of_windows_is_no_stream():
    split = Split(torch.zeros(4, 50), torch.tensor([0, 1, 0, 1]), ("a", "b", "c", "d"))
    windows = Dataset("windows", "made here", True, ("burst", "quiet"), (True, False), split, split, split)
    features = prepare(windows, build("identity").fit(split.inputs), augment=None, renditions=1, seed=0)
    with pytest.raises(UserError, match="goal: detection needs streams"):
        GOALS["detection"](features, windows.classes, 2.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test": loud_scene("test", 2, bursts=0)}, "holds no events"),
        ({"test": loud_scene("short", 2, seconds=0.4, bursts=0)}, "a window of 0.5 s; wanted: up to its 0.4 s"),
    ],
)
def test_scenes_without_an_event_or_a_whole_window_are_refused(changes, message):
    with pytest.raises((UserError, DataError), match=message):
        data(**changes)
