"""Tests of preparing backbones to run by hops, or by whole windows with a warning that says why.

If a stride in time does not divide the hop, a backbone keeps one state for each of several phases of the stream.
"""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from gatesearch._lib import console
from gatesearch.backbones.ds_cnn import DSCNN
from gatesearch.errors import UserError
from gatesearch.frontends import Frontend
from gatesearch.frontends.identity import Identity
from gatesearch.frontends.log_mel import LogMel
from gatesearch.graph.hops import HopNetwork, Part
from gatesearch.pipeline.stream_hops import MAX_PHASES, HopKey, StreamHops, late_catch_ups, prepare_for_hops
from gatesearch.recipe import load, load_run, to_yaml
from tests.cost.test_hop_table import model, plan

SHAPE = (1, 49, 20)
HOP_SAMPLES = 640


def front_end() -> Frontend:
    return LogMel(mel_bins=20)


def prepare(network: nn.Module, hop: int = HOP_SAMPLES) -> tuple[nn.Module, StreamHops | None, list[str]]:
    with console.collect_warnings() as warnings:
        prepared, hops = prepare_for_hops(network, SHAPE, front_end(), hop)
    return prepared, hops, list(warnings)


class Gru(nn.Module):
    """A recurrent network over frames."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(20, 8, batch_first=True)
        self.linear = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        output, _ = self.rnn(x[:, 0])
        logits: Tensor = self.linear(output[:, -1])
        return logits


def test_padding_in_time_is_removed_before_the_training() -> None:
    network = DSCNN(2, SHAPE, width=8, blocks=2)
    prepared, hops, warnings = prepare(network)
    assert not warnings and hops is not None
    assert (hops.frames.count, hops.frames.hop, hops.phases) == (49, 2, 1)
    assert len(hops.changes) == 5 and "20 frames a window, not 25" in hops.changes[0]
    assert hops.changes[-1] == "layer 'pool' pools each frame first, then 16 frames"
    assert prepared is not network and network.state_dict().keys() == prepared.state_dict().keys()
    assert hops.describe().startswith("stream: by hops of 2 frames; rewritten for it: layer 'stem.0'")
    assert hops.summary()["changes"] == list(hops.changes)


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 9))
def test_strides_that_do_not_divide_the_hop_keep_phases(stem_stride: int, hop_frames: int, seed: int) -> None:
    torch.manual_seed(seed)
    network = DSCNN(2, SHAPE, width=4, blocks=1, stem_stride=(stem_stride, 2)).eval().double()
    prepared, hops, warnings = prepare(network, hop_frames * 320)
    assert not warnings and hops is not None
    assert hops.frames.hop == hop_frames * hops.phases and hops.frames.hop % stem_stride == 0
    part = Part(HopNetwork(prepared, SHAPE, time_axis=1, hop=hops.frames.hop), phases=hops.phases)
    stream = torch.randn(1, 1, 49 + 6 * hop_frames, 20).double()
    part.begin(stream[:, :, :49])
    with torch.no_grad():
        for k in range(6):
            first = (k + 1) * hop_frames
            output = part.step(stream[:, :, 49 + k * hop_frames : 49 + first])
            assert torch.allclose(output, prepared(stream[:, :, first : first + 49]), atol=1e-9)


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (Gru(), "layer 'rnn' starts from zero at a window's first frame"),
        (nn.Sequential(nn.Flatten(), nn.Linear(980, 8), nn.ReLU(), nn.Linear(8, 2)), None),
        (
            nn.Sequential(nn.Conv2d(1, 2, 3), nn.GroupNorm(1, 2), nn.Flatten(), nn.Linear(1692, 2)),
            "layer '1' normalises",
        ),
    ],
)
def test_a_layer_that_cannot_run_by_hops_is_named_and_the_run_uses_windows(
    network: nn.Module, reason: str | None
) -> None:
    prepared, hops, warnings = prepare(network)
    if reason is None:
        assert hops is not None and not warnings
        return
    assert prepared is network and hops is None
    [line] = warnings
    assert reason in line and "goes on by whole windows" in line and "\n" not in line


IN_MS = HopKey("data.hop_ms", 1e3 / 16_000)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 3000).filter(lambda hop: hop % 320))
def test_a_hop_between_two_frames_is_refused_with_the_nearest_one_that_fits(hop: int) -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(UserError) as caught:
        prepare_for_hops(network, SHAPE, front_end(), hop, IN_MS)
    line = str(caught.value)
    assert line.startswith(f"data.hop_ms: {IN_MS.write(hop)}: {hop} samples, but a frame begins every 320 samples")
    assert line.endswith(f"write {20 * max(1, round(hop / 320)):g}, or stream.by=windows")
    assert prepare_for_hops(network, SHAPE, front_end(), 320 * max(1, round(hop / 320)), IN_MS)[1] is not None


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=2, max_size=2), st.integers(1, 12))
def test_a_hop_that_strides_do_not_divide_is_refused_with_one_that_fits(strides: list[int], hop_frames: int) -> None:
    first, second = strides
    network = nn.Sequential(
        nn.Conv2d(1, 2, 3, stride=(first, 1)), nn.Conv2d(2, 2, 1, stride=(second, 1)), nn.Flatten(1), nn.LazyLinear(2)
    )
    network(torch.zeros(2, *SHAPE))
    phases = math.lcm(hop_frames, first * second) // hop_frames
    try:
        _, hops, _ = prepare(network, 320 * hop_frames)
        assert hops is not None and hops.phases == phases
    except UserError as error:
        line = str(error)
        assert phases > MAX_PHASES or phases * hop_frames >= 49
        assert line.startswith(f"hop: {320 * hop_frames}: backbone: layer '") and "has a stride of" in line
        choice = int(line.split("write ")[1].split(",")[0])
        assert prepare(network, choice)[1] is not None


def test_a_front_end_without_frames_gives_a_warning_of_one_line() -> None:
    with console.collect_warnings() as warnings:
        _, hops = prepare_for_hops(DSCNN(2, SHAPE, width=4, blocks=1), SHAPE, Identity(), 640)
    assert hops is None and "identity gives whole windows" in warnings[0]


def test_a_run_that_began_before_the_key_goes_on_by_whole_windows(tmp_path) -> None:
    recipe = load("wake_word.yaml")
    (tmp_path / "recipe.yaml").write_text(to_yaml(recipe))
    assert load_run(tmp_path, trust=True).stream.by == "hops"
    (tmp_path / "recipe.yaml").write_text(to_yaml(recipe).replace("  by: hops\n", ""))
    assert load_run(tmp_path, trust=True).stream.by == "windows"


def test_a_catch_up_longer_than_a_hop_gives_a_warning() -> None:
    cost = model()
    gated = plan("stem")
    [stage] = [each.cost.total_us for each in cost.stages(gated)[1:]]
    assert not late_catch_ups(replace(cost, period_s=2 * stage * 1e-6), gated)
    [line] = late_catch_ups(replace(cost, period_s=0.5 * stage * 1e-6), gated)
    assert line.startswith("stage 1 on mcu catches up in ") and "longer than a hop" in line
    assert not late_catch_ups(replace(cost, period_s=0.5 * stage * 1e-6, hops=None), gated)
