"""Where gates can go in any ``nn.Module``: the cut sites and the layer sites of its traced graph.

A cut site is a place that exactly one tensor crosses. Everything before it can run on one core and everything after it
on another, and a gate there sees all that the rest of the network will ever see. The input is a site as well. A layer
site is a layer that multiplies, which a gate may replace by one that multiplies less.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from typing import TypeVar

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from gatesearch.errors import UserError, unknown
from gatesearch.graph.channel_axes import layouts
from gatesearch.graph.macs import RECURRENT, MacCounter
from gatesearch.graph.module_types import CHANNEL_WISE, KEEP_SIGN, PADS, RECTIFIERS, RELU_FUNCTIONS, RELUS, calls_one_of

INPUT = "input"


class _Shaped:
    """A place in a network by the tensor of one sample that comes out of it."""

    __slots__ = ()
    shape: tuple[int, ...]
    channel_axis: int

    @property
    def channels(self) -> int:
        """Size of the axis that channel gates thin out."""
        return self.shape[self.channel_axis]

    @property
    def elements(self) -> int:
        """Number of values in one sample's tensor."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class CutSite(_Shaped):
    """A place where one tensor crosses.

    Args:
        name: the outermost module that ends here, or the name of the operation; ``"input"`` for the input.
        shape: of one sample's tensor, batch excluded.
        macs_before, macs_after: multiply-accumulates a sample on either side.
        params_before, params_after: parameters on either side.
        node: name of the node of the traced graph whose output crosses.
        channel_axis: which axis of ``shape`` has the channels: the first one of a feature map, the last one of tokens.
        class_token: whether the first of the tokens is a learned one that gathers what the others hold.
        output: shape of what the network gives for one sample; empty where nobody told.
    """

    name: str
    shape: tuple[int, ...]
    macs_before: int
    macs_after: int
    params_before: int
    params_after: int
    node: str
    channel_axis: int = 0
    class_token: bool = False
    output: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class LayerSite(_Shaped):
    """A layer that a gate may replace.

    Args:
        name: path of the layer in the backbone.
        op: ``"conv2d"``, ``"linear"``, ``"lstm"`` or ``"gru"``.
        shape_in, shape: of one sample's input and output; [steps, features] of a recurrent layer.
        macs, params: of the layer.
        norm: path of the batch normalisation that alone reads the layer's output, and that reads nothing else; None
            where there is none.
        activation: path or name of the ReLU that alone reads what comes out of that; None where there is none.
        source: name of the layer site whose output channels, through channel-wise operations only that keep zero at
            zero, are this layer's input channels; None where there is none.
        depth, directions: of a recurrent layer: how many lie on each other in it, and 2 where it reads both ways.
        geometry: of a convolution: height, width and channels of its input, its output channels, then kernel, stride,
            padding and dilation, each vertical and horizontal; empty where it pads by name or with anything but zeros.
        positive: whether what it reads comes from a ReLU, through nothing that could make it negative.
    """

    name: str
    op: str
    shape_in: tuple[int, ...]
    shape: tuple[int, ...]
    macs: int
    params: int
    norm: str | None = None
    activation: str | None = None
    source: str | None = None
    depth: int = 1
    directions: int = 1
    geometry: tuple[int, ...] = ()
    positive: bool = False

    @property
    def channel_axis(self) -> int:  # type: ignore[override]
        """Which axis of ``shape`` has the channels: all but convolutions work on the last one."""
        return 0 if self.op == "conv2d" else len(self.shape) - 1


def reads_all_channels(site: LayerSite) -> bool:
    """Say whether a convolution has no groups: a grouped one reads a fraction of its input channels for each value.

    >>> reads_all_channels(LayerSite("0", "conv2d", (3, 8, 8), (4, 6, 6), 3888, 112))
    True
    """
    # Multiply-accumulates a value are input channels times kernel.
    return site.macs // site.elements % site.shape_in[0] == 0


Site = CutSite | LayerSite
AnySite = TypeVar("AnySite", CutSite, LayerSite)


