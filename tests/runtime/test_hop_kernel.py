"""Steps by C kernels give LiteRT's integers and those of a whole window, for random networks and gate histories."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st
from torch import nn

from gatesearch.compile.hop_programs import HopPrograms, compile_hops
from gatesearch.compile.tflite import channel_last_axis
from gatesearch.errors import UserError
from gatesearch.graph.hops import HopNetwork
from gatesearch.kernels import native
from gatesearch.runtime.cascade import Array
from gatesearch.runtime.hop_kernel import HopKernel
from gatesearch.runtime.program import Program
from gatesearch.runtime.stage_operators import Unsupported
from tests.graph.hops.backbones import Last, Mean, Residual, networks

LIBRARY = native.load()
HOPS = 10
pytestmark = pytest.mark.skipif(LIBRARY is None, reason="no C compiler")


class Words(nn.Module):
    """A network of the layers that wake-word networks have: strided stem, depthwise and pointwise, two poolings."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, (5, 4), (2, 2), padding=(0, 1))
        self.deep, self.point = nn.Conv2d(8, 8, 3, padding=(0, 1), groups=8), nn.Conv2d(8, 20, 1)
        self.dilated = nn.Conv2d(20, 20, (2, 1), dilation=(3, 1))
        self.pool, self.last = nn.MaxPool2d((6, 1)), nn.Linear(20 * 5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.point(torch.relu(self.deep(torch.relu(self.stem(x))))))
        return self.last(self.pool(torch.relu(self.dilated(x)))[:, :, -1:].flatten(1))


def compile_steps(network: nn.Module, shape: tuple[int, ...], hop: int, seed: int) -> tuple[HopNetwork, HopPrograms]:
    by_hops = HopNetwork(network, shape, time_axis=1, hop=hop).eval()
    samples = torch.randn(24, *shape, generator=torch.Generator().manual_seed(seed))
    return by_hops, compile_hops(by_hops, samples)


def check_history(by_hops: HopNetwork, programs: HopPrograms, is_open: list[bool], seed: int) -> None:
    """Run a stream; at hops that are open, compare C with LiteRT's step and with the whole window."""
    frames, rank = by_hops.frames, len(programs_shape(programs))
    assert frames is not None and LIBRARY is not None
    axis = channel_last_axis(frames.axis, rank)
    step, whole = Program(programs.step), Program(programs.catch_up)
    kernel = HopKernel(programs.step, step.inputs, step.outputs, (axis, [0]), LIBRARY)
    shape = list(whole.inputs[0].shape)
    shape[axis] += frames.hop * len(is_open)
    stream = np.moveaxis(np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8), axis, 0)
    state: tuple[Array, ...] | None = None
    for hop, opens in enumerate([True, *is_open]):
        window = stream[hop * frames.hop : hop * frames.hop + frames.count]
        expected = whole(as_input(window, axis))
        if not opens:
            state = None
        elif state is None:
            state = expected[1:]
            kernel.set_state(join(state))
        else:
            fresh = np.ascontiguousarray(window[-frames.fresh :])
            by_litert = step(as_input(fresh, axis), *state)
            state = by_litert[1:]
            (by_kernel,) = kernel.run(fresh, 0, fresh.size, 1)
            assert by_kernel.ravel().tolist() == by_litert[0].ravel().tolist() == expected[0].ravel().tolist()
            assert kernel.state.tolist() == join(state).tolist()


def join(state: tuple[Array, ...]) -> Array:
    """Return all values of a state, int8 [n]; a network that reads each frame once has none."""
    return np.concatenate([np.zeros(0, np.int8), *(each.ravel() for each in state)])


def programs_shape(programs: HopPrograms) -> tuple[int, ...]:
    return Program(programs.step).inputs[0].shape


def as_input(frames: Array, axis: int) -> Array:
    return np.ascontiguousarray(np.moveaxis(frames, 0, axis))


@pytest.fixture(scope="module")
def words() -> tuple[HopNetwork, HopPrograms]:
    torch.manual_seed(0)
    return compile_steps(Words().eval(), (1, 29, 10), 2, seed=0)


@settings(max_examples=20)
@given(is_open=st.lists(st.booleans(), min_size=1, max_size=HOPS), seed=st.integers(0, 999))
def test_a_step_in_c_equals_litert_and_the_window_whatever_its_gate_did(words, is_open, seed):
    check_history(*words, is_open, seed)


@settings(max_examples=30)
@given(cuts=st.lists(st.integers(1, 7), min_size=1, max_size=6), seed=st.integers(0, 999))
def test_many_hops_in_one_call_equal_single_ones(words, cuts, seed):
    step = Program(words[1].step)
    assert LIBRARY is not None
    single, several = (HopKernel(words[1].step, step.inputs, step.outputs, (1, [0]), LIBRARY) for _ in range(2))
    frames = np.random.default_rng(seed).integers(-128, 128, (sum(cuts), single.size)).astype(np.int8)
    expected = np.concatenate([single.run(frames, k * single.size, 0, 1)[0] for k in range(len(frames))])
    starts = np.cumsum([0, *cuts])
    outputs = [
        several.run(frames, start * single.size, single.size, count)[0]
        for start, count in zip(starts.tolist(), cuts, strict=False)
    ]
    assert np.concatenate(outputs).tolist() == expected.tolist()


