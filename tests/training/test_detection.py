"""The goal "detection": figures on a stream, with a detector that is tuned on the validation stream."""

import pytest
import torch
from torch import nn

from gatesearch.data import Dataset, Split, StreamDataset
from gatesearch.data.scenes import Scene
from gatesearch.data.stream_loader import from_scenes
from gatesearch.errors import DataError, UserError
from gatesearch.frontends import build
from gatesearch.graph.sites import cut_sites
from gatesearch.metrics.streams import Background, Event
from gatesearch.model import GatedModel
from gatesearch.plan import GatePlan, PlacedGate
from gatesearch.training import GOALS, calibrate, prepare

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
    """A network of two layers; the energy of a window raises the logit of "burst" and lowers the other."""

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


def test_a_network_that_hears_bursts_misses_none(problem):
    features, goal = problem
    figures = goal.assess(model(features), features.test)
    assert figures.value == 1.0
    assert figures.figures.fa_per_hour <= 60.0
    assert figures.gate_recall == 1.0 and figures.early_stop_rate == 0.0
    assert figures.passed == {"positive": (1.0,), "quiet": (1.0,)}


def test_a_gate_that_stops_all_misses_all(problem):
    features, goal = problem
    gated = model(features, GatePlan((PlacedGate.of("gc", "input", mode="channel", keep=1.0, recall=0.9),)))
    calibrate(gated, features.validation, features.positive)
    gated.cut_gates[0].theta.fill_(float("inf"))
    figures = goal.assess(gated, features.test)
    assert figures.value == 0.0
    assert figures.figures.gate_misses == figures.figures.misses == 20
    assert figures.early_stop_rate == 1.0
    assert figures.gated_summary()["early_stop_by_kind"] == {"quiet": 1.0}


def test_the_detector_is_set_on_the_validation_stream(problem):
    features, goal = problem
    network = model(features)
    validation, test = goal.assess(network, features.validation), goal.assess(network, features.test)
    assert validation.detector == test.detector


def test_limits_name_the_excess(problem):
    features, goal = problem
    figures = goal.assess(model(features), features.validation)
    assert goal.limits["max_miss_rise"](figures, 1.0, 0.02) == pytest.approx(-0.02)
    assert goal.limits["min_gate_recall"](figures, 1.0, 0.97) == pytest.approx(-0.03)


def test_windows_alone_are_no_stream():
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
def test_scenes_that_cannot_be_judged_are_refused(changes, message):
    with pytest.raises((UserError, DataError), match=message):
        data(**changes)
