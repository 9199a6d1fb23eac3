"""Tests that exported recurrent stages, which are in float, agree with the model.

The layers are dense, or compressed by hybrid matrix decomposition (``hmd``) or low-rank factorisation (``lmf``).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from gatesearch.backbones.recurrent import RecurrentNet
from gatesearch.compile import onnx, passes
from gatesearch.compile.number_format import arithmetic, needs
from gatesearch.compile.rewrites import rewrite_operators
from gatesearch.compile.tflite import convert
from gatesearch.devices import profile
from gatesearch.export.bundle import write_bundle
from gatesearch.export.verify import verify
from gatesearch.graph.sites import layer_sites
from gatesearch.model import GatedModel
from gatesearch.plan import GatePlan, PlacedGate
from gatesearch.runtime.bundle import Bundle
from gatesearch.runtime.program import Program
from gatesearch.training import FeatureSplit

SHAPE = (4, 12)
POSITIVE = torch.tensor([True, True, True])


def model_of(cell: str, kind: str | None, depth: int = 1, bidirectional: bool = False) -> GatedModel:
    torch.manual_seed(0)
    net = RecurrentNet(cell, 3, SHAPE, hidden=24, depth=depth, bidirectional=bidirectional)
    layers = layer_sites(net, torch.zeros(1, *SHAPE))
    gates = [PlacedGate.of(kind, site.name, factor=2) for site in layers if kind and site.op == cell]
    return GatedModel(net, GatePlan(tuple(gates), ("host",)), (), 3, layers=layers).eval()


@pytest.mark.parametrize(
    ("cell", "kind", "depth", "bidirectional"),
    [("gru", None, 1, False), ("lstm", "hmd", 2, True), ("gru", "hmd", 1, False), ("lstm", "lmf", 1, False)],
)  # fmt: skip
def test_a_program_agrees_with_the_network(cell, kind, depth, bidirectional):
    model = model_of(cell, kind, depth, bidirectional)
    x = torch.randn(5, *SHAPE)
    with torch.no_grad():
        expected = model(x).logits.numpy()
    program = Program(convert(model.stages[0], x[:1]))
    outputs = np.concatenate([program(sample[None].numpy())[0] for sample in x])
    np.testing.assert_allclose(outputs, expected, atol=1e-5)


def test_a_bundle_is_in_float_and_names_its_layers(tmp_path: Path):
    model = model_of("lstm", "hmd")
    x = torch.randn(40, *SHAPE)
    split = FeatureSplit(x, torch.arange(40) % 3, torch.zeros(40, dtype=torch.long))
    folder = tmp_path / "bundle"
    manifest = write_bundle(
        folder, model, profile.load("host"), x, split, POSITIVE, formats=["tflite"], classes=("a", "b", "c"), about={}
    )
    [stage] = manifest["stages"]
    assert stage["arithmetic"] == "float32"
    [gate] = stage["gated_layers"]
    assert (gate["kind"], gate["params"]["factor"], gate["kernel"]["op"]) == ("hmd", 2, "lstm")
    [call] = gate["kernel"]["calls"]
    assert call["skips"] == [] and 0.4 < call["size"] <= 0.5
    parity = verify(model, Bundle(folder), torch.randn(30, *SHAPE))
    assert parity.prediction_agreement == 1.0 and parity.max_abs_error < 1e-5


def test_fewer_parameters_are_fewer_bytes_of_the_program():
    sizes = {}
    for kind in (None, "hmd"):
        net = RecurrentNet("lstm", 3, (3, 40), hidden=160)
        layers = layer_sites(net, torch.zeros(1, 3, 40))
        gates = (PlacedGate.of(kind, "rnn.0", factor=4),) if kind else ()
        model = GatedModel(net, GatePlan(gates, ("host",)), (), 3, layers=layers).eval()
        sizes[kind] = len(convert(model.stages[0], torch.zeros(1, 3, 40)))
    matrices = 4 * 4 * 160 * (160 + 40)  # bytes
    assert sizes[None] - sizes["hmd"] > 0.7 * matrices


@pytest.mark.parametrize("kind", [None, "hmd"])
def test_the_onnx_file_agrees_with_the_network(kind):
    import onnxruntime

    model = model_of("lstm", kind)
    x = torch.randn(6, *SHAPE)
    [stage] = passes.run(model, x, profile.load("host"))
    assert arithmetic(needs(stage.program), profile.load("three_core").core("npu")) == "float32"
    blob = onnx.compile(stage)
    session = onnxruntime.InferenceSession(blob, providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = model(x).logits.clamp(min=stage.logit_offset) - stage.logit_offset
    outputs = [session.run(None, {session.get_inputs()[0].name: s[None].numpy()})[0] for s in x]
    np.testing.assert_allclose(np.concatenate(outputs), expected.numpy(), atol=1e-5)


def test_micro_runs_more_steps_than_it_concatenates():
    torch.manual_seed(0)
    net = RecurrentNet("lstm", 3, (11, 12), hidden=4).eval()
    x = torch.randn(1, 11, 12)
    blob = convert(net, x)
    micro, host = Program(blob, "tflm"), Program(blob)
    np.testing.assert_allclose(micro(x.numpy())[0], host(x.numpy())[0], atol=1e-5)


def test_a_projecting_lstm_is_left_to_the_converter():
    layer = nn.LSTM(4, 6, proj_size=3, batch_first=True).eval()
    assert rewrite_operators(layer) is layer
