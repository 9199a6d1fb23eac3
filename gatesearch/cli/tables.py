"""Prints where gates can go and what blocks cost: `gatesearch sites` and `gatesearch measure`."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from gatesearch._lib import console
from gatesearch.cost import provenance
from gatesearch.cost.blocks import END
from gatesearch.cost.factory import derived_lines
from gatesearch.cost.model import CostModel
from gatesearch.cost.table import HostTimings
from gatesearch.graph.operator_log import layer_bytes
from gatesearch.graph.sites import Site
from gatesearch.pipeline.pricing import build_cost_model
from gatesearch.pipeline.problem import Problem, load_problem
from gatesearch.recipe import Recipe
from gatesearch.search.exclusions import explain_exclusion

LINE_CHARACTERS = 100


def sites(recipe: Recipe, as_json: bool = False) -> None:
    """Print every cut site and every layer site of the recipe's backbone."""
    problem = load_problem(recipe, with_features=False, only_shapes=True)
    backbone = problem.backbone.eval()
    cuts = [
        {
            "site": site.name,
            "shape": list(site.shape),
            "macs_before": site.macs_before,
            "macs_after": site.macs_after,
            "params_before": site.params_before,
            "params_after": site.params_after,
            "kinds": problem.space.kinds_at(site),
            "reason": _exclusion(problem, site),
        }
        for site in problem.sites
    ]
    layers = [
        {
            "layer": site.name,
            "operation": site.op,
            "shape_in": list(site.shape_in),
            "shape": list(site.shape),
            "macs": site.macs,
            "params": site.params,
            "moved_bytes": layer_bytes(backbone.get_submodule(site.name), site.shape_in),
            "source": site.source,
            "kinds": problem.space.kinds_at(site),
            "reason": _exclusion(problem, site),
        }
        for site in problem.layers
    ]
    if as_json:
        console.print_json({"backbone": recipe.backbone, "cut_sites": cuts, "layer_sites": layers})
        return
    heads = ["site", "shape", "MACs before", "after", "params before", "after", "searched for"]
    console.table(f"cut sites of {recipe.backbone}", heads, [_cells(row) for row in cuts])
    heads = ["layer", "operation", "shape in", "shape", "MACs", "params", "bytes moved", "source", "searched for"]
    console.say()
    console.table(f"layer sites of {recipe.backbone}", heads, [_cells(row) for row in layers])
    for line in _exclusion_lines(cuts, "site", "cut sites") + _exclusion_lines(layers, "layer", "layer sites"):
        console.say(line)


def _exclusion(problem: Problem, site: Site) -> str | None:
    space = problem.recipe.space
    return explain_exclusion(
        site,
        problem.space,
        space.kinds,
        cut_names=space.sites,
        layer_names=space.layers.sites,
        min_work=space.min_work,
    )


def _exclusion_lines(rows: Sequence[Mapping[str, Any]], key: str, what: str) -> list[str]:
    """Return lines that list the sites that are not searched, grouped by reason."""
    by_reason: dict[str, list[str]] = {}
    for row in rows:
        if row["reason"] is not None:
            by_reason.setdefault(row["reason"], []).append(row[key])
    lines: list[str] = []
    for reason, names in by_reason.items():
        lines += textwrap.wrap(
            f"{what} not searched, {reason}: {', '.join(names)}", LINE_CHARACTERS, subsequent_indent="  "
        )
    return lines


def _cells(row: Mapping[str, Any]) -> list[str]:
    """Return the values of a site as a table shows them."""
    cells = []
    for name, value in row.items():
        if name == "reason":
            continue  # the lines below the tables give the reason
        if name.startswith("shape"):
            cells.append("x".join(map(str, value)))
        elif isinstance(value, list):
            cells.append(", ".join(value) or "-")
        else:
            cells.append(f"{value:,}" if isinstance(value, int) else value or "-")
    return cells


