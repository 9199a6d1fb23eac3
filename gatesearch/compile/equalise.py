"""Equal ranges for the channels of an activation, so that int8 steps serve all of them.

An activation has one scale for all its channels. Between two convolutions with a ReLU between, a channel can be scaled
up on one side and down on the other without changing the function (Nagel et al. 2019, arXiv 1906.04721, section 4.1).
Depthwise weights have a scale for each channel and lose nothing, so the activation gets all of it; where weights share
a scale, what one side gains the other loses, and they meet halfway.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, fx, nn

LARGEST = 64.0  # factor: a channel that is nearly never on is not worth more
LARGEST_SHARED = 8.0  # the same where the weights behind have to make up for it
TINY = 1e-6


@torch.no_grad()
def equalise(body: nn.Module, samples: Tensor) -> None:
    """Scale channels in place, batch normalisations being folded already.

    Args:
        body: traced, in evaluation mode; anything else is left as it is.
        samples: inputs [n, ...] that show the range of every channel.

    >>> chain = nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=4), nn.ReLU(), nn.Conv2d(4, 2, 1)
    >>> net, x = fx.symbolic_trace(nn.Sequential(*chain).eval()), torch.randn(8, 1, 9, 9)
    >>> before = net(x)
    >>> equalise(net, x)
    >>> torch.allclose(net(x), before, atol=1e-5), torch.equal(net(x), before)
    (True, False)
    """
    if not isinstance(body, fx.GraphModule):
        return
    for pair in list(_pairs(body)):
        largest = _run_until(body, pair.activation, samples).amax((0, 2, 3)).clamp(min=TINY)
        room = largest.max() / largest
        if pair.depthwise:
            factor, behind = room.clamp(1.0, LARGEST), (-1, 1, 1, 1)
        else:
            weight = pair.reader.weight.abs().amax((0, 2, 3)).clamp(min=TINY)
            factor = (room * weight / weight.max()).sqrt().clamp(1 / LARGEST_SHARED, LARGEST_SHARED)
            behind = (1, -1, 1, 1)
        pair.producer.weight.mul_(factor.view(-1, 1, 1, 1))
        if pair.producer.bias is not None:
            pair.producer.bias.mul_(factor)
        pair.reader.weight.div_(factor.view(behind))


class _Pair(NamedTuple):
    """A convolution, the node of the ReLU behind it, and the convolution that alone reads it."""

    producer: nn.Conv2d
    activation: fx.Node
    reader: nn.Conv2d

    @property
    def depthwise(self) -> bool:
        return self.reader.groups == self.reader.in_channels == self.reader.out_channels


def _pairs(body: fx.GraphModule) -> Iterator[_Pair]:
    for node in body.graph.nodes:
        reader = _module(body, node)
        if not isinstance(reader, nn.Conv2d):
            continue
        activation = before = node.all_input_nodes[0]
        if not isinstance(_module(body, activation), nn.ReLU) or len(activation.users) != 1:
            continue
        while isinstance(_module(body, before), nn.ReLU | nn.Identity) and len(before.users) == 1:
            before = before.all_input_nodes[0]
        producer = _module(body, before)
        if not isinstance(producer, nn.Conv2d) or len(before.users) != 1:
            continue
        pair = _Pair(producer, activation, reader)
        if pair.depthwise or reader.groups == 1:
            yield pair


def _module(body: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    return body.get_submodule(str(node.target)) if node.op == "call_module" else None


def _run_until(body: fx.GraphModule, last: fx.Node, samples: Tensor) -> Tensor:
    seen: list[Tensor] = []
    handle = body.get_submodule(str(last.target)).register_forward_hook(lambda _, __, output: seen.append(output))
    try:
        body(samples)
    finally:
        handle.remove()
    return seen[0]
