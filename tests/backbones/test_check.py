"""Tests that a network which a run cannot train is refused in one line before the run begins."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from gatesearch.backbones import check_batches, check_network
from gatesearch.errors import UserError
from tests.nets import NETS, build


def net(depth: int = 2) -> nn.Sequential:
    layers = [layer for _ in range(depth) for layer in (nn.Conv2d(2, 2, 3, padding=1), nn.ReLU())]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(2 * 6 * 6, 3))


class Forward(nn.Module):
    """A network whose forward calls a given function with the network and the input."""

    def __init__(self, function: Callable[..., object], inner: nn.Module) -> None:
        super().__init__()
        self.function, self.inner = function, inner

    def forward(self, x: Tensor) -> object:
        return self.function(self, x)


def set_child(network: nn.Module, index: int, change: Callable[[nn.Module], nn.Module]) -> nn.Module:
    """Replace a layer with parameters by the result of ``change``; ``index`` selects the layer, modulo their number."""
    names = [name for name, module in network.named_children() if list(module.parameters())]
    name = names[index % len(names)]
    network.set_submodule(name, change(network.get_submodule(name)))
    return network


def quantised(layer: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(8, 8)), {nn.Linear})[0]


def tied(network: nn.Module, index: int) -> nn.Module:
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    convolutions[-1].weight = convolutions[index % (len(convolutions) - 1)].weight
    return network


def spoiled(layer: nn.Module) -> nn.Module:
    with torch.no_grad():
        next(layer.parameters()).view(-1)[0] = float("nan")
    return layer


def hooked(network: nn.Module, kind: str) -> nn.Module:
    getattr(network, kind)(lambda *_: None)
    return network


def gradient_hook(layer: nn.Module) -> nn.Module:
    next(layer.parameters()).register_hook(lambda gradient: gradient * 0)
    return layer


FORMS: dict[str, tuple[Callable[[nn.Module, int], nn.Module], str]] = {
    "half": (lambda n, i: set_child(n, i, nn.Module.half), "is float16; a run trains in float32"),
    "double": (lambda n, i: n.double(), "is float64; a run trains in float32"),
    "frozen": (lambda n, i: n.requires_grad_(False), "all parameters are frozen"),
    "compiled": (lambda n, i: torch.compile(n), r"is compiled; .* network\._orig_mod"),
    "compiled layer": (lambda n, i: set_child(n, i, torch.compile), r"is compiled; .*\._orig_mod"),
    "parallel": (lambda n, i: nn.DataParallel(n), r"wrapped for several devices; .* network\.module"),
    "scripted": (lambda n, i: torch.jit.script(n), "is TorchScript"),
    "meta": (lambda n, i: set_child(n, i, lambda layer: layer.to("meta")), "is on the meta device"),
    "lazy": (lambda n, i: set_child(n, i, lambda _: nn.LazyConv2d(2, 3)), "the layer is lazy; run one sample"),
    "quantised": (lambda n, i: set_child(n, i, quantised), "is quantised; a run quantises at export"),
    "shared": (tied, "are one tensor; gates and export treat each layer alone"),
    "not finite": (lambda n, i: set_child(n, i, spoiled), "holds values that are not finite"),
    "forward hook": (lambda n, i: hooked(n, "register_forward_hook"), "has hooks, which tracing would lose"),
    "forward pre-hook": (lambda n, i: hooked(n, "register_forward_pre_hook"), "has hooks, which tracing would lose"),
    "backward hook": (lambda n, i: hooked(n, "register_full_backward_hook"), "has hooks, which tracing would lose"),
    "gradient hook": (lambda n, i: set_child(n, i, gradient_hook), "has gradient hooks"),
    "empty": (lambda n, i: nn.Flatten(), "has no parameters"),
}


@pytest.mark.filterwarnings("ignore")
@given(depth=st.integers(2, 4), layer=st.integers(0, 9), form=st.sampled_from(sorted(FORMS)), deep=st.booleans())
def test_a_form_that_cannot_be_trained_is_refused_in_one_line(depth: int, layer: int, form: str, deep: bool) -> None:
    change, message = FORMS[form]
    network = change(net(depth), layer)
    if deep and form not in ("frozen", "empty"):  # puts the network inside a larger one
        network = nn.Sequential(network, nn.ReLU())
        message = message.replace(r" network\.", r" 0\.")
    with pytest.raises(UserError, match=rf"^given: \w+: .*{message}") as error:
        check_network(network, "given")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", NETS)
def test_networks_that_can_be_trained_pass_and_stay_as_they_are(name: str) -> None:
    network, shape = build(name)
    state = copy.deepcopy(network.state_dict())
    modes = [module.training for module in network.modules()]
    assert check_network(network) is network
    assert check_batches(network, torch.randn(3, *shape)) == (3,)
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())
    assert [module.training for module in network.modules()] == modes


def test_a_network_with_some_frozen_layers_or_hooks_on_layers_passes() -> None:
    network = net()
    network[0].requires_grad_(False)
    network[2].register_forward_hook(lambda *_: None)
    assert check_network(network) is network


OUTPUTS: dict[str, tuple[Callable[..., object], str]] = {
    "flattened batch": (
        lambda s, x: s.inner(x).flatten(),
        r"returns \[6\] for 2 samples, not \[2, \.\.\.\]; its",
    ),
    "a view of one sample": (lambda s, x: s.inner(x).view(1, -1), r"returns \[1, 6\] for 2 samples"),
    "squeezed": (lambda s, x: s.inner(x).squeeze()[..., 0], r"returns \[2\] for 2 samples|returns \[\] for"),
    "a dict": (lambda s, x: {"logits": s.inner(x)}, "returns a dict of logits; a run needs one tensor"),
    "a tuple": (lambda s, x: (s.inner(x), x), "returns a tuple of 2 values"),
    "nothing": (lambda s, x: None, "returns a NoneType"),
    "classes": (lambda s, x: s.inner(x).argmax(1), "returns int64; a run needs real numbers"),
    "complex": (lambda s, x: torch.fft.fft(s.inner(x)), "returns complex64"),
    "infinite": (lambda s, x: s.inner(x) / 0, "returns values that are not finite"),
    "softmax over the batch": (lambda s, x: s.inner(x).softmax(0), "depends on the others of its batch"),
    "an error": (lambda s, x: s.inner(x[:, :1]), r"does not accept an input \[1, 2, 6, 6\]"),
    "one sample alone": (lambda s, x: s.inner(x.view(1, 2, 6, 6)), r"does not accept an input \[2, 2, 6, 6\]: .*; its"),
}


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize("count", [1, 2, 5])
def test_outputs_that_are_no_tensor_with_a_row_a_sample_are_refused(name: str, count: int) -> None:
    function, message = OUTPUTS[name]
    torch.manual_seed(0)
    with pytest.raises(UserError, match=f"^backbone: Forward:? {message}|^backbone: Forward: .*{message}") as error:
        check_batches(Forward(function, net()), torch.randn(count, 2, 6, 6))
    assert "\n" not in str(error.value)
