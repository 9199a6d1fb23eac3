"""`gatesearch bench hmd_runs speech=DIR har=FILE`: the two recipes of recurrent networks, from data to bundle.

Each data set and seed is one ordinary run of a recipe. A run that is done is not done again, one that was cut off goes
on, and the page is written after each. Without recordings the data are synthetic, and labelled so.
"""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gatesearch._lib import console
from gatesearch._lib.timing import fingerprint
from gatesearch.kernels import status
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.pipeline.steps import Run
from gatesearch.plan import GatePlan
from gatesearch.recipe import Recipe, load
from gatesearch.report.rows import Row, markdown_table, write
from results import arguments, runs
from results.hmd import ROOTS, latency
from results.hmd.prose import runtime as described

RUNS = Path("runs/bench-hmd_runs")
RECIPES: Mapping[str, str] = {"speech": "kws_lstm_hmd.yaml", "har": "har_hmd.yaml"}

Outcome = Mapping[str, Any]


class Figure(NamedTuple):
    """A figure of an outcome: its name, unit, provenance and the way to it, without gates and with the plan."""

    name: str
    unit: str
    provenance: str
    ungated: Any
    planned: Any


FIGURES = (
    Figure("accuracy, test", "share", "measured", lambda o: o["baseline"]["accuracy"], lambda o: o["best"]["accuracy"]),
    Figure(
        "accuracy, validation",
        "share",
        "measured",
        lambda o: o["validation"]["ungated"],
        lambda o: o["validation"]["plan"],
    ),
    Figure("MACs a window", "", "measured", lambda o: o["baseline"]["macs"], lambda o: o["best"]["expected_macs"]),
    Figure(
        "a step by the kernels of this project, best",
        "us",
        "measured",
        lambda o: o["step"]["ungated"]["minimum_us"],
        lambda o: o["step"]["plan"]["minimum_us"],
    ),
    Figure(
        "a step by the kernels of this project, median",
        "us",
        "measured",
        lambda o: o["step"]["ungated"]["median_us"],
        lambda o: o["step"]["plan"]["median_us"],
    ),
    Figure(
        "a window, ungated by LiteRT in float, the plan by its bundle",
        "us",
        "measured",
        lambda o: o["streaming"]["ungated_us"],
        lambda o: o["streaming"]["gated_us"],
    ),
)


def main(arguments: list[str]) -> None:
    """Run both recipes where they are not done yet; write results/hmd_runs.md and .json after each.

    Args:
        arguments: ``speech=`` and ``har=``, where recordings lie; ``seeds=0,1``; any key of the recipes.

    Raises:
        UserError: an argument is wrong, or a folder holds a run of another recipe.
    """
    roots, seeds, overrides = arguments.of_sets("bench hmd_runs", arguments, RECIPES)
    command = shlex.join(["gatesearch", "bench", "hmd_runs", *(arguments.public(text, ROOTS) for text in arguments)])
    for key, recipe in RECIPES.items():
        root = [f"data.root={roots[key]}"] if key in roots else []
        for seed in seeds:
            kept = RunFolder(RUNS / f"{key if root else f'{key}-synthetic'}-{seed}")
            if kept.read_json("outcome.json") is None:
                made = _outcome(load(recipe, [*root, *overrides, f"seed={seed}"]), kept)
                kept.write_json("outcome.json", {**made, "recipe": recipe, "command": command})
            path = _write()
    console.say(f"wrote {path}")


def _outcome(recipe: Recipe, folder: RunFolder) -> dict[str, Any]:
    """Do one run and return its figures; the steps of the plan and of the ungated network are timed in turn."""
    run = runs.finished(folder.path, recipe)
    summary, split = folder.read_json("summary.json"), run.setting.features.validation
    kind = latency.runtime()
    steps = latency.measure({"ungated": run.reference, "plan": run.model}, kind)
    goal = run.setting.goal
    return {
        **{key: summary[key] for key in ("data", "baseline", "best", "search", "streaming", "seconds")},
        "parity": summary["export"]["parity"],
        "validation": {
            "ungated": goal.assess(run.reference, split).value,
            "plan": goal.assess(run.model, split).value,
        },
        "bar": recipe.constraints.max_accuracy_drop,
        "space": len(run.setting.space),
        "front": _front(run),
        "step": {name: {"minimum_us": t.minimum_us, "median_us": t.median_us} for name, t in steps.items()},
        "runtime": {"name": kind, "kernels": status()},
    }