def measure(recipe: Recipe, core_name: str | None = None, as_json: bool = False) -> None:
    """Print the time of each block of a recipe's backbone on each core, and the times of kernels.

    Args:
        recipe: the recipe that names backbone, gates and device.
        core_name: the core to print; None: all cores.
        as_json: whether to print one JSON document in place of tables.

    Raises:
        UserError: the device has no such core.
    """
    problem = load_problem(recipe, with_features=False, only_shapes=True)
    cores = problem.device.cores if core_name is None else (problem.device.core(core_name),)
    model = build_cost_model(problem, problem.backbone.eval())
    blocks: list[dict[str, Any]] = [
        {
            "first": first,
            "following": following,
            "us": {core.name: model.block_us(core, first) for core in cores},
        }
        for first, following in pairwise([*model.table.sites, END])
    ]
    native = {core.name: model.table.native[core.name] for core in cores if core.name in model.table.native}
    kernels = {name: _kernel_rows(timings) for name, timings in native.items()}
    basis = _basis_rows(problem, model, [core.name for core in cores])
    if as_json:
        document = {"backbone": recipe.backbone, "device": problem.device.name, "blocks": blocks}
        console.print_json(document | {"kernels": kernels, "basis": basis})
        return
    rows = [(f"{row['first']} > {row['following']}", *(f"{t:.1f}" for t in row["us"].values())) for row in blocks]
    heads = [f"{core.name} us ({core.timing.provenance})" for core in cores]
    console.table(f"blocks of {recipe.backbone} on {problem.device.name}, all channels", ("block", *heads), rows)
    for name, timings in native.items():
        _show_kernels(name, kernels[name], timings)
    for line in derived_lines(model.table):
        console.say(line)
    if basis:
        heads = ["core", "gate", "sites", "priced by", "provenance", "why no kernel"]
        console.table(
            f"basis of the prices of gates on {problem.device.name}", heads, [tuple(row.values()) for row in basis]
        )


def _basis_rows(problem: Problem, model: CostModel, cores: Sequence[str]) -> list[dict[str, Any]]:
    """Return a row for each core and each gate kind, which says on what the price of the gates is based."""
    kernels = {**model.kernels, **{name: native.kernels for name, native in model.table.native.items()}}
    every = [
        *provenance.cut_bases(problem.device, problem.space.variants(), problem.space.cut_sites),
        *provenance.layer_bases(problem.device, problem.layers, problem.space.layer_gates, kernels),
    ]
    return [
        {
            "core": core,
            "gate": kind,
            "places": count,
            "priced_by": basis.what,
            "provenance": basis.provenance,
            "reason": provenance.REASONS.get(basis.reason, ""),
        }
        for core, kind, basis, count in every
        if core in cores
    ]


def _kernel_rows(native: HostTimings) -> list[dict[str, Any]]:
    """Return a row for each timing of a gated layer's kernel on a core for which this host stands in."""
    return [
        {
            "kernel": kernel,
            "shape": list(shape),
            "variant": dict(variant),
            "shares": dict(zip(curve.names, point, strict=True)),
            "us": time,
        }
        for (kernel, shape, variant), curve in native.kernels.curves.items()
        for point, time in zip(curve.points, curve.readings, strict=True)
    ]


def _show_kernels(core: str, kernels: Sequence[Mapping[str, Any]], native: HostTimings) -> None:
    """Print the rows of :func:`_kernel_rows` for one core, and say how many timings are still noisy."""
    rows = [
        (
            row["kernel"],
            "x".join(map(str, row["shape"])),
            ", ".join(f"{name}={value}" for name, value in row["variant"].items()) or "-",
            ", ".join(f"{name} {share:.2f}" for name, share in row["shares"].items()),
            f"{row['us']:.1f}",
        )
        for row in kernels
    ]
    if rows:
        console.table(
            f"kernels of gated layers on {core}", ("kernel", "shape", "variant", "shares of work", "us"), rows
        )
    noisy = f"{native.noisy} of them still disturbed by other load: measure again" if native.noisy else "all settled"
    console.say(f"{core}: {native.timings} timings in {native.seconds:.1f} s, {noisy}")
