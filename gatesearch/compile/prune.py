"""Pass: removes the channels that a cut gate masks, in the layers before and behind the gate.

The pass assumes that the stage is traced and in evaluation mode, and that its masked inputs are zero. It returns a copy
that computes the same values in the remaining channels. The weights of the copy are plain parameters, without weight
norm or pruning masks. Later passes change this copy in place. A stage without operations becomes the identity.

A masked channel is zero at the gate's output, and a batch normalisation turns it into another constant. The pass
carries the constant of a removed channel from layer to layer, until it can add the constant to the bias of a
convolution or a linear layer. Two operations cannot be changed exactly: a padded convolution over a constant that is
not zero, and a residual addition. Before these, the pass restores the channels, so that the result is the same as with
the mask.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from gatesearch.compile.channel_slices import slice_depthwise, slice_norm, slice_outputs
from gatesearch.compile.channel_subset import Subset, adapt, shape_of
from gatesearch.compile.stage import StageGraph
from gatesearch.graph.channel_axes import along
from gatesearch.graph.module_types import (
    AVERAGE_POOLS,
    ELEMENTWISE,
    ELEMENTWISE_FUNCTIONS,
    MAX_POOLS,
    ZERO_PADS,
    calls_one_of,
    is_batch_norm,
    is_convolution,
    is_depthwise,
    module_at,
)
from gatesearch.graph.plain_weights import fold_weights

MAP_OPERATIONS = MAX_POOLS + AVERAGE_POOLS + ZERO_PADS  # each output channel depends on one input channel


def prune_channels(stage: StageGraph) -> StageGraph:
    """Return the stage without the channels that the gates at its two ends mask."""
    body = cut_channels(
        cast(fx.GraphModule, stage.body),
        torch.zeros(1, *stage.shape),
        inputs=stage.entering,
        outputs=stage.leaving,
        axes=stage.axes,
    )
    operations = [node for node in body.graph.nodes if node.op not in ("placeholder", "output")]
    return replace(stage, body=body if operations else nn.Identity())


def cut_channels(
    stage: fx.GraphModule,
    example: Tensor,
    inputs: Sequence[int] | None = None,
    outputs: Sequence[int] | None = None,
    axes: tuple[int, int] = (0, 0),
) -> fx.GraphModule:
    """Return a copy of a graph without some of its input and output channels.

    Args:
        stage: a traced module with one input, in evaluation mode.
        example: an input [N, ...] with *all* channels; only its shape matters.
        inputs: indices of the input channels that remain; the others are zero. None for all.
        outputs: indices of the output channels that remain; None for all.
        axes: channel axis of a sample at the input and at the output; see
            :attr:`gatesearch.graph.sites.CutSite.channel_axis`.

    >>> net = fx.symbolic_trace(nn.Sequential(nn.Conv2d(4, 6, 1), nn.ReLU(), nn.Conv2d(6, 8, 1)).eval())
    >>> x = torch.randn(1, 4, 5, 5); x[:, [0, 3]] = 0
    >>> cut = cut_channels(net, x, inputs=[1, 2], outputs=[0, 5, 7])
    >>> torch.allclose(cut(x[:, [1, 2]]), net(x)[:, [0, 5, 7]], atol=1e-6)
    True
    """
    stage = copy.deepcopy(stage).eval()
    fold_weights(stage)  # a slice of a layer needs its plain weight
    ShapeProp(stage).propagate(example)
    input_axis, output_axis = (axis + 1 for axis in axes)  # after the batch axis
    if inputs is not None and len(inputs) < example.shape[input_axis]:
        _cut_inputs(stage, Subset(torch.as_tensor(inputs), torch.zeros(example.shape[input_axis]), input_axis))
    if outputs is not None:
        _cut_outputs(stage, torch.as_tensor(outputs), output_axis)
    stage.delete_all_unused_submodules()
    stage.graph.lint()
    stage.recompile()
    return stage


def restores_output(stage: nn.Module) -> bool:
    """Say whether a stage that lacks input channels restores them at its output.

    This is so if no layer of the stage mixes channels.

    >>> net = fx.symbolic_trace(nn.Sequential(nn.Conv2d(4, 4, 1, groups=4), nn.ReLU()).eval())
    >>> restores_output(cut_channels(net, torch.zeros(1, 4, 5, 5), inputs=[1, 2]))
    True
    """
    if not isinstance(stage, fx.GraphModule):
        return False
    result = stage.graph.output_node().args[0]
    return isinstance(result, fx.Node) and isinstance(module_at(stage, result), _RestoreChannels)


def selects_input(stage: nn.Module) -> bool:
    """Say whether a stage that drops output channels already drops them at its input.

    This is so if no layer of the stage mixes channels.

    >>> net = fx.symbolic_trace(nn.Sequential(nn.Conv2d(4, 4, 1, groups=4), nn.ReLU()).eval())
    >>> selects_input(cut_channels(net, torch.zeros(1, 4, 5, 5), outputs=[1, 2]))
    True
    """
    if not isinstance(stage, fx.GraphModule):
        return False
    entering = next(node for node in stage.graph.nodes if node.op == "placeholder")
    return any(isinstance(module_at(stage, user), _Select) for user in entering.users)


def _cut_inputs(stage: fx.GraphModule, entering: Subset) -> None:
    """Remove input channels from the first layers on, up to the operations that need all channels."""
    subsets: dict[fx.Node, Subset] = {}
    complete: dict[fx.Node, fx.Node] = {}  # for a node, the new node that restores all its channels for later readers
    for node in list(stage.graph.nodes):
        if node.op == "placeholder":
            subsets[node] = entering
            continue
        partial = [source for source in node.all_input_nodes if source in subsets]
        if not partial:
            continue
        result = adapt(stage, node, subsets[partial[0]]) if len(node.all_input_nodes) == 1 else None
        if result is None:
            for source in partial:
                if source not in complete:
                    complete[source] = _insert(stage, node, source, _RestoreChannels(subsets[source]))
                node.replace_input_with(source, complete[source])
            continue
        if result.module is not None:
            _replace(stage, node, result.module)
        if result.subset is not None:
            subsets[node] = result.subset


def _cut_outputs(stage: fx.GraphModule, index: Tensor, axis: int) -> None:
    """Remove output channels in the layers from the end of the stage back to the layer that computes the channels.

    An operation that cannot drop channels ends the walk; a selection of the remaining channels is inserted behind it.
    """
    user = stage.graph.output_node()
    node = user.args[0]
    replacements: list[tuple[fx.Node, nn.Module]] = []
    while isinstance(node, fx.Node) and len(node.users) == 1:
        module = module_at(stage, node)
        is_linear = isinstance(module, nn.Linear) and len(shape_of(node)) == axis + 1
        if is_linear or (axis == 1 and is_convolution(module) and module.groups == 1):
            assert module is not None
            replacements.append((node, slice_outputs(module, index)))
            break
        if axis == 1 and is_depthwise(module):
            replacements.append((node, slice_depthwise(module, index)))
        elif axis == 1 and is_batch_norm(module):
            replacements.append((node, slice_norm(module, index)))
        elif not calls_one_of(stage, node, ELEMENTWISE + (MAP_OPERATIONS if axis == 1 else ()), ELEMENTWISE_FUNCTIONS):
            user.replace_input_with(node, _insert(stage, user, node, _Select(index, axis)))
            break
        node, user = node.all_input_nodes[0], node
    else:
        assert isinstance(node, fx.Node)
        user.replace_input_with(node, _insert(stage, user, node, _Select(index, axis)))
    for node, module in replacements:
        _replace(stage, node, module)


class _Select(nn.Module):
    """Selects channels of a tensor by their indices along an axis."""

    index: Tensor

    def __init__(self, index: Tensor, axis: int) -> None:
        super().__init__()
        self.axis = self.works_along = axis
        self.register_buffer("index", index)

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden.index_select(self.axis, self.index)


class _RestoreChannels(nn.Module):
    """Restores all channels of a tensor from a subset; each removed channel gets its constant value."""

    constant: Tensor
    order: Tensor

    def __init__(self, subset: Subset) -> None:
        super().__init__()
        removed = torch.nonzero(subset.dropped).flatten()
        self.axis = self.works_along = subset.axis
        self.register_buffer("constant", subset.fill[subset.dropped])
        self.register_buffer("order", torch.argsort(torch.cat([subset.index, removed])))

    def forward(self, hidden: Tensor) -> Tensor:
        sizes = list(hidden.shape)
        sizes[self.axis] = -1
        constants = along(self.constant, hidden.ndim, self.axis).expand(sizes)
        return torch.cat([hidden, constants], self.axis).index_select(self.axis, self.order)


def _insert(stage: fx.GraphModule, before: fx.Node, source: fx.Node, module: nn.Module) -> fx.Node:
    with stage.graph.inserting_before(before):
        call = stage.graph.call_module(_add(stage, module), (source,))
    call.meta = dict(source.meta)
    return call


def _replace(stage: fx.GraphModule, node: fx.Node, module: nn.Module) -> None:
    node.target = _add(stage, module)


def _add(stage: fx.GraphModule, module: nn.Module) -> str:
    number = 0
    while hasattr(stage, f"cut_{number}"):
        number += 1
    stage.add_submodule(f"cut_{number}", module.eval())
    return f"cut_{number}"
