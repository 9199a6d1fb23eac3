"""Equal ranges for the channels of an activation, so that int8 steps serve all of them.

An activation has one scale for all its channels. Between a convolution and a depthwise convolution, with a ReLU
between, a channel can be scaled up on one side and down on the other without changing the function (Nagel et al.
2019, arXiv 1906.04721, section 4.1); the depthwise weights have a scale for each channel and lose nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, fx, nn

LARGEST = 64.0  # factor: a channel that is nearly never on is not worth more


@torch.no_grad()
def equalise(body: nn.Module, samples: Tensor) -> None:
    """Scale channels in place, batch normalisations being folded already.

    Args:
        body: traced, in evaluation mode; anything else is left as it is.
        samples: inputs [n, ...] that show the range of every channel.

    >>> net = fx.symbolic_trace(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=4)).eval())
    >>> x = torch.randn(8, 1, 9, 9)
    >>> before = net(x)
    >>> equalise(net, x)
    >>> torch.allclose(net(x), before, atol=1e-5)
    True
    """
    if not isinstance(body, fx.GraphModule):
        return
    for producer, activation, depthwise in list(_chains(body)):
        largest = _run_until(body, activation, samples).amax((0, 2, 3))
        factor = (largest.max() / largest.clamp(min=1e-6)).clamp(1.0, LARGEST)
        producer.weight.mul_(factor.view(-1, 1, 1, 1))
        if producer.bias is not None:
            producer.bias.mul_(factor)
        depthwise.weight.div_(factor.view(-1, 1, 1, 1))


def _chains(body: fx.GraphModule) -> Iterator[tuple[nn.Conv2d, fx.Node, nn.Conv2d]]:
    """Yield convolution, the ReLU node behind it, depthwise convolution, where nothing else reads what is between."""
    for node in body.graph.nodes:
        depthwise = _module(body, node)
        if not (
            isinstance(depthwise, nn.Conv2d) and depthwise.groups == depthwise.in_channels == depthwise.out_channels
        ):
            continue
        activation = before = node.all_input_nodes[0]
        if not isinstance(_module(body, activation), nn.ReLU):
            continue
        while isinstance(_module(body, before), nn.ReLU | nn.Identity) and len(before.users) == 1:
            before = before.all_input_nodes[0]
        producer = _module(body, before)
        if isinstance(producer, nn.Conv2d) and len(before.users) == 1:
            yield producer, activation, depthwise


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
