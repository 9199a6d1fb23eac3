"""Tests of traces of networks with constants, operations in place, stored state or random numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from gatesearch.errors import UserError
from gatesearch.graph.sites import cut_sites
from gatesearch.graph.trace import trace
from gatesearch.model import split

MEAN, STD = (0.485, 0.456, 0.406), (0.23, 0.22, 0.22)


class Net(nn.Module):
    """A network of two convolutions; ``change`` applies to the input, ``middle`` between the convolutions."""

    def __init__(self, change: Callable[[Any, Any], Any] | None = None, middle: Any = None) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(4, 2)
        self.register_buffer("seen", torch.zeros(1))
        self.calls = 0
        self.change, self.middle = change, middle

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.change is None else self.change(self, x)
        x = torch.relu(self.a(x))
        x = x if self.middle is None else self.middle(x)
        return self.head(torch.relu(self.b(x)).mean((2, 3)))


def normalise(net: Any, x: Tensor) -> Tensor:
    return (x - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)


def count(net: Any, x: Tensor) -> Tensor:
    net.calls += 1
    return x


ACCEPTED = {
    "normalise": normalise,
    "zeros": lambda net, x: x + torch.zeros(1, 3, 1, 1),
    "ones": lambda net, x: x * torch.ones(3, 1, 1),
    "arange": lambda net, x: x + torch.arange(8) / 8,
    "arange by size": lambda net, x: x + torch.arange(x.size(3)) / x.size(3),
    "linspace": lambda net, x: x + torch.linspace(0, 1, 8),
    "eye": lambda net, x: x @ torch.eye(8),
    "double": lambda net, x: x * torch.tensor(0.5, dtype=torch.float64),
    "two of one kind": lambda net, x: x * torch.tensor(2.0) + torch.tensor(1.0),
    "buffer": lambda net, x: x - net.seen,
    "calls are counted": count,
}


@pytest.mark.parametrize("change", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_a_tensor_constant_of_a_forward_is_a_buffer_of_the_traced_graph_alone(change: Any) -> None:
    torch.manual_seed(0)
    check_constants(Net(change).eval())


# The places in which programs keep a tensor that is no parameter, each with a function that finds it there.
PLACES: dict[str, tuple[Callable[[Tensor], Any], Callable[[Any], Tensor]]] = {
    "attribute": (lambda value: value, lambda held: held),
    "list": (lambda value: [1.0, value], lambda held: held[1]),
    "nested tuple": (lambda value: ((value,), "scale"), lambda held: held[0][0]),
    "dictionary": (lambda value: {"scale": value}, lambda held: held["scale"]),
    "closure": (lambda value: lambda: value, lambda held: held()),
    "copy in the forward": (lambda value: value.tolist(), torch.tensor),
    "buffer": (nn.Buffer, lambda held: held),
    "buffer outside the state": (lambda value: nn.Buffer(value, persistent=False), lambda held: held),
}
SHAPES = [(), (1,), (3, 1, 1), (8,), (1, 3, 8, 8)]
COMBINATIONS = [torch.add, torch.mul, torch.sub, torch.maximum, lambda x, held: torch.where(x > held, x, held)]


@given(
    places=st.lists(st.sampled_from(sorted(PLACES)), min_size=1, max_size=3),
    shape=st.sampled_from(SHAPES),
    combine=st.sampled_from(COMBINATIONS),
    seed=st.integers(0, 99),
)
def test_a_tensor_constant_may_be_kept_in_any_place(
    places: list[str], shape: tuple[int, ...], combine: Callable[[Any, Any], Any], seed: int
) -> None:
    torch.manual_seed(seed)

    def change(net: Any, x: Any) -> Any:
        for number, place in enumerate(places):
            x = combine(x, PLACES[place][1](getattr(net, f"held{number}")))
        return x

    net = Net(change)
    for number, place in enumerate(places):
        setattr(net, f"held{number}", PLACES[place][0](torch.rand(shape)))
    check_constants(net.eval())


def check_constants(net: nn.Module) -> None:
    """Check that a trace computes the same values as a network, and leaves the network as it is."""
    x = torch.randn(2, 3, 8, 8)
    expected, before, state = net(x), dict(vars(net)), [*net.state_dict()]
    sites = cut_sites(net, x)
    assert sites[0].name == "input" and len(sites) > 1
    assert vars(net) == before and [*net.state_dict()] == state
    hidden = x
    for stage in split(net, [site.node for site in sites]):
        hidden = stage(hidden)
    assert torch.equal(hidden, expected)
    assert str(trace(trace(net)).graph) == str(trace(net).graph)


def changes_by_method(net: Any, x: Tensor) -> Tensor:
    net.seen.add_(1)
    return x - net.seen


def changes_by_data(net: Any, x: Tensor) -> Tensor:
    net.seen.copy_(x.mean())
    return x - net.seen


def assigns(net: Any, x: Tensor) -> Tensor:
    net.seen = 0.9 * net.seen + 0.1 * x.mean()
    return x - net.seen


@pytest.mark.parametrize("change", [changes_by_method, changes_by_data, assigns])
def test_a_network_that_remembers_earlier_windows_is_refused(change: Any) -> None:
    net = Net(change)
    before = net.seen
    with pytest.raises(UserError, match=r"Net.* changes 'seen'.*no memory of earlier windows") as error:
        trace(net)
    assert "\n" not in str(error.value) and net.seen is before and float(net.seen) == 0


@pytest.mark.parametrize("draw", [torch.randn, torch.rand])
def test_random_constants_are_refused(draw: Any) -> None:
    with pytest.raises(UserError, match="Net draws random numbers in its forward"):
        trace(Net(lambda net, x: x + draw(3, 1, 1)))


def test_a_forward_that_reads_self_training_is_refused() -> None:
    for change in (
        lambda net, x: F.dropout(x, 0.5, net.training),
        lambda net, x: x + torch.tensor(float(net.training)),
    ):
        with pytest.raises(UserError, match=r"reads self\.training"):
            trace(Net(change))


def add_itself(x: Tensor) -> Tensor:
    y = torch.sigmoid(x)
    y += x
    return y


def half(x: Tensor) -> Tensor:
    x.mul_(0.5)
    return x


def clear(x: Tensor) -> Tensor:
    y = x * 2
    y.zero_()
    return x + y


def alias(x: Tensor) -> Tensor:
    same = x
    x.sub_(1.0)
    return same * x


def rows(x: Tensor) -> Tensor:
    size = x.shape[2]
    first = size
    size -= 2
    return x[:, :, :size] + float(1) * first


IN_PLACE = [
    add_itself, half, clear, alias, rows, F.relu_, torch.sigmoid_, lambda x: F.leaky_relu(x, 0.1, inplace=True),
    nn.ReLU(inplace=True), nn.Hardtanh(inplace=True),
]  # fmt: skip


@given(middle=st.lists(st.sampled_from(IN_PLACE), min_size=1, max_size=3), seed=st.integers(0, 99))
def test_operations_in_place_are_edges_of_the_graph(middle: list[Any], seed: int) -> None:
    def run(x: Tensor) -> Tensor:
        for function in middle:
            x = function(x)
        return x

    torch.manual_seed(seed)
    net, x = Net(middle=run), torch.randn(2, 3, 12, 12)
    net.extra = nn.ModuleList(function for function in middle if isinstance(function, nn.Module))
    net.eval()
    with torch.no_grad():
        expected, traced = net(x.clone()), trace(net)
        assert torch.equal(traced(x), expected)
    for node in traced.graph.nodes:
        if node.op in ("call_method", "call_function"):
            name = str(getattr(node.target, "__name__", node.target))
            assert not (name.startswith("i") and name[1:] in ("add", "sub", "mul")) and not name.endswith("_"), name
            assert node.op == "call_function" or node.users, f"nothing reads {node}"


def write_into_a_part(x: Tensor) -> Tensor:
    part = x[:, :2]
    part.mul_(0.0)
    return x


def write_into_the_whole(x: Tensor) -> Tensor:
    part = x.flatten(2)
    x.mul_(2.0)
    return x + part.view(x.shape)


@pytest.mark.parametrize("middle", [write_into_a_part, write_into_the_whole])
def test_writing_into_shared_memory_is_refused(middle: Any) -> None:
    with pytest.raises(UserError, match=r"mul_ in its forward writes into"):
        trace(Net(middle=middle))
