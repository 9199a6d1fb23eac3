"""Finds layer sites: the convolutions, linear and recurrent layers that a gate may replace."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, fx, nn

from gatesearch._lib import console
from gatesearch.graph.module_types import CHANNEL_WISE, KEEP_SIGN, RECTIFIERS, RELU_FUNCTIONS, RELUS, calls_one_of
from gatesearch.graph.operators import RECURRENT
from gatesearch.graph.sites.site import LayerSite
from gatesearch.graph.trace import NodeProfile, node_label, trace

LAYERS: dict[type[nn.Module], str] = {nn.Conv2d: "conv2d", nn.Linear: "linear", **RECURRENT}


def layer_sites(model: nn.Module, example: Tensor) -> tuple[LayerSite, ...]:
    """Return all linear layers, recurrent layers and convolutions without groups, in the order in which they run.

    Some layers are no sites. A gate for a layer that is called twice would have to serve two places. A gate for a layer
    with hooks or with computed weights would not run the hooks or compute the weights. An LSTM or GRU is no site if the
    batch is not its first axis, if the network passes an initial state to it, or if it projects its output.

    Args:
        model: maps [N, *shape] to logits.
        example: an input [N, *shape]; only its shape matters.

    >>> import torch
    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3))
    >>> [(s.name, s.op, s.shape, s.macs, s.norm, s.source) for s in layer_sites(net, torch.zeros(1, 3, 8, 8))]
    [('0', 'conv2d', (8, 6, 6), 7776, '1', None), ('3', 'conv2d', (4, 4, 4), 4608, None, '0')]
    """
    traced = trace(model)
    work = NodeProfile(traced, example)
    nodes = [node for node in traced.graph.nodes if node.op == "call_module"]
    targets = [node.target for node in nodes]
    sites: dict[str, LayerSite] = {}
    for node in nodes:
        layer = traced.get_submodule(str(node.target))
        if targets.count(node.target) > 1 or node.name not in work.outputs or not _is_gateable(layer, node):
            continue
        norm = _only_reader(traced, node, (nn.BatchNorm2d,))
        if norm is not None and (targets.count(norm.target) > 1 or has_hooks(traced.get_submodule(str(norm.target)))):
            norm = None  # another layer uses the normalisation as well, or it has hooks that a gate would not run
        activation = _only_reader(traced, norm or node, RELUS, RELU_FUNCTIONS)
        name, source = str(node.target), _source(traced, node, sites)
        shape_in = work.shapes.get(node.all_input_nodes[0].name, ())
        sites[name] = LayerSite(
            name=name,
            op=LAYERS[type(layer)],
            shape_in=shape_in,
            shape=work.outputs[node.name],
            macs=work.macs[node.name],
            params=sum(p.numel() for p in layer.parameters()),
            norm=None if norm is None else str(norm.target),
            activation=None if activation is None else node_label(activation),
            source=None if source is None else source.name,
            depth=getattr(layer, "num_layers", 1),
            directions=2 if getattr(layer, "bidirectional", False) else 1,
            geometry=_geometry(layer, shape_in),
            positive=_is_positive(traced, node.all_input_nodes[0]),
        )
    return tuple(sites.values())


def _is_gateable(layer: nn.Module, node: fx.Node) -> bool:
    if type(layer) not in LAYERS or getattr(layer, "groups", 1) > 1:
        return False
    if has_hooks(layer):
        console.warn(f"backbone: layer {node.target} has hooks, which a gate would not run; no gate takes its place")
        return False
    return not isinstance(layer, nn.RNNBase) or _is_plain(layer, node)


def has_hooks(module: nn.Module) -> bool:
    """Say whether a module has hooks: functions of the user that run around its forward or backward."""
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return any(hooks)


def _is_plain(layer: nn.RNNBase, node: fx.Node) -> bool:
    """Say whether a recurrent layer maps [N, T, F] to [N, T, H] and starts from a state of zero."""
    return layer.batch_first and not layer.proj_size and len(node.args) + len(node.kwargs) == 1


def _is_positive(traced: fx.GraphModule, node: fx.Node) -> bool:
    while calls_one_of(traced, node, KEEP_SIGN):
        node = node.all_input_nodes[0]
    return calls_one_of(traced, node, RECTIFIERS, RELU_FUNCTIONS)


def _geometry(layer: nn.Module, image: tuple[int, ...]) -> tuple[int, ...]:
    if not isinstance(layer, nn.Conv2d) or isinstance(layer.padding, str) or layer.padding_mode != "zeros":
        return ()
    pairs = (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
    return *image[1:], layer.in_channels, layer.out_channels, *(int(size) for pair in pairs for size in pair)


def _source(traced: fx.GraphModule, node: fx.Node, sites: Mapping[str, LayerSite]) -> LayerSite | None:
    """Return the layer site whose output channels are a layer's input channels; None if there is none.

    Channels that a gate suppresses at the site have to be zero at the layer's input. ``sites`` holds the earlier sites.
    """
    before, norms = node.all_input_nodes[0], set[str]()
    while calls_one_of(traced, before, CHANNEL_WISE, RELU_FUNCTIONS) and len(before.users) == 1:
        if calls_one_of(traced, before, (nn.BatchNorm2d,)):
            norms.add(str(before.target))
        before = before.all_input_nodes[0]
    source = sites.get(str(before.target)) if before.op == "call_module" and len(before.users) == 1 else None
    # A normalisation that does not belong to the source turns zero into another constant, so that the layer has to read
    # the channel.
    return source if source is not None and norms <= {source.norm} else None


def _only_reader(
    traced: fx.GraphModule,
    node: fx.Node,
    modules: tuple[type[nn.Module], ...],
    functions: tuple[Callable[..., Tensor], ...] = (),
) -> fx.Node | None:
    """Return the only reader of a node, if it calls one of the modules or functions; else None."""
    if len(node.users) != 1:
        return None
    [reader] = node.users
    return reader if calls_one_of(traced, reader, modules, functions) else None
