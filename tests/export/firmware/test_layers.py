"""Firmware with gated and recurrent layers decides every hop as the Python runtime does."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from gatesearch.backbones.ds_cnn import DSCNN
from gatesearch.backbones.recurrent import RecurrentNet
from gatesearch.compile.byte_parts import NotInBytes, check_in_bytes
from gatesearch.compile.stage import Part, StageGraph
from gatesearch.export.firmware import write_firmware
from gatesearch.export.firmware.vectors import WAITING, trace_hops
from gatesearch.kernels import native
from gatesearch.plan import PlacedGate
from tests.export.firmware.layer_bundle import export_layers, play
from tests.export.firmware.small_bundle import make_sound

pytestmark = pytest.mark.skipif(
    native.load() is None or shutil.which("cc") is None or shutil.which("make") is None, reason="needs a compiler"
)
SHAPE = (1, 49, 10)
POINTWISE = ("blocks.0.pointwise.0", "blocks.1.pointwise.0")


def decide(folder: Path, backbone: nn.Module, gates: tuple[PlacedGate, ...], seed: int = 3) -> set[int]:
    """Compare every hop of firmware and of the listener on four seconds of noise; return the last stages that ran."""
    hop, sound = 1600, make_sound(4.0, seed)
    bundle = export_layers(folder / "bundle", backbone, gates, hop)
    firmware = write_firmware(bundle, folder / "firmware", sound)
    expected = [
        (each.last_stage, each.caught_up, each.label, float(np.float32(each.confidence)))
        for each in trace_hops(bundle, sound)
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


def test_recurrent_layers_are_in_float_unless_a_bundle_listens():
    """Firmware alone needs recurrent layers in int8; on other hosts, the float kernels stay."""
    stage = StageGraph(body=nn.Identity(), head=nn.Identity(), samples=torch.zeros(1, 4, 3), shape=(4, 3))
    stage = replace(stage, parts=(Part(inputs=("input",), outputs=("h",), arrays={}, kernel="gru", site="rnn.0"),))
    check_in_bytes(stage, listens=True)
    with pytest.raises(NotInBytes, match=r"the kernel gru of rnn\.0 has no form in int8"):
        check_in_bytes(stage)