def trace(model: nn.Module) -> fx.GraphModule:
    """Trace a model with torch.fx, keeping its modules (and so its training mode) intact.

    Raises:
        UserError: the model has control flow that depends on data, takes more than one input, returns more than one
            tensor, or does something else in training than in evaluation outside its modules.
    """
    modes = {module: module.training for module in model.modules()}
    try:
        training, graph = _graph(model, True), _graph(model, False)
    except Exception as error:
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"backbone: {type(model).__name__} cannot be traced by torch.fx: {line}") from error
    finally:
        for module, mode in modes.items():
            module.training = mode
    if str(training) != str(graph):
        # A traced graph has one form; the flag would be frozen as it was, and dropout never end.
        raise UserError(
            f"backbone: {type(model).__name__} reads self.training in its forward; "
            "use a module there, such as nn.Dropout in place of F.dropout"
        )
    inputs = [node for node in graph.nodes if node.op == "placeholder" and not node.args]
    if len(inputs) != 1:
        names = ", ".join(str(node.target) for node in inputs)
        raise UserError(
            f"backbone: {type(model).__name__} takes {len(inputs)} inputs ({names}); gates need exactly one"
        )
    if not isinstance(graph.output_node().args[0], fx.Node):
        raise UserError(f"backbone: {type(model).__name__} must return one tensor, the logits")
    return fx.GraphModule(model, graph)


def cut_sites(model: nn.Module, example: Tensor) -> tuple[CutSite, ...]:
    """Find every cut site of a model, the input first.

    Between two operations that multiply, several nodes may qualify (after a convolution, its normalisation, its
    activation); the last one is kept, because its tensor is what the next operation reads, but for padding, which only
    adds to what crosses.

    Args:
        model: maps [N, *shape] to logits.
        example: an input [N, *shape]; only its shape matters.

    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 2))
    >>> [(site.name, site.shape, site.macs_before) for site in cut_sites(net, torch.zeros(1, 3, 8, 8))]
    [('input', (3, 8, 8), 0), ('2', (288,), 7776)]
    """
    traced = trace(model)
    work = _Profile(traced, example)
    nodes = [node for node in traced.graph.nodes if node.op != "output"]
    order = {node: i for i, node in enumerate(traced.graph.nodes)}
    total_macs, total_params = sum(work.macs.values()), sum(p.numel() for p in model.parameters())
    layout = layouts(traced, work.shapes)

    candidates: list[tuple[fx.Node, int]] = []  # the node and the MACs up to and including it
    live: set[fx.Node] = set()
    macs = 0
    for i, node in enumerate(nodes):
        macs += work.macs[node.name]
        if node.op != "get_attr":
            live.add(node)
        live = {n for n in live if any(order[user] > i for user in n.users)}
        if live == {node} and node.name in work.shapes and not calls_one_of(traced, node, PADS, (F.pad,)):
            candidates.append((node, macs))

    sites: list[CutSite] = []
    taken: set[str] = set()
    for i, (node, before) in enumerate(candidates):
        is_input = node.op == "placeholder"
        superseded = not is_input and i + 1 < len(candidates) and candidates[i + 1][1] == before
        shadows_input = not is_input and before == 0
        if superseded or shadows_input or before == total_macs:
            continue
        params = _params_until(traced, nodes, order[node])
        name = INPUT if is_input else _module_ending_at(node, nodes)
        if name in taken:  # a module that runs twice, or one that is called "input"
            name = next(n for n in chain([node.name], (f"{node.name}_{i}" for i in count(1))) if n not in taken)
        taken.add(name)
        sites.append(
            CutSite(
                name=name,
                shape=work.shapes[node.name],
                macs_before=before,
                macs_after=total_macs - before,
                params_before=params,
                params_after=total_params - params,
                node=node.name,
                channel_axis=layout[node.name].axis - 1,
                class_token=layout[node.name].class_token,
                output=work.shapes.get(str(traced.graph.output_node().args[0]), ()),
            )
        )
    return tuple(sites)


LAYERS: dict[type[nn.Module], str] = {nn.Conv2d: "conv2d", nn.Linear: "linear", **RECURRENT}


