"""Tests that int8 programs that compute hop by hop give the outputs of a whole window, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gatesearch.backbones.ds_cnn import DSCNN
from gatesearch.compile import onnx, tflite
from gatesearch.compile.hop_programs import HopPrograms, compile_hops
from gatesearch.errors import UserError
from gatesearch.graph.hops import HopNetwork, rewrite_for_hops
from gatesearch.runtime.program import Program

FRAMES, HOP, HOPS = 29, 2, 12


class Residual(nn.Module):
    """A strided stem, two joined branches, a dilated layer with a cropped shortcut, and maximum pooling over time."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, (5, 3), (2, 2))
        self.left, self.right = nn.Conv2d(4, 3, (3, 1)), nn.Conv2d(4, 3, (3, 1))
        self.dilated = nn.Conv2d(6, 6, (3, 1), dilation=(2, 1))
        self.pool, self.last = nn.MaxPool2d((7, 1)), nn.Linear(24, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        x = torch.relu(torch.cat([self.left(x), self.right(x)], 1))
        x = x[:, :, 2:-2] + self.dilated(x)
        return self.last(self.pool(x).flatten(1))


def separable() -> nn.Module:
    network = DSCNN(12, (1, FRAMES, 10), width=8, blocks=2)
    return rewrite_for_hops(network, (1, FRAMES, 10), time_axis=1).network


@pytest.fixture(scope="module", params=[separable, Residual], ids=["separable", "residual"])
def case(request) -> tuple[nn.Module, Tensor, HopPrograms]:
    torch.manual_seed(0)
    network = request.param().eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2.0)
    samples = torch.randn(16, 1, FRAMES, 10)
    return network, samples, compile_hops(HopNetwork(network, (1, FRAMES, 10), time_axis=1, hop=HOP), samples)


@pytest.mark.parametrize("engine", ["litert", "reference", "tflm"])
def test_each_hop_in_int8_equals_the_whole_window_bit_for_bit(case, engine):
    network, samples, programs = case
    window_program = tflite.quantise(tflite.convert(network, samples[:1]), tflite.channel_last(samples.numpy()))
    window, step, catch_up = (Program(each, engine) for each in (window_program, programs.step, programs.catch_up))
    assert [spec.scale for spec in step.inputs[1:]] == [spec.scale for spec in step.outputs[1:]]
    assert [spec.scale for spec in step.outputs] == [spec.scale for spec in catch_up.outputs]
    assert step.outputs[0].scale == window.outputs[0].scale
    stream = torch.randn(1, 1, FRAMES + HOP * HOPS, 10, generator=torch.Generator().manual_seed(1))
    raw = window.inputs[0].quantise(tflite.channel_last(stream.numpy()))
    gate_is_open = np.random.default_rng(2).random(HOPS) < 0.7
    output, *state = catch_up(raw[:, :FRAMES])
    np.testing.assert_array_equal(output, window(raw[:, :FRAMES])[0])
    stale = False
    for k, is_open in enumerate(gate_is_open, 1):
        whole = np.ascontiguousarray(raw[:, k * HOP : k * HOP + FRAMES])
        if not is_open:
            stale = True
            continue
        output, *state = catch_up(whole) if stale else step(np.ascontiguousarray(whole[:, -HOP:]), *state)
        stale = False
        np.testing.assert_array_equal(output, window(whole)[0])


def test_a_step_runs_in_onnx_runtime_with_its_state_outside():
    runtime = pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    network = separable().eval()
    by_hops = HopNetwork(network, (1, FRAMES, 10), time_axis=1, hop=HOP).eval()
    stream = torch.randn(1, 1, FRAMES + HOP * HOPS, 10)
    with torch.no_grad():
        _, state = by_hops.catch_up(stream[:, :, :FRAMES])
        model = onnx.convert(by_hops.step, (stream[:, :, -HOP:], *state))
        session = runtime.InferenceSession(model, providers=["CPUExecutionProvider"])
        names, arrays = [each.name for each in session.get_inputs()], [each.numpy() for each in state]
        for k in range(1, HOPS + 1):
            fresh = stream[:, :, FRAMES + (k - 1) * HOP : FRAMES + k * HOP].numpy()
            output, *arrays = session.run(None, dict(zip(names, [fresh, *arrays], strict=True)))
            whole = network(stream[:, :, k * HOP : k * HOP + FRAMES]).numpy()
            np.testing.assert_allclose(output, whole, rtol=1e-5, atol=1e-6)


def test_recurrent_layers_are_refused_in_one_line():
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.GRU(3, 4, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.rnn(x)[0][:, -1]

    network = HopNetwork(Recurrent().eval(), (20, 3), time_axis=0, hop=1, memory="stream")
    with pytest.raises(UserError, match=r"^hops: recurrent layers have no int8 program; use instead"):
        compile_hops(network, torch.zeros(2, 20, 3))