def _front(run: Run) -> list[dict[str, Any]]:
    """Return the plans that the search found best, the quickest first."""
    found = [trial for trial in run.result.front if trial.objectives is not None]
    return sorted(
        ({"plan": str(t.plan), "accuracy": t.objectives.accuracy, "us": t.objectives.latency_us} for t in found),  # type: ignore[union-attr]
        key=lambda one: one["us"],
    )


def _write() -> Path:
    found = {path.parent.name: RunFolder(path.parent).read_json("outcome.json") for path in _paths()}
    rows = [row for name, outcome in found.items() for row in _rows(name, outcome)]
    return write("hmd_runs", rows, _markdown(found))


def _paths() -> list[Path]:
    return sorted(RUNS.glob("*/outcome.json"))


def _rows(name: str, outcome: Outcome) -> list[Row]:
    seed = int(name.rpartition("-")[2])
    return [
        Row.summarise(
            f"{outcome['recipe']}: {figure.name}, {which}",
            {seed: float(get(outcome))},
            figure.unit,
            target=None,
            provenance=figure.provenance,
            protocol=f"{outcome['data']['source']}; {outcome['recipe']}, seed {seed}",
            command=outcome["command"],
        )
        for figure in FIGURES
        for which, get in (("ungated", figure.ungated), ("plan", figure.planned))
    ]


def _markdown(found: Mapping[str, Outcome]) -> str:
    commands = "\n".join(dict.fromkeys(f"    {outcome['command']}" for outcome in found.values()))
    told = "\n\n".join(
        sorted({described(outcome["runtime"]["name"], outcome["runtime"]["kernels"]) for outcome in found.values()})
    )
    stamp = fingerprint()
    versions = ", ".join(f"{name} {version}" for name, version in stamp["versions"].items())
    sections = "\n\n".join(_section(name, outcome) for name, outcome in found.items())
    return f"""# Recipes of recurrent networks, from data to bundle

{commands}

What the search picks where hybrid matrices (`hmd`) and low rank (`lmf`) stand side by side, and what that is worth
beside the network as it was, retrained alike. All figures are **measured**. The search goes by the latency of
bundles on this host, in which kernels run recurrent layers, gated or not. LiteRT, which runs the ungated network of the
last line, takes their steps in operations of its own; so a step of the same layers by the kernels stands beside it.

{told}

{sections}

Machine: {stamp["cpu"]}, {stamp["cores"]} cores. Versions: python {stamp["python"]}, {versions}.
"""


def _section(name: str, o: Outcome) -> str:
    search, drop = o["search"], o["validation"]["ungated"] - o["validation"]["plan"]
    tried = f"{search['evaluated']} of {o['space']:,} plans tried"
    kept = "keeps" if drop <= o["bar"] else "**misses**"
    figures = markdown_table(
        ["", "ungated", "plan"],
        [[f"{f.name}{f', {f.unit}' if f.unit == 'us' else ''}", *(_cell(f, get(o)) for get in f[3:])] for f in FIGURES],
    )
    front = markdown_table(
        ["on the front of the search", "accuracy, validation", "us a window, priced"],
        [[one["plan"], f"{one['accuracy']:.3f}", f"{one['us']:.0f}"] for one in o["front"]],
    )
    about = (
        f"{'Synthetic data' if o['data']['synthetic'] else 'Data'}: {o['data']['source']} ({o['data']['train']} train, "
        f"{o['data']['validation']} validation, {o['data']['test']} test). {tried}; picked: "
        f"`{GatePlan.from_dict(o['best']['plan'])}`, which {kept} the recipe's bar: {drop:+.3f} less accuracy on "
        f"validation, {o['bar']} allowed. Bundle and model agree on {o['parity']['prediction_agreement']:.2%} of "
        f"answers. The run took {console.duration(o['seconds'])}."
    )
    return "\n\n".join((f"## {o['recipe']}, {name}", textwrap.fill(about, 120), figures, front))


def _cell(figure: Figure, value: float) -> str:
    form = {"share": "{:.3f}", "us": "{:.1f}"}.get(figure.unit, "{:,.0f}")
    return form.format(value)
