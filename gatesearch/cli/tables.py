"""What there is to search and what it costs, as tables: `gatesearch sites` and `gatesearch measure`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from gatesearch._lib import console
from gatesearch.cost import blocks as tables
from gatesearch.cost import provenance
from gatesearch.cost.model import CostModel
from gatesearch.gates import fits
from gatesearch.pipeline.pricing import cost_model
from gatesearch.pipeline.problem import Setting
from gatesearch.recipe import Recipe


def sites(recipe: Recipe) -> None:
    """Print every cut site and every layer site of the recipe's backbone."""
    s = Setting.of(recipe, with_features=False)
    searched = {site.name for site in s.space.sites}
    rows = [
        (
            site.name,
            "x".join(map(str, site.shape)),
            f"{site.macs_before:,}",
            f"{site.macs_after:,}",
            f"{site.params_before:,}",
            f"{site.params_after:,}",
            ", ".join(k for k in s.space.kinds if fits(k, site)) if site.name in searched else "-",
        )
        for site in s.sites
    ]
    columns = ("site", "shape", "MACs before", "after", "params before", "after", "searched for")
    console.table(f"cut sites of {recipe.backbone}", columns, rows)
    searched = {site.name for site in s.space.layers.sites}
    layers = [
        (
            site.name,
            site.op,
            "x".join(map(str, site.shape_in)),
            "x".join(map(str, site.shape)),
            f"{site.macs:,}",
            f"{site.params:,}",
            site.source or "-",
            ", ".join(k for k in s.space.layers.kinds if fits(k, site)) if site.name in searched else "-",
        )
        for site in s.layers
    ]
    heads = ("layer", "operation", "shape in", "shape", "MACs", "params", "source", "searched for")
    console.say()
    console.table(f"layer sites of {recipe.backbone}", heads, layers)


def measure(recipe: Recipe, core_name: str | None = None) -> None:
    """Read what each block of the recipe's backbone costs on each core, and print it.

    Args:
        recipe: which backbone, gates and device.
        core_name: prints that core alone, and what its kernels take.

    Raises:
        UserError: the device has no such core.
    """
    s = Setting.of(recipe, with_features=False)
    cores = s.device.cores if core_name is None else (s.device.core(core_name),)
    model = cost_model(s, s.backbone.eval(), None)
    rows = []
    for first, following in pairwise([*model.table.sites, tables.END]):
        times = [core.timing.latency_us(model.table.blocks[first][core.name](1.0, 1.0)) for core in cores]
        rows.append((f"{first} > {following}", *(f"{t:.1f}" for t in times)))
    heads = [f"{core.name} us ({core.timing.provenance})" for core in cores]
    console.table(f"blocks of {recipe.backbone} on {s.device.name}, all channels", ("block", *heads), rows)
    for core in cores:
        if core.name in model.table.native:
            _show_native(core.name, model.table.native[core.name])
    _show_basis(s, model, [core.name for core in cores])


def _show_basis(s: Setting, model: CostModel, cores: Sequence[str]) -> None:
    """Print what the price of each kind of gate rests on, on each core."""
    kernels = {**model.kernels, **{name: native.kernels for name, native in model.table.native.items()}}
    every = [
        *provenance.of_cuts(s.device, s.space.variants(), s.space.sites),
        *provenance.of_space(s.device, s.layers, s.space.layers.gates(), kernels),
    ]
    rows = [
        (core, kind, count, basis.what, basis.provenance, provenance.REASONS.get(basis.reason, ""))
        for core, kind, basis, count in every
        if core in cores
    ]
    if rows:
        heads = ("core", "gate", "places", "priced by", "known", "where not by kernels, why")
        console.table(f"what prices rest on, on {s.device.name}", heads, rows)


def _show_native(core: str, native: tables.Native) -> None:
    """Print what the kernels of gated layers take on a core of this host, and how well that is known."""
    rows = [
        (
            *(kernel, "x".join(map(str, shape)), ", ".join(f"{k}={v}" for k, v in variant) or "-"),
            ", ".join(f"{name} {share:.2f}" for name, share in zip(curve.names, point, strict=True)),
            f"{taken:.1f}",
        )
        for (kernel, shape, variant), curve in native.kernels.curves.items()
        for point, taken in zip(curve.points, curve.readings, strict=True)
    ]
    if rows:
        console.table(f"kernels of gated layers on {core}", ("kernel", "shape", "variant", "left", "us"), rows)
    noisy = f"{native.noisy} of them still disturbed by other load: measure again" if native.noisy else "all settled"
    console.say(f"{core}: {native.timings} timings in {native.seconds:.1f} s, {noisy}")