def layer_sites(model: nn.Module, example: Tensor) -> tuple[LayerSite, ...]:
    """Find every convolution without groups, linear and recurrent layer, in the order in which data meets them.

    A layer that is called twice is no site: what a gate does there would have to be the same in both places. Nor is an
    LSTM or GRU that does not take the batch first, starts from a state that it is given or projects its output.

    Args:
        model: maps [N, *shape] to logits.
        example: an input [N, *shape]; only its shape matters.

    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3))
    >>> [(s.name, s.op, s.shape, s.macs, s.norm, s.source) for s in layer_sites(net, torch.zeros(1, 3, 8, 8))]
    [('0', 'conv2d', (8, 6, 6), 7776, '1', None), ('3', 'conv2d', (4, 4, 4), 4608, None, '0')]
    """
    traced = trace(model)
    work = _Profile(traced, example)
    calls = [node for node in traced.graph.nodes if node.op == "call_module"]
    targets = [node.target for node in calls]
    sites: dict[str, LayerSite] = {}
    for node in calls:
        layer = traced.get_submodule(str(node.target))
        if (
            type(layer) not in LAYERS
            or getattr(layer, "groups", 1) > 1
            or targets.count(node.target) > 1
            or node.name not in work.outputs
            or (isinstance(layer, nn.RNNBase) and not _is_plain(layer, node))
        ):
            continue
        norm = _only_reader(traced, node, (nn.BatchNorm2d,))
        if norm is not None and targets.count(norm.target) > 1:
            norm = None  # it is another layer's as well
        activation = _only_reader(traced, norm or node, RELUS, RELU_FUNCTIONS)
        name, source = str(node.target), _source(traced, node, sites)
        sites[name] = LayerSite(
            name=name,
            op=LAYERS[type(layer)],
            shape_in=work.shapes.get(node.all_input_nodes[0].name, ()),
            shape=work.outputs[node.name],
            macs=work.macs[node.name],
            params=sum(p.numel() for p in layer.parameters()),
            norm=None if norm is None else str(norm.target),
            activation=None if activation is None else _label(activation),
            source=None if source is None else source.name,
            depth=getattr(layer, "num_layers", 1),
            directions=2 if getattr(layer, "bidirectional", False) else 1,
            geometry=_geometry(layer, work.shapes.get(node.all_input_nodes[0].name, ())),
            positive=_is_positive(traced, node.all_input_nodes[0]),
        )
    return tuple(sites.values())


def _is_positive(traced: fx.GraphModule, node: fx.Node) -> bool:
    while calls_one_of(traced, node, KEEP_SIGN):
        node = node.all_input_nodes[0]
    return calls_one_of(traced, node, RECTIFIERS, RELU_FUNCTIONS)


