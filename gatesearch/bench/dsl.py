"""`gatesearch bench dsl esc10=FILE fsdd=FILE speech=DIR`: a codec with a light path, on sounds nobody labelled.

Each data set and seed is one ordinary run of recipes/codec_dsl.yaml. A run that is done is not done again, and one that
was cut off goes on from where it was; the page is written after each. Without data: the embedded, synthetic set.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

from gatesearch._lib import console
from gatesearch._lib.timing import fingerprint
from gatesearch.bench import command_line, runs
from gatesearch.bench.results import Row, markdown_table, spread, write
from gatesearch.gates import cut_gates
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.pipeline.steps import Run
from gatesearch.plan import GatePlan
from gatesearch.recipe import Recipe, load
from gatesearch.report.style import GATED, INK, MUTED, figure, legend_below, settings
from gatesearch.training import gate_logits, path_errors

RECIPE = "codec_dsl.yaml"
RUNS = Path("runs/bench-dsl")
SETS = {"esc10": "ESC10.npz", "fsdd": "FSDD.npz", "speech": "SPEECH_COMMANDS"}  # what stands for the user's own path
SYNTHETIC = "synthetic"
SHARES = torch.linspace(0, 1, 41)

Outcome = Mapping[str, Any]


def main(arguments: list[str]) -> None:
    """Run every data set and seed that is not done yet; write results/dsl.md, .json and .png after each.

    Args:
        arguments: ``esc10=``, ``fsdd=`` and ``speech=`` with the paths of data sets; ``seeds=0,1,2``; any key of the
            recipe.

    Raises:
        UserError: an argument is wrong, or a folder holds a run of another recipe.
    """
    roots, seeds, overrides = command_line.of_sets("bench dsl", arguments, SETS)
    command = shlex.join(["gatesearch", "bench", "dsl", *(command_line.public(text, SETS) for text in arguments)])
    wanted = [
        (name, seed, load(RECIPE, [f"data.root={root}", *overrides, f"seed={seed}"]))
        for name, root in roots.items()
        for seed in seeds
    ] or [(SYNTHETIC, seed, load(RECIPE, [*overrides, f"seed={seed}"])) for seed in seeds]
    for name, seed, recipe in wanted:
        kept = RunFolder(RUNS / f"{name}-{seed}")
        if kept.read_json("outcome.json") is None:
            kept.write_json("outcome.json", {**_outcome(recipe, kept), "command": command})
        path = _write()
    console.say(f"wrote {path}")


def _outcome(recipe: Recipe, folder: RunFolder) -> dict[str, Any]:
    """Do one run and return its figures."""
    run = runs.finished(folder.path, recipe)
    assert run.manifest  # the thresholds of the artifacts are those that count
    summary, record = folder.read_json("summary.json"), folder.read_json("record.json")
    energy = record["energy"]
    validation = run.setting.goal.assess(run.model, run.setting.features.validation)
    return {
        "data": summary["data"],
        "plan": summary["best"]["plan"],
        "baseline": summary["baseline"],
        "best": summary["best"],
        "parity": summary["export"]["parity"],
        "streaming": summary["streaming"],
        "seconds": summary["seconds"],
        "compute_uj": energy["by_term"]["compute"],
        "ungated_compute_uj": energy["ungated_by_term"]["compute"],
        "validation_share": validation.gated_summary()["light_share"],
        "curve": _curve(run),
    }


@torch.no_grad()
def _curve(run: Run) -> dict[str, list[float]]:
    """Return the quality on test windows as the threshold of the first gate moves, beside that of drawing by lot."""
    if not cut_gates(run.model.plan):
        return {}
    wanted = run.setting.features.test.features
    errors = path_errors(run.model, wanted)[:, [0, -1]].double()
    order = gate_logits(run.model, wanted)[:, 0].argsort()
    silence = run.setting.goal.scores(torch.zeros_like(wanted), wanted, torch.zeros(0))[1].double().mean()
    counts = (SHARES * len(order)).round().long()
    light, heavy = errors[order].unbind(1)
    routed = torch.stack([(light[:n].sum() + heavy[n:].sum()) / len(order) for n in counts])
    best = (light - heavy).argsort()
    known = torch.stack([(light[best[:n]].sum() + heavy[best[n:]].sum()) / len(order) for n in counts])
    lot = heavy.mean() + SHARES * (light.mean() - heavy.mean())
    return {
        "share": SHARES.tolist(),
        "switch": (1 - routed / silence).tolist(),
        "lot": (1 - lot / silence).tolist(),
        "known": (1 - known / silence).tolist(),
    }


def _done() -> dict[str, dict[int, Outcome]]:
    """Return what is there, by data set and seed."""
    found: dict[str, dict[int, Outcome]] = {}
    for name in (*SETS, SYNTHETIC):
        for path in sorted(RUNS.glob(f"{name}-*/outcome.json")):
            seed = int(path.parent.name.rpartition("-")[2])
            found.setdefault(name, {})[seed] = RunFolder(path.parent).read_json("outcome.json")
    return found


def _write() -> Path:
    found = _done()
    rows = [row for name, outcomes in found.items() for row in _rows(name, outcomes)]
    path = write("dsl", rows, _markdown(found))
    with settings():
        _draw(found).savefig(path.with_suffix(".png"), format="png", dpi=200)
    return path


# Name, unit, how known, what was published, and the figure of an outcome; None where a plan without a gate has none.
FIGURES: tuple[tuple[str, str, str, str, Any], ...] = (
    ("light share, validation", "share", "measured", "", lambda o: o["validation_share"]),
    ("light share, test", "share", "measured", "up to 0.80", lambda o: o["best"]["light_share"]),
    ("fidelity, codec without gates", "share", "measured", "", lambda o: o["baseline"]["quality"]),
    ("fidelity, all heavy", "share", "measured", "", lambda o: o["best"]["quality_all_heavy"]),
    ("fidelity, routed by the switch", "share", "measured", "", lambda o: o["best"]["quality"]),
    ("fidelity, as many drawn by lot", "share", "measured", "", lambda o: o["best"]["quality_random"]),
    ("fidelity, all light", "share", "measured", "", lambda o: o["best"]["quality_all_light"]),
    ("signal to noise, routed", "dB", "measured", "", lambda o: o["best"]["snr_db"]),
    ("heavy over light, MACs", "x", "measured", "12.3", lambda o: o["best"].get("heavy_over_light_macs")),
    ("heavy over light, parameters", "x", "measured", "20.9", lambda o: o["best"].get("heavy_over_light_params")),
    (
        "the same with what runs for every window, MACs",
        "x",
        "measured",
        "",
        lambda o: _whole(o["best"]),
    ),
    ("resident parameters", "", "measured", "", lambda o: o["best"].get("resident_params")),
    ("parameters without gates", "", "measured", "", lambda o: o["baseline"]["params"]),
    (
        "MACs a window, less",
        "share",
        "measured",
        "",
        lambda o: _less(o["best"]["expected_macs"], o["baseline"]["macs"]),
    ),
    (
        "time a window on this host, less",
        "share",
        "measured",
        "0.265",
        lambda o: _less(o["streaming"]["gated_us"], o["streaming"]["ungated_us"]),
    ),
    (
        "energy of computation a window, less",
        "share",
        "modelled",
        "0.214",
        lambda o: _less(o["compute_uj"], o["ungated_compute_uj"]),
    ),
    (
        "energy a window with idle power and sensor, less",
        "share",
        "modelled",
        "0.214",
        lambda o: _less(o["best"]["expected_energy_uj"], o["baseline"]["energy_uj"]),
    ),
    ("bundle and model, same path", "share", "measured", "", lambda o: o["parity"]["gate_agreement"]),
    ("bundle and model, output over error", "dB", "measured", "", lambda o: o["parity"]["output_snr_db"]),
)


PICKED = "a plan with a light path was picked"
# What the switch is to be worth, and by how much an outcome has it: above zero it does.
BARS: Mapping[str, Callable[[Outcome], float]] = {
    "light share on validation within .02 of what was asked for": lambda o: (
        0.02 - abs(o["validation_share"] - GatePlan.from_dict(o["plan"]).gates[0]["share"])
    ),
    "routed better than as many by lot, test": lambda o: o["best"]["quality"] - o["best"]["quality_random"],
    "routed better than all light, test": lambda o: o["best"]["quality"] - o["best"]["quality_all_light"],
    "routed no better than all heavy, test": lambda o: o["best"]["quality_all_heavy"] - o["best"]["quality"],
    "share of the time saved on this host": lambda o: _less(o["streaming"]["gated_us"], o["streaming"]["ungated_us"]),
}


def _kept(bar: str, outcome: Outcome) -> str:
    """Return whether an outcome keeps a bar, and by how much; without a light path there is nothing to keep."""
    gated = "light_macs" in outcome["best"]
    if bar == PICKED or not gated:
        return {True: "yes", False: "**no**"}[gated] if bar == PICKED else "-"
    margin = BARS[bar](outcome)
    return f"{'yes' if margin > 0 else '**no**'}, {margin:+.4f}"


def _whole(best: Outcome) -> float | None:
    """Return the work of a window on the heavy way over that on the light one, from the input on."""
    if "light_macs" not in best:
        return None
    return float((best["shared_macs"] + best["heavy_macs"]) / (best["shared_macs"] + best["light_macs"]))


def _less(gated: float, ungated: float) -> float:
    return 1 - gated / ungated


def _rows(name: str, outcomes: Mapping[int, Outcome]) -> list[Row]:
    data = next(iter(outcomes.values()))["data"]
    protocol = f"{data['source']}; test split, hard cascade, thresholds of the exported int8 artifacts"
    rows, command = [], "; ".join(_commands(outcomes))
    for figure_name, unit, provenance, published, get in FIGURES:
        values = {seed: get(outcome) for seed, outcome in outcomes.items()}
        known = {seed: float(value) for seed, value in values.items() if value is not None}
        if known:
            rest = {"target": published or None, "provenance": provenance, "protocol": protocol, "command": command}
            rows.append(Row.over(f"{name}: {figure_name}", known, unit, **rest))
    return rows


def _commands(outcomes: Mapping[int, Outcome]) -> list[str]:
    """Return what made these outcomes, each command once."""
    return list(dict.fromkeys(outcome["command"] for outcome in outcomes.values()))


def _markdown(found: Mapping[str, Mapping[int, Outcome]]) -> str:
    sets = [*found, *(name for name in SETS if name not in found)]
    lines = []
    for figure_name, unit, provenance, published, get in FIGURES:
        cells = [_cell(found.get(name, {}), get, unit) for name in sets]
        lines.append([figure_name, provenance, *cells, re.sub(r"\b0\.", ".", published)])
    heads = [
        f"{name}, {len(found[name])} seed{'s' * (len(found[name]) > 1)}" if name in found else name for name in sets
    ]
    figures = markdown_table(["", "known", *heads, "published"], lines)
    bars = markdown_table(
        ["", *(f"{name}, seed {seed}" for name, outcomes in found.items() for seed in outcomes)],
        [[bar, *(_kept(bar, o) for outcomes in found.values() for o in outcomes.values())] for bar in (PICKED, *BARS)],
    )
    plans = markdown_table(
        ["data", "seed", "plan", "windows: train, validation, test", "run, s"],
        [
            [name, str(seed), str(GatePlan.from_dict(o["plan"])), ", ".join(str(o["data"][p]) for p in PARTS),
             f"{o['seconds']:.0f}"]
            for name, outcomes in found.items()
            for seed, o in outcomes.items()
        ],
    )  # fmt: skip
    sources = "\n".join(
        f"- {name}: {next(iter(outcomes.values()))['data']['source']}" for name, outcomes in found.items()
    )
    commands = dict.fromkeys(f"    {command}" for outcomes in found.values() for command in _commands(outcomes))
    told = "\n".join(commands)
    stamp = fingerprint()
    versions = ", ".join(f"{name} {version}" for name, version in stamp["versions"].items())
    return f"""# A codec with a light path: Dynamic Switch Layers

