"""Pass: scales the channels of an activation to one range, so that one int8 scale suits them all.

The pass assumes folded batch normalisations, evaluation mode and a graph that may be changed. It keeps the function up
to rounding. A convolution that runs twice, or shares a parameter with another layer, stays as it is.

The method is cross-layer equalisation (Nagel et al. 2019, arXiv 1906.04721, section 4.1). A ReLU commutes with a
positive factor s_i for each channel i. So between two convolutions, with weights W1 and W2 and the bias b1, a channel
can be scaled up on one side and down on the other:

    W2 relu(W1 x + b1) = (W2 / s) relu(s W1 x + s b1)        for any s_i > 0

In the paper, s_i makes the ranges of both weights of a channel equal (equation 11). In .tflite each output channel of
the weights has a scale of its own, so the weights need no equalisation. The activation has one scale for all its
channels, so channels with small values are rounded coarsely. So in this pass, s_i scales each channel up towards the
activation's range. r_i is the largest value observed on channel i, and max r is the largest r_i:

- Depthwise weights behind the ReLU have a scale for each channel and lose nothing: s_i = max r / r_i.
- Other weights have one scale for all input channels. They lose precision where the activation gains it. So s_i is the
  geometric mean of the factor that suits the activation and the factor that suits the weights:
  s_i = sqrt(max r / r_i * w_i / max w). Here, w_i is the largest absolute weight that multiplies channel i, and max w
  is the largest w_i.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn

from gatesearch.compile.fold import is_plain
from gatesearch.compile.stage import StageGraph
from gatesearch.graph.module_types import RELUS, is_depthwise, module_at

LARGEST_FACTOR = 64.0  # limit of s_i for depthwise weights; channels that are hardly ever above zero reach it
LARGEST_SHARED_FACTOR = 8.0  # limit of s_i for weights with one scale for all input channels
SMALLEST_RANGE = 1e-6  # lower bound of r_i and w_i, against division by zero


def equalise_channels(stage: StageGraph) -> StageGraph:
    """Equalise a stage's graph in place, with the ranges of its activations on the stage's samples."""
    equalise(stage.body, stage.samples)
    return stage


@torch.no_grad()
def equalise(body: nn.Module, samples: Tensor) -> None:
    """Scale channels in place.

    Args:
        body: a traced module in evaluation mode; a module of another kind stays as it is.
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
        largest = _output_of(body, pair.activation, samples).amax((0, 2, 3)).clamp(min=SMALLEST_RANGE)
        room = largest.max() / largest  # max r / r_i
        if is_depthwise(pair.reader):
            factor = room.clamp(1.0, LARGEST_FACTOR)
            over_inputs = (-1, 1, 1, 1)  # the weight is [channels, 1, kh, kw]
        else:
            weight = pair.reader.weight.abs().amax((0, 2, 3)).clamp(min=SMALLEST_RANGE)
            factor = (room * weight / weight.max()).sqrt().clamp(1 / LARGEST_SHARED_FACTOR, LARGEST_SHARED_FACTOR)
            over_inputs = (1, -1, 1, 1)  # the weight is [out, channels, kh, kw]
        pair.producer.weight.mul_(factor.view(-1, 1, 1, 1))
        if pair.producer.bias is not None:
            pair.producer.bias.mul_(factor)
        pair.reader.weight.div_(factor.view(over_inputs))


class _Pair(NamedTuple):
    """A convolution, the node of the ReLU behind it, and a second convolution, which alone reads the ReLU's output."""

    producer: nn.Conv2d
    activation: fx.Node
    reader: nn.Conv2d


def _pairs(body: fx.GraphModule) -> Iterator[_Pair]:
    owned = _unshared_convolutions(body)
    for node in body.graph.nodes:
        reader = module_at(body, node)
        if reader not in owned or not (reader.groups == 1 or is_depthwise(reader)):
            continue
        activation = source = node.all_input_nodes[0]
        if not isinstance(module_at(body, activation), RELUS) or len(activation.users) != 1:
            continue
        while isinstance(module_at(body, source), (*RELUS, nn.Identity)) and len(source.users) == 1:
            source = source.all_input_nodes[0]
        producer = module_at(body, source)
        if producer in owned and len(source.users) == 1:
            yield _Pair(producer, activation, reader)


def _unshared_convolutions(body: fx.GraphModule) -> set[nn.Conv2d]:
    """Return the plain convolutions that run once and share no parameter, so that scaling them changes nothing else."""
    calls = Counter(node.target for node in body.graph.nodes if node.op in ("call_module", "get_attr"))
    owners = Counter(id(parameter) for _, parameter in body.named_parameters(remove_duplicate=False))
    return {
        module
        for name, module in body.named_modules()
        if isinstance(module, nn.Conv2d)
        and is_plain(module, nn.Conv2d)
        and calls[name] == 1
        and all(owners[id(parameter)] == 1 for parameter in module.parameters())
        and not any(calls[f"{name}.{own}"] for own, _ in module.named_parameters())
    }


class _Recorder(fx.Interpreter):
    """Runs a graph and stores the output of one node.

    A hook on the node's module would not do, because it would also see the module's calls from other nodes.
    """

    def __init__(self, body: fx.GraphModule, node: fx.Node) -> None:
        super().__init__(body)
        self.node, self.value = node, torch.empty(0)

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if n is self.node:
            self.value = result
        return result


def _output_of(body: fx.GraphModule, node: fx.Node, samples: Tensor) -> Tensor:
    """Return the output of a node of the graph over the samples."""
    recorder = _Recorder(body, node)
    recorder.run(samples)
    return recorder.value
