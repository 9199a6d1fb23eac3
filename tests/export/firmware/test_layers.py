"""Firmware with gated and recurrent layers decides every hop as the Python runtime does."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from gatesearch.backbones.ds_cnn import DSCNN
from gatesearch.backbones.recurrent import RecurrentNet
from gatesearch.compile.byte_parts import NotInBytes, check_in_bytes
from gatesearch.compile.stage import Part, StageGraph
from gatesearch.export.firmware import write_firmware
from gatesearch.export.firmware.vectors import WAITING, trace_hops
from gatesearch.kernels import native
from gatesearch.plan import PlacedGate
from gatesearch.runtime.listener import DETECTOR
from gatesearch.runtime.open_listener import open_listener
from tests.export.firmware.layer_bundle import add_exit, export_layers, play
from tests.export.firmware.small_bundle import export_listening, make_sound

pytestmark = pytest.mark.skipif(
    native.load() is None or shutil.which("cc") is None or shutil.which("make") is None, reason="needs a compiler"
)
SHAPE, HOP = (1, 49, 10), 1600
POINTWISE = ("blocks.0.pointwise.0", "blocks.1.pointwise.0")


def decide(folder: Path, backbone: nn.Module, gates: tuple[PlacedGate, ...]) -> set[int]:
    """Compare firmware with the listener on the bundle of a network; return the last stages that ran at its hops."""
    return compare(export_layers(folder / "bundle", backbone, gates, HOP), HOP)


def compare(bundle: Path, hop: int) -> set[int]:
    """Compare every hop of firmware and of the listener on four seconds of noise; return the last stages that ran."""
    sound = make_sound()
    firmware = write_firmware(bundle, bundle.parent / "firmware", sound)
    expected = [
        (each.last_stage, each.caught_up, each.label, float(np.float32(each.confidence)))
        for each in trace_hops(open_listener(bundle).bundle, sound)
    ]
    assert play(firmware.folder, sound, hop) == expected
    assert sum(row[2] >= 0 for row in expected) >= 8  # each detection compares a posterior
    return {row[0] for row in expected}


def recurrent(cell: str, hidden: int, depth: int = 1) -> RecurrentNet:
    torch.manual_seed(2)
    return RecurrentNet(cell, 4, SHAPE, hidden=hidden, depth=depth)


def convolutions(width: int = 32) -> DSCNN:
    torch.manual_seed(2)
    return DSCNN(4, SHAPE, width=width, blocks=2)


def test_a_recurrent_backbone_behind_a_gate_decides_alike(tmp_path):
    gate = PlacedGate.of("gc", "input", mode="channel", keep=1.0, recall=1.0)
    assert decide(tmp_path, recurrent("gru", 20), (gate,)) == {WAITING, 0, 1}


LAYERS = {
    "fbs": PlacedGate.of("fbs", POINTWISE[0], density=0.5, block=16),
    "pg": PlacedGate.of("pg", POINTWISE[1], bits=8, high_bits=4, mask="3d"),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_a_gated_layer_decides_alike(tmp_path, kind):
    assert decide(tmp_path, convolutions(), (LAYERS[kind],)) == {WAITING, 0}


def test_a_gate_that_answers_early_decides_alike_on_whole_windows(tmp_path):
    gate = PlacedGate.of("gc", "blocks.0", mode="channel", keep=0.5, recall=0.97)
    bundle = export_layers(tmp_path / "bundle", convolutions(), (gate,), HOP)
    add_exit(bundle, 0)
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert len(manifest["stages"][0]["channels"]) < 32  # channels are cut away behind the gate
    assert compare(bundle, HOP) == {-2, 0, 1}


def test_gates_that_answer_early_decide_alike_by_hops(tmp_path):
    bundle = export_listening(tmp_path / "bundle", 320, 2, False, ((0.5, 2, 1), (0.3, 1, 0)))
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest[DETECTOR] |= {"threshold": 0.02, "hits": 1, "refractory_s": 0.02}
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    add_exit(bundle, 0)
    add_exit(bundle, 1)
    assert compare(bundle, 320) == {-2, 0, 1, 2}


def test_recurrent_layers_are_in_float_unless_a_bundle_listens():
    """Firmware alone needs recurrent layers in int8; on other hosts, the float kernels stay."""
    stage = StageGraph(body=nn.Identity(), head=nn.Identity(), samples=torch.zeros(1, 4, 3), shape=(4, 3))
    stage = replace(stage, parts=(Part(inputs=("input",), outputs=("h",), arrays={}, kernel="gru", site="rnn.0"),))
    check_in_bytes(stage, listens=True)
    with pytest.raises(NotInBytes, match=r"the kernel gru of rnn\.0 has no form in int8"):
        check_in_bytes(stage)


CUTS = {"none": (), "input": (PlacedGate.of("gc", "input", mode="channel", keep=1.0, recall=0.97),)}
RECURRENT = st.builds(recurrent, st.sampled_from(["gru", "lstm"]), st.integers(3, 40), st.integers(1, 2))
FBS_GATES = st.builds(
    lambda site, density, block: PlacedGate.of("fbs", site, density=density, block=block),
    st.sampled_from(POINTWISE),
    st.sampled_from([0.3, 0.5, 0.8]),
    st.sampled_from([1, 16]),
)
PG_GATES = st.builds(
    lambda site, mask: PlacedGate.of("pg", site, bits=8, high_bits=4, mask=mask),
    st.sampled_from(POINTWISE),
    st.sampled_from(["3d", "m1"]),
)
NETWORKS = st.one_of(
    st.tuples(RECURRENT, st.just(())),
    st.tuples(st.builds(convolutions, st.sampled_from([16, 24, 48])), st.tuples(FBS_GATES | PG_GATES)),
)


@pytest.mark.slow
@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(network=NETWORKS, cut=st.sampled_from(sorted(CUTS)))
def test_drawn_plans_decide_alike(tmp_path_factory, network, cut):
    backbone, gates = network
    decide(tmp_path_factory.mktemp("drawn"), backbone, (*CUTS[cut], *gates))