{told}

{figures}

{bars}

![fidelity against light share](dsl.png)

Median over seeds, range in brackets. Fidelity is 1 - e / e(silence) for the error e that the codec is trained on
(distance of samples and of spectra at three frame lengths), on windows of one level: 1 is perfect, 0 no better than
silence. Test split, hard cascade: a window runs the light decoder or the heavy one, never both. Drawn by lot is the
expectation over as many windows as the switch sends. The light path is the light decoder, the heavy path all that lies
behind the switch; what lies before it, encoder and quantiser at least, runs for every window and is counted in
neither, and all parameters are resident. The switch's threshold is set for the wanted share on validation; on other
speakers and sounds another share may come of it. Time is **measured**: LiteRT int8 on one thread, host loop included,
front end excluded, the ungated codec in turn with it. Energy is **modelled** on the device profile `host`, whose powers
are **assumed**; on it nearly all of a window's energy is idle power, so that of computation stands apart.

What differs from the published column: the paper (arXiv 2404.04405, of which the abstract could be read) has
SoundStream at its own size, other data, and a microcontroller's power; whether its ratios are of decoders alone, as
ours are, or of whole models, it does not say. An average over windows cannot gain more than
1 / (1 - r) at a light share r however cheap the light path is, nor more than what lies behind the switch takes.