def _geometry(layer: nn.Module, image: tuple[int, ...]) -> tuple[int, ...]:
    if not isinstance(layer, nn.Conv2d) or isinstance(layer.padding, str) or layer.padding_mode != "zeros":
        return ()
    pairs = (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
    return *image[1:], layer.in_channels, layer.out_channels, *(int(size) for pair in pairs for size in pair)


def _is_plain(layer: nn.RNNBase, node: fx.Node) -> bool:
    """Say whether a recurrent layer maps [N, T, F] to [N, T, H], from a state of zero."""
    return layer.batch_first and not layer.proj_size and len(node.args) + len(node.kwargs) == 1


def _source(traced: fx.GraphModule, node: fx.Node, sites: Mapping[str, LayerSite]) -> LayerSite | None:
    """Return the site, among those so far, whose suppressed output channels are zero where a layer reads them."""
    before, norms = node.all_input_nodes[0], set[str]()
    while calls_one_of(traced, before, CHANNEL_WISE, RELU_FUNCTIONS) and len(before.users) == 1:
        if calls_one_of(traced, before, (nn.BatchNorm2d,)):
            norms.add(str(before.target))
        before = before.all_input_nodes[0]
    source = sites.get(str(before.target)) if before.op == "call_module" and len(before.users) == 1 else None
    # A normalisation that is not the layer's own makes a constant of zero, which has to be read after all.
    return source if source is not None and norms <= {source.norm} else None


def _only_reader(
    traced: fx.GraphModule,
    node: fx.Node,
    modules: tuple[type[nn.Module], ...],
    functions: tuple[Callable[..., Tensor], ...] = (),
) -> fx.Node | None:
    """Return the one node that reads another, where it calls a module or a function of those."""
    if len(node.users) != 1:
        return None
    [reader] = node.users
    return reader if calls_one_of(traced, reader, modules, functions) else None


def worthwhile(sites: tuple[CutSite, ...], min_work: float) -> tuple[CutSite, ...]:
    """Thin sites out to those that offer a different choice.

    Args:
        sites: in order.
        min_work: share of all MACs that must lie between a kept site and the one before it, and after the last one.
    """
    total = sites[0].macs_before + sites[0].macs_after
    kept: list[CutSite] = []
    for site in sites:
        since = site.macs_before - (kept[-1].macs_before if kept else 0)
        if site.name == INPUT or (since >= min_work * total and site.macs_after >= min_work * total):
            kept.append(site)
    return tuple(kept)


def find(sites: Sequence[AnySite], name: str, where: str = "plan") -> AnySite:
    """Return the site of that name.

    Raises:
        UserError: there is none; the message names the nearest.
    """
    for site in sites:
        if site.name == name:
            return site
    raise unknown(where, "site", name, [site.name for site in sites])


class _Profile(fx.Interpreter):
    """Runs the graph once and notes MACs and output shape of each node."""

    def __init__(self, traced: fx.GraphModule, example: Tensor) -> None:
        super().__init__(traced)
        self.macs: dict[str, int] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.outputs: dict[str, tuple[int, ...]] = {}  # the same, with the first of what returns several tensors
        self._batch = example.shape[0]
        modes = {module: module.training for module in traced.modules()}
        traced.eval()  # one sample must not move running statistics
        try:
            with torch.no_grad():
                self.run(example)
        except UserError:
            raise
        except Exception as error:
            line = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise UserError(f"backbone: does not accept an input of shape {tuple(example.shape)}: {line}") from error
        finally:
            for module, mode in modes.items():
                module.training = mode

    def run_node(self, n: fx.Node) -> object:
        with MacCounter(self.module) as counter:
            result = super().run_node(n)
        self.macs[n.name] = counter.macs // self._batch
        # A gate decides sample by sample, so the first axis has to be the batch, and another one the channels.
        for shapes, value in ((self.shapes, result), (self.outputs, _first(result))):
            if isinstance(value, Tensor) and value.ndim > 1 and len(value) == self._batch:
                shapes[n.name] = tuple(value.shape[1:])
        return result


def _first(result: object) -> object:
    """Return the output without the state that a recurrent layer returns beside it."""
    return result[0] if isinstance(result, tuple) and result else result


class _Tracer(fx.Tracer):
    """Keeps a layer gate whole: what it does depends on data."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return getattr(m, "traced_whole", False) or super().is_leaf_module(m, module_qualified_name)


def _graph(model: nn.Module, training: bool) -> fx.Graph:
    for module in model.modules():
        module.training = training
    graph = _Tracer().trace(model)
    for node in reversed(graph.nodes):
        # The state in `output, _ = lstm(x)`: nobody reads it, and it would seem to cross wherever a cut goes.
        if node.op == "call_function" and node.target is operator.getitem and not node.users:
            graph.erase_node(node)
    return graph


def _params_until(traced: fx.GraphModule, nodes: list[fx.Node], last: int) -> int:
    seen: dict[int, int] = {}
    for node in nodes[: last + 1]:
        if node.op == "call_module":
            for p in traced.get_submodule(str(node.target)).parameters():
                seen[id(p)] = p.numel()
        elif node.op == "get_attr":
            owner, _, attribute = str(node.target).rpartition(".")
            value = getattr(traced.get_submodule(owner), attribute)
            if isinstance(value, nn.Parameter):
                seen[id(value)] = value.numel()
    return sum(seen.values())


def _module_ending_at(node: fx.Node, nodes: list[fx.Node]) -> str:
    """Name the outermost module of which this is the last node, else the node itself."""
    later = nodes[nodes.index(node) + 1 :]
    still_open = {path for n in later for path in _stack(n)}
    ended = [path for path in _stack(node) if path and path not in still_open]
    if ended:
        return min(ended, key=lambda path: path.count("."))
    return _label(node)


def _label(node: fx.Node) -> str:
    if node.op == "call_function" and node.target is operator.getitem and node.args[1:] == (0,):
        source = node.all_input_nodes[0]  # `output` in `output, _ = lstm(x)` is called after the layer
        if source.op == "call_module":
            return str(source.target)
    return str(node.target) if node.op == "call_module" else node.name


def _stack(node: fx.Node) -> list[str]:
    return [path for path, _ in node.meta.get("nn_module_stack", {}).values()]
