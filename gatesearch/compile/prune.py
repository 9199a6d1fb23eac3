"""Physical removal of channels: what a channel gate suppresses is cut out of the layers on both sides.

A suppressed channel is zero behind the gate, but not for long: a batch normalisation makes another constant of it. So a
removed channel carries its constant along, layer by layer, until a convolution or a linear layer takes it into its
bias. Where that would not be exact (a padded convolution over a non-zero constant, a residual addition), the channels
are put back at that edge, and the result is the same as with the mask.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeGuard

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.nn import functional as F

from gatesearch.graph.channel_axes import along

ELEMENTWISE_MODULES = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.Hardswish, nn.Hardsigmoid, nn.SiLU, nn.GELU, nn.Sigmoid, nn.Tanh, nn.ELU,
    nn.Dropout, nn.Dropout2d, nn.Identity,
)  # fmt: skip
ELEMENTWISE_FUNCTIONS = (torch.relu, F.relu, F.relu6, F.hardswish, F.silu, F.gelu, torch.sigmoid, torch.tanh)
MAX_POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d)
AVERAGE_POOLS = (nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d)
PADS = (nn.ZeroPad2d,)  # over height and width
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)  # with running statistics; see `_is_norm`


def cut_channels(
    stage: fx.GraphModule,
    example: Tensor,
    inputs: Sequence[int] | None = None,
    outputs: Sequence[int] | None = None,
    axes: tuple[int, int] = (0, 0),
) -> fx.GraphModule:
    """Return a copy of a stage without the channels that are not kept.

    Args:
        stage: a traced module with one input, in evaluation mode.
        example: an input [N, ...] with *all* channels; only its shape matters.
        inputs: indices of the kept input channels, the others being zero; None keeps all.
        outputs: indices of the kept output channels; None keeps all.
        axes: which axis of a sample has the channels, at the input and at the output; see
            :attr:`gatesearch.graph.sites.CutSite.channel_axis`.

    >>> net = fx.symbolic_trace(nn.Sequential(nn.Conv2d(4, 6, 1), nn.ReLU(), nn.Conv2d(6, 8, 1)).eval())
    >>> x = torch.randn(1, 4, 5, 5); x[:, [0, 3]] = 0
    >>> cut = cut_channels(net, x, inputs=[1, 2], outputs=[0, 5, 7])
    >>> torch.allclose(cut(x[:, [1, 2]]), net(x)[:, [0, 5, 7]], atol=1e-6)
    True
    """
    stage = copy.deepcopy(stage).eval()
    ShapeProp(stage).propagate(example)
    entering, leaving = (axis + 1 for axis in axes)  # behind the batch
    if inputs is not None and len(inputs) < example.shape[entering]:
        _cut_inputs(stage, _Subset(torch.as_tensor(inputs), torch.zeros(example.shape[entering]), entering))
    if outputs is not None:
        _cut_outputs(stage, torch.as_tensor(outputs), leaving)
    stage.delete_all_unused_submodules()
    stage.graph.lint()
    stage.recompile()
    return stage


@dataclass(frozen=True)
class _Subset:
    """A tensor of which only the channels ``index`` of an axis are left; ``fill`` [C] is the constant of every dropped
    one."""

    index: Tensor
    fill: Tensor
    axis: int = 1

    @property
    def dropped(self) -> Tensor:
        mask = torch.ones(len(self.fill), dtype=torch.bool)
        mask[self.index] = False
        return mask


class _Result(NamedTuple):
    module: nn.Module | None  # in place of the node's own
    subset: _Subset | None  # what is left of the output's channels; None: all are there


def _cut_inputs(stage: fx.GraphModule, entering: _Subset) -> None:
    subsets: dict[fx.Node, _Subset] = {}
    whole: dict[fx.Node, fx.Node] = {}  # what was put back already, for all that read it later
    for node in list(stage.graph.nodes):
        if node.op == "placeholder":
            subsets[node] = entering
            continue
        partial = [n for n in node.all_input_nodes if n in subsets]
        if not partial:
            continue
        result = _through(stage, node, subsets[partial[0]]) if len(node.all_input_nodes) == 1 else None
        if result is None:
            for source in partial:
                if source not in whole:
                    whole[source] = _insert(stage, node, source, _PutBack(subsets[source]))
                node.replace_input_with(source, whole[source])
            continue
        if result.module is not None:
            _replace(stage, node, result.module)
        if result.subset is not None:
            subsets[node] = result.subset


@torch.no_grad()
def _through(stage: fx.GraphModule, node: fx.Node, subset: _Subset) -> _Result | None:
    """Carry a subset through one node; None where that cannot be done exactly."""
    source = node.all_input_nodes[0]
    first = subset.axis == 1
    if node.op == "call_module":
        module = stage.get_submodule(str(node.target))
        if isinstance(module, ELEMENTWISE_MODULES) and (first or not isinstance(module, nn.Dropout2d)):
            # As an image of one pixel, which dropout by channel takes, too.
            return _Result(None, replace(subset, fill=module(subset.fill[None, :, None, None]).flatten()))
        if isinstance(module, nn.Linear) and subset.axis == len(_shape(source)) - 1:
            bias = module.weight[:, subset.dropped] @ subset.fill[subset.dropped]
            return _Result(_with_weight(module, module.weight[:, subset.index], _plus(module.bias, bias)), None)
        if not first:
            return None
        if isinstance(module, MAX_POOLS):
            return _Result(None, subset)
        if isinstance(module, PADS):
            return None if subset.fill[subset.dropped].any() else _Result(None, subset)
        if isinstance(module, AVERAGE_POOLS):
            same = _unpadded(module) and getattr(module, "divisor_override", None) is None
            return _Result(None, subset) if same or not subset.fill[subset.dropped].any() else None
        if _is_norm(module):
            return _Result(_slice_norm(module, subset.index), replace(subset, fill=_normalised(module, subset.fill)))
        if isinstance(module, CONVOLUTIONS):
            return _through_convolution(module, subset)
        if isinstance(module, nn.Flatten) and module.start_dim == 1 and len(_shape(node)) == 2:
            return _Result(None, _flattened(subset, _shape(source)))
    if node.op == "call_function":
        if node.target in ELEMENTWISE_FUNCTIONS:
            function: Callable[..., Any] = node.target
            args, kwargs = fx.map_arg((node.args, node.kwargs), lambda _: subset.fill.clone())
            return _Result(None, replace(subset, fill=function(*args, **kwargs)))
        if first and node.target is torch.flatten and node.args[1:2] == (1,) and len(_shape(node)) == 2:
            return _Result(None, _flattened(subset, _shape(source)))
    return None


def _through_convolution(module: nn.Conv1d | nn.Conv2d, subset: _Subset) -> _Result | None:
    constant = subset.fill[subset.dropped]
    if constant.any() and not _unpadded(module):
        return None
    over_kernel = module.weight.flatten(2).sum(2)  # [out, in / groups]
    if module.groups == 1:
        bias = over_kernel[:, subset.dropped] @ constant
        return _Result(_with_weight(module, module.weight[:, subset.index], _plus(module.bias, bias)), None)
    if module.groups == module.in_channels == module.out_channels:
        own = module.bias if module.bias is not None else torch.zeros(module.out_channels)
        fill = own + over_kernel[:, 0] * subset.fill
        return _Result(_slice_depthwise(module, subset.index), _Subset(subset.index, fill))
    return None


def _cut_outputs(stage: fx.GraphModule, index: Tensor, axis: int) -> None:
    output = next(n for n in stage.graph.nodes if n.op == "output")
    node, user = output.args[0], output
    replaced: list[tuple[fx.Node, nn.Module]] = []
    while isinstance(node, fx.Node) and len(node.users) == 1:
        module = stage.get_submodule(str(node.target)) if node.op == "call_module" else None
        is_linear = isinstance(module, nn.Linear) and len(_shape(node)) == axis + 1
        if is_linear or (axis == 1 and isinstance(module, CONVOLUTIONS) and module.groups == 1):
            assert isinstance(module, (nn.Linear, *CONVOLUTIONS))
            bias = None if module.bias is None else module.bias[index]
            replaced.append((node, _with_weight(module, module.weight[index], bias)))
            break
        pools = MAX_POOLS + AVERAGE_POOLS + PADS if axis == 1 else ()
        if (
            axis == 1
            and isinstance(module, CONVOLUTIONS)
            and module.groups == module.in_channels == module.out_channels
        ):
            replaced.append((node, _slice_depthwise(module, index)))
        elif axis == 1 and _is_norm(module):
            replaced.append((node, _slice_norm(module, index)))
        elif not (
            isinstance(module, ELEMENTWISE_MODULES + pools)
            or (node.op == "call_function" and node.target in ELEMENTWISE_FUNCTIONS)
        ):
            user.replace_input_with(node, _insert(stage, user, node, _Select(index, axis)))
            break
        node, user = node.all_input_nodes[0], node
    else:
        user.replace_input_with(node, _insert(stage, user, node, _Select(index, axis)))
    for cut, module in replaced:
        _replace(stage, cut, module)


class _Select(nn.Module):
    index: Tensor

    def __init__(self, index: Tensor, axis: int) -> None:
        super().__init__()
        self.axis = axis
        self.register_buffer("index", index)

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden.index_select(self.axis, self.index)


class _PutBack(nn.Module):
    """Kept channels, k along the axis, to all C of them, the dropped ones constant."""

    constant: Tensor
    order: Tensor

    def __init__(self, subset: _Subset) -> None:
        super().__init__()
        dropped = torch.nonzero(subset.dropped).flatten()
        self.axis = subset.axis
        self.register_buffer("constant", subset.fill[subset.dropped])
        self.register_buffer("order", torch.argsort(torch.cat([subset.index, dropped])))

    def forward(self, hidden: Tensor) -> Tensor:
        sizes = list(hidden.shape)
        sizes[self.axis] = -1
        rest = along(self.constant, hidden.ndim, self.axis).expand(sizes)
        return torch.cat([hidden, rest], self.axis).index_select(self.axis, self.order)


def _insert(stage: fx.GraphModule, before: fx.Node, source: fx.Node, module: nn.Module) -> fx.Node:
    with stage.graph.inserting_before(before):
        added = stage.graph.call_module(_add(stage, module), (source,))
    added.meta = dict(source.meta)
    return added


def _replace(stage: fx.GraphModule, node: fx.Node, module: nn.Module) -> None:
    node.target = _add(stage, module)


def _add(stage: fx.GraphModule, module: nn.Module) -> str:
    number = 0
    while hasattr(stage, f"cut_{number}"):
        number += 1
    stage.add_submodule(f"cut_{number}", module.eval())
    return f"cut_{number}"


def _is_norm(module: nn.Module | None) -> TypeGuard[nn.BatchNorm1d | nn.BatchNorm2d]:
    return isinstance(module, NORMS) and module.running_mean is not None


def _shape(node: fx.Node) -> tuple[int, ...]:
    return tuple(node.meta["tensor_meta"].shape)


def _flattened(subset: _Subset, shape: tuple[int, ...]) -> _Subset:
    per = torch.Size(shape[2:]).numel()
    index = (subset.index[:, None] * per + torch.arange(per)).flatten()
    return _Subset(index, subset.fill.repeat_interleave(per))


def _unpadded(module: nn.Module) -> bool:
    padding = getattr(module, "padding", 0)
    if isinstance(padding, str):
        return padding == "valid"
    return not any(padding if isinstance(padding, tuple) else (padding,))


def _plus(bias: Tensor | None, more: Tensor) -> Tensor | None:
    if bias is None:
        return more if more.any() else None
    return operator.add(bias, more)


def _with_weight(module: nn.Module, weight: Tensor, bias: Tensor | None) -> nn.Module:
    cut: Any = copy.deepcopy(module)
    cut.weight = nn.Parameter(weight.detach().clone())
    cut.bias = None if bias is None else nn.Parameter(bias.detach().clone())
    for name, axis in (("out_channels", 0), ("in_channels", 1), ("out_features", 0), ("in_features", 1)):
        if hasattr(cut, name):
            setattr(cut, name, weight.shape[axis])
    return cut


def _slice_depthwise(module: nn.Conv1d | nn.Conv2d, index: Tensor) -> nn.Module:
    cut: Any = _with_weight(module, module.weight[index], None if module.bias is None else module.bias[index])
    cut.in_channels = cut.groups = len(index)
    return cut


def _slice_norm(module: nn.Module, index: Tensor) -> nn.Module:
    cut: Any = copy.deepcopy(module)
    cut.num_features = len(index)
    for name in ("weight", "bias"):
        if getattr(cut, name) is not None:
            setattr(cut, name, nn.Parameter(getattr(cut, name).detach()[index].clone()))
    for name in ("running_mean", "running_var"):
        setattr(cut, name, getattr(cut, name)[index].clone())
    return cut


def _normalised(module: nn.BatchNorm1d | nn.BatchNorm2d, fill: Tensor) -> Tensor:
    return F.batch_norm(
        fill[None],
        module.running_mean,
        module.running_var,
        module.weight,
        module.bias,
        False,
        0.0,
        module.eps,
    )[0]