## Runs

{plans}

{sources}

Machine: {stamp["cpu"]}, {stamp["cores"]} cores. Versions: python {stamp["python"]}, {versions}.
"""


PARTS = ("train", "validation", "test")


def _cell(outcomes: Mapping[int, Outcome], get: Any, unit: str) -> str:
    values = [value for outcome in outcomes.values() if (value := get(outcome)) is not None]
    if not values:
        return "no light path" if outcomes else "not run"
    form = {"share": "{:.3f}", "": "{:,.0f}"}.get(unit, "{:.1f}")
    return spread(values, form) + (f" {unit}" if unit not in ("share", "") else "")


def _draw(found: Mapping[str, Mapping[int, Outcome]]) -> Figure:
    """Draw, for each data set's first seed, fidelity against light share: by the switch, by lot, by what was known."""
    drawing = figure(3.0 * max(1, len(found)) + 0.4, 3.0)
    panels = drawing.subplots(1, max(1, len(found)), squeeze=False)[0]
    for axes, (name, outcomes) in zip(panels, found.items(), strict=False):
        outcome = next(iter(outcomes.values()))
        curve = outcome["curve"]
        if curve:
            axes.plot(curve["share"], curve["known"], ":", color=MUTED, label="errors known beforehand")
            axes.plot(curve["share"], curve["switch"], "-", color=GATED, label="switch")
            axes.plot(curve["share"], curve["lot"], "--", color=INK, label="drawn by lot")
            at = outcome["best"]
            axes.plot(at["light_share"], at["quality"], "o", color=GATED, markeredgecolor=INK, label="in use")
        axes.set_title(name)
        axes.set_xlabel("light share")
    panels[0].set_ylabel("fidelity")
    legend_below(drawing, panels[0], columns=4 if len(found) > 1 else 2)
    return drawing
