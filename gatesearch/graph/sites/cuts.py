"""Finds cut sites: the places of a traced graph that exactly one tensor crosses."""

from __future__ import annotations

from itertools import chain, count

from torch import Tensor, fx, nn
from torch.nn import functional as F

from gatesearch._lib import console
from gatesearch.graph.channel_axes import layouts
from gatesearch.graph.module_types import PADS, calls_one_of
from gatesearch.graph.plain_weights import with_plain_weights
from gatesearch.graph.sites.site import INPUT, CutSite
from gatesearch.graph.trace import NodeProfile, node_label, trace


def cut_sites(model: nn.Module, example: Tensor) -> tuple[CutSite, ...]:
    """Return every cut site of a model, the input first.

    Between two operations that multiply, several nodes may qualify, such as a convolution, its normalisation and its
    activation. The last one becomes the site, because the next operation reads its tensor. Padding never becomes a
    site, because it only adds zeros to the tensor that crosses.

    Args:
        model: maps [N, *shape] to logits.
        example: an input [N, *shape]; only its shape matters.

    >>> import torch
    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 2))
    >>> [(site.name, site.shape, site.macs_before) for site in cut_sites(net, torch.zeros(1, 3, 8, 8))]
    [('input', (3, 8, 8), 0), ('2', (288,), 7776)]
    """
    model = with_plain_weights(model)
    traced = trace(model)
    work = NodeProfile(traced, example)
    for name, share in work.unknown.items():
        console.warn(
            f"backbone: the operator table does not know {name}, which computes {share:.1%} of all values: its "
            "multiply-accumulates count as 0, and its time as one pass over its output"
        )
    nodes = [node for node in traced.graph.nodes if node.op != "output"]
    total_macs, total_params = sum(work.macs.values()), sum(p.numel() for p in model.parameters())
    layout = layouts(traced, work.shapes)
    output = work.shapes.get(str(traced.graph.output_node().args[0]), ())
    candidates = find_candidates(traced, work)
    sites: list[CutSite] = []
    names: set[str] = set()
    for i, (node, before) in enumerate(candidates):
        is_input = node.op == "placeholder"
        superseded = not is_input and i + 1 < len(candidates) and candidates[i + 1][1] == before
        shadows_input = not is_input and before == 0
        if superseded or shadows_input or before == total_macs:
            continue
        name = _unused_name(INPUT if is_input else _module_ending_at(node, nodes), node, names)
        names.add(name)
        params = _params_until(traced, nodes, nodes.index(node))
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
                output=output,
            )
        )
    return tuple(sites)


def find_candidates(traced: fx.GraphModule, work: NodeProfile) -> list[tuple[fx.Node, int]]:
    """Return each node whose output is the only tensor that later nodes read, and the MACs up to this node.

    A MAC is one multiply-accumulate. The MACs of the node itself count, too.
    """
    order = {node: i for i, node in enumerate(traced.graph.nodes)}
    candidates: list[tuple[fx.Node, int]] = []
    unread: set[fx.Node] = set()
    macs = 0
    for node, i in order.items():
        if node.op == "output":
            continue
        macs += work.macs[node.name]
        if node.op != "get_attr":
            unread.add(node)
        unread = {each for each in unread if any(order[user] > i for user in each.users)}
        if unread == {node} and node.name in work.shapes and not calls_one_of(traced, node, PADS, (F.pad,)):
            candidates.append((node, macs))
    return candidates


def _unused_name(name: str, node: fx.Node, names: set[str]) -> str:
    """Return a name that no site has yet: ``name``, else the node's name, else the node's name with a number.

    Another site has ``name`` already if a module runs twice, or if a module is called "input".
    """
    numbered = (f"{node.name}_{i}" for i in count(1))
    return next(each for each in chain([name, node.name], numbered) if each not in names)


def _params_until(traced: fx.GraphModule, nodes: list[fx.Node], last: int) -> int:
    """Return the number of parameters of the nodes up to and including ``last``; each parameter counts once."""
    sizes: dict[int, int] = {}
    for node in nodes[: last + 1]:
        if node.op == "call_module":
            for p in traced.get_submodule(str(node.target)).parameters():
                sizes[id(p)] = p.numel()
        elif node.op == "get_attr":
            owner, _, attribute = str(node.target).rpartition(".")
            value = getattr(traced.get_submodule(owner), attribute)
            if isinstance(value, nn.Parameter):
                sizes[id(value)] = value.numel()
    return sum(sizes.values())


def _module_ending_at(node: fx.Node, nodes: list[fx.Node]) -> str:
    """Return the name of the outermost module that ends at a node; the node's own label if no module ends there."""
    later = nodes[nodes.index(node) + 1 :]
    still_open = {path for each in later for path in _stack(each)}
    ended = [path for path in _stack(node) if path and path not in still_open]
    if ended:
        return min(ended, key=lambda path: path.count("."))
    return node_label(node)


def _stack(node: fx.Node) -> list[str]:
    return [path for path, _ in node.meta.get("nn_module_stack", {}).values()]