# A draw takes seconds to compile, so a failing one is not made smaller.
@settings(
    max_examples=5,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    phases=[Phase.explicit, Phase.generate],
)
@given(
    drawn=networks(ends=("flatten", "pool", "last")),
    factor=st.integers(1, 2),
    is_open=st.lists(st.booleans(), min_size=1, max_size=HOPS),
    seed=st.integers(0, 999),
)
def test_random_networks_step_in_c_as_in_litert_and_as_on_the_window(drawn, factor, is_open, seed):
    network, shape, stride = drawn
    try:
        programs = compile_steps(network, shape, stride * factor, seed)
    except UserError as error:
        event(f"no programs: {str(error)[:40]}")
        return
    try:
        check_history(*programs, is_open, seed)
        event("by kernels")
    except Unsupported as error:
        event(f"unsupported: {error}")


@pytest.mark.parametrize("is_open", [[False], [True, True, False, True, True]])
def test_a_state_that_the_same_hop_reads_steps_in_c(is_open):
    torch.manual_seed(1)
    network = nn.Sequential(nn.Conv1d(2, 1, 1), nn.AvgPool1d(2, 1), nn.AvgPool1d(17)).eval()
    check_history(*compile_steps(network, (2, 18), 1, seed=1), is_open, seed=1)


@pytest.mark.parametrize("is_open", [[False], [True, True, False, True]])
def test_a_network_without_a_state_steps_in_c(is_open):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 1, (1, 3), padding=(0, 1)), Last()).eval()
    check_history(*compile_steps(network, (1, 16, 3), 1, seed=0), is_open, seed=0)


class Squeeze(nn.Module):
    """Scales each channel of a frame by a function of the frame's mean over the bins, as squeeze and excitation do."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(channels, 4, 1), nn.Conv2d(4, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.sigmoid(self.up(torch.relu(self.down(x.mean(3, keepdim=True)))))


class Product(nn.Module):
    """The product of two convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.one, self.two = (nn.Conv2d(channels, channels, (2, 3), padding=(0, 1)) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.one(x) * torch.tanh(self.two(x))


def make_layer(kind: str, channels: int) -> nn.Module:
    layers: dict[str, Callable[[], nn.Module]] = {
        "residual": lambda: Residual(nn.Conv2d(channels, channels, 3, padding=(0, 1)), 2),
        "dilated": lambda: Residual(nn.Conv2d(channels, channels, 3, padding=(0, 2), dilation=2), 4),
        "depthwise": lambda: nn.Conv2d(channels, 2 * channels, (2, 3), padding=(0, 1), groups=channels),
        "squeeze": lambda: Squeeze(channels),
        "product": lambda: Product(channels),
        "average": lambda: nn.AvgPool2d((2, 1), stride=1),
        "relu": nn.ReLU,
        "hardswish": nn.Hardswish,
    }
    return layers[kind]()


LAYERS = ("residual", "dilated", "depthwise", "squeeze", "product", "average", "relu", "hardswish")
ENDS: dict[str, Callable[[], nn.Module]] = {"mean": Mean, "last": Last}


@settings(max_examples=6, suppress_health_check=[HealthCheck.too_slow], phases=[Phase.explicit, Phase.generate])
@given(
    kinds=st.lists(st.sampled_from(LAYERS), min_size=1, max_size=3),
    stride=st.integers(1, 2),
    end=st.sampled_from(sorted(ENDS)),
    is_open=st.lists(st.booleans(), min_size=1, max_size=HOPS),
    seed=st.integers(0, 999),
)
def test_networks_with_sums_products_and_means_step_in_c(kinds, stride, end, is_open, seed):
    torch.manual_seed(seed)
    layers: list[nn.Module] = [nn.Conv2d(1, 6, (3, 2), stride=(stride, 1))]
    channels = 6
    for kind in kinds:
        layers.append(make_layer(kind, channels))
        channels *= 2 if kind == "depthwise" else 1
    network = nn.Sequential(*layers, ENDS[end]()).eval()
    check_history(*compile_steps(network, (1, 30, 5), stride, seed), is_open, seed)


def test_a_program_without_kernels_is_refused_in_one_line():
    class Quotient(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Conv2d(1, 4, (3, 2)), nn.Conv2d(1, 4, (3, 2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (self.one(x) / (2 + torch.sigmoid(self.two(x))))[:, :, -1:].flatten(1)

    torch.manual_seed(0)
    _, programs = compile_steps(Quotient().eval(), (1, 12, 4), 2, seed=0)
    step = Program(programs.step)
    assert LIBRARY is not None
    with pytest.raises(Unsupported, match="no kernel for D"):
        HopKernel(programs.step, step.inputs, step.outputs, (1, [0]), LIBRARY)


def test_frames_outside_the_array_are_refused(words):
    step = Program(words[1].step)
    assert LIBRARY is not None
    kernel = HopKernel(words[1].step, step.inputs, step.outputs, (1, [0]), LIBRARY)
    frames = np.zeros((3, kernel.size), np.int8)
    with pytest.raises(ValueError, match=r"4 hops of 20 values, 20 apart from 0 on, of 60"):
        kernel.run(frames, 0, kernel.size, 4)
    with pytest.raises(ValueError, match="int8 and contiguous"):
        kernel.run(frames[:, ::2], 0, kernel.size, 1)
