"""Of a finished run: summary.json, record.json, and what is printed at its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch

from gatesearch._lib import console
from gatesearch.cost.energy import front_end_bound, gain_end_to_end, gain_paper_style
from gatesearch.cost.sources import board
from gatesearch.export.bundle import artifacts as exported
from gatesearch.gates import cut_gates, params_of, work_of
from gatesearch.gates.modules import activation_sparsity
from gatesearch.report.record import exits, prevalence, sensitivity
from gatesearch.report.record import layers as of_layers
from gatesearch.report.record.trials import begun, counts_by_kind, curves, reference_point, with_plans, write_trials
from gatesearch.training import gate_logits
from gatesearch.training.tensors import channels_last

if TYPE_CHECKING:
    from gatesearch.cost.model import Price
    from gatesearch.model import GatedModel
    from gatesearch.pipeline.steps import Run
    from gatesearch.plan import GatePlan
    from gatesearch.training import Figures

ROC_POINTS = 101
# What summary.json says of the data.
SUMMARISED = ("name", "source", "synthetic", "train", "validation", "test", "positive_share", "test_by_kind")


def write(run: Run) -> dict[str, Any]:
    """Write summary.json and record.json of a finished run; returns the summary."""
    s, recipe, cost = run.setting, run.recipe, run.cost
    gated, ungated = run.quality(run.model), run.quality(run.reference)
    sparsity = sparsity_of_gates(run.model, s.features.test.features[s.features.positive[s.features.test.labels]])
    densities = [1.0 - row["element"] for row in sparsity]
    plan = run.model.plan
    price = cost.price(plan, gated.passed, densities, gated.layers)
    rival = cost.ungated()[1]
    parity, stream = run.parity, run.streaming
    seconds = run.seconds()
    mean_sparsity = sum(row["element"] for row in sparsity) / len(sparsity) if sparsity else 0.0
    mixed = any(share > 0 for kind, share in cost.shares.items() if kind != "positive")
    counts = counts_by_kind(run)
    gating = gated.gated_summary()
    none = None if gating["early_stop_rate"] is None else 0.0  # null where nothing is labelled
    stream_stop = prevalence.early_stop(cost.shares, gated.passed) if mixed else none
    stop_at_least = prevalence.early_stop_at_least(cost.shares, gated.passed, counts) if mixed else stream_stop
    layers = of_layers.rows(plan, cost, gated.layers)
    opening = begun(run)
    data = {key: opening["data"][key] for key in SUMMARISED}
    reference = {
        **ungated.summary(),
        **opening["reference"],
        "latency_us": rival.expected_latency_us,
        "energy_uj": rival.energy.total_uj,
    }
    best = {
        "digest": plan.digest,
        "plan": plan.to_dict(),
        **gated.summary(),
        **gating,
        **exits.summary(plan, cost),
        "early_stop_rate_stream": stream_stop,
        "early_stop_rate_stream_at_least": stop_at_least,
        "activation_sparsity": mean_sparsity,
        "expected_macs": price.expected_macs,
        "expected_macs_with_frontend": price.expected_macs + cost.frontend_macs,
        "macs_saving": s.sites[0].macs_after / price.expected_macs if price.expected_macs else None,
        "layer_gates": of_layers.gates(layers),
        "layer_macs": of_layers.totals(layers),
        "expected_latency_us": price.expected_latency_us,
        "expected_energy_uj": price.energy.total_uj,
        "gain_end_to_end": gain_end_to_end(rival.energy.total_uj, price.energy.total_uj),
        "gain_paper_style": _paper_style(stream_stop, mean_sparsity),
        "gain_paper_style_at_least": _paper_style(stop_at_least, mean_sparsity),
        "prevalence": prevalence.sweep(
            cost, plan, gated, densities, mean_sparsity, recipe.stream.prevalences if mixed else ()
        ),
    }
    artifacts = exported(run.manifest)
    moved = sensitivity.summary(run, gated, densities)
    volumes = run.result.hypervolume(reference_point(run))
    summary: dict[str, Any] = {
        "recipe": recipe.name,
        "seed": recipe.seed,
        "seconds": seconds.get("total", 0.0),
        "data": data,
        "goal": s.goal.name,
        "baseline": {
            key: reference[key]
            for key in ("accuracy", "quality", "macs", "params", "latency_us", "energy_uj", "core")
            if key in reference
        },
        "search": {
            "trials": len(run.result.trials),
            "unique_plans": len({trial.plan for trial in run.result.trials}),
            "evaluated": len(run.result.complete),
            "pruned": sum(trial.state == "pruned" for trial in run.result.trials),
            "priced_out": sum(trial.state == "priced_out" for trial in run.result.trials),
            "epochs": run.result.epochs(recipe.search.epochs),
            "seconds": seconds.get("search", 0.0),
            "hypervolume": volumes[-1] if volumes else 0.0,
            "engine": run.engine["used"],
            "engine_asked": recipe.search.engine,
            "engine_why": run.engine["why"],
            "tau": run.engine.get("tau"),
        },
        "best": best,
        "export": {
            "bundle": "best/bundle",
            "artifacts": artifacts,
            "parity": {
                "max_abs_error": parity.max_abs_error,
                "gate_agreement": parity.gate_agreement,
                "prediction_agreement": parity.prediction_agreement,
                "samples": parity.samples,
                **({} if parity.output_snr_db is None else {"output_snr_db": parity.output_snr_db}),
            },
        },
        "streaming": asdict(stream) | {"ratio": stream.ratio},
        "sensitivity": moved,
    }
    run.folder.write_json("summary.json", summary)
    run.folder.write_json(
        "record.json",
        opening
        | {
            "plan": plan.to_dict() | {"digest": plan.digest},
            "stages": _stages(run, price, gated, densities),
            "frontend": {
                "name": recipe.frontend.name,
                "macs": cost.frontend_macs,
                "latency_us": cost.frontend_us,
                "energy_uj": price.energy.by_term["frontend"],
                "core": cost.sense_core.name,
            },
            "gates": _gates(run, gated, sparsity),
            "paths": exits.paths(run, gated),
            "layers": layers,
            "trials": with_plans(write_trials(run.folder, run.result, run.front_times), run.result),
            "reference": opening["reference"] | reference,
            "best": best,
            "energy": {
                "total_uj": price.energy.total_uj,
                "by_term": dict(price.energy.by_term),
                "by_core": dict(price.energy.by_core),
                "ungated_total_uj": rival.energy.total_uj,
                "ungated_by_term": dict(rival.energy.by_term),
                "ungated_by_core": dict(rival.energy.by_core),
                "gain_end_to_end": best["gain_end_to_end"],
                "gain_paper_style": best["gain_paper_style"],
                "bound": _finite(front_end_bound(rival.energy.share(*prevalence.FIXED))),
            },
            "curves": curves(run.histories()),
            "parity": summary["export"]["parity"]
            | {
                "per_stage": list(parity.per_stage),
                "bars": {
                    "gate": recipe.verify.gate_agreement,
                    "prediction": recipe.verify.prediction_agreement,
                    "output_snr_db": recipe.verify.output_snr_db,
                },
                "confusions": {},
            },
            "streaming": asdict(stream)
            | {"ratio": stream.ratio, "provenance": "measured", "engine": _engine(run.manifest)},
            "tables": [
                {"core": core.name, "told": found.summary}
                for core in s.device.cores
                if (found := board.table_of(core)) is not None
            ],
            "sensitivity": moved,
            "artifacts": artifacts,
            "hypervolume": volumes,
            "engine": run.engine,
        },
    )
    return summary


@torch.no_grad()
def sparsity_of_gates(model: GatedModel, positives: torch.Tensor) -> list[dict[str, float]]:
    """Return the activation sparsity of what each gate passes of the positives [N, *shape]."""
    hidden, rows = channels_last(positives), []
    for k, stage in enumerate(model.stages):
        hidden = stage(hidden)
        if k < len(model.gates):
            passed = model.gate(k)(hidden).passed
            rows.append(activation_sparsity(passed, hidden, model.sites[k].channel_axis))
            hidden = passed
    return rows


def show(run: Run, summary: dict[str, Any]) -> None:
    """Print the table that ends a run: the ungated backbone beside the best plan."""
    baseline, best, cost = summary["baseline"], summary["best"], run.cost
    uj, us = (lambda v: console.si(v * 1e-6, "J")), (lambda v: console.si(v * 1e-6, "s"))
    rows: list[tuple[str, str, str]] = [
        *run.setting.goal.shown(run.quality(run.reference).summary(), best),
        *_stopping(run.model.plan, best),
        *_inside_layers(best),
        ("expected MACs", console.si(baseline["macs"], ""), console.si(best["expected_macs"], "")),
        ("expected latency", us(baseline["latency_us"]), us(best["expected_latency_us"])),
        ("expected energy a window", uj(baseline["energy_uj"]), uj(best["expected_energy_uj"])),
        ("cores", baseline["core"], " > ".join(best["plan"]["cores"])),
    ]
    note = " (synthetic data)" if summary["data"]["synthetic"] else ""
    console.table(f"{run.recipe.name}{note}", ("", "ungated", "gated"), rows)
    console.say(f"plan: {run.model.plan}")
    console.say(
        f"energy gain {best['gain_end_to_end']:.2f}x end to end (sensor, front end and idle power bound it at "
        f"{bound(run):.2f}x; device constants: `gatesearch devices {cost.device.name}`)"
    )
    console.say(sensitivity.told(summary["sensitivity"]))
    rows = [(a["core"], str(a["stage"]), a["path"]) for a in summary["export"]["artifacts"]]
    console.table("exported to " + str(run.folder / "best" / "bundle"), ("core", "stage", "artifact"), rows)


def _stopping(plan: GatePlan, best: dict[str, Any]) -> list[tuple[str, str, str]]:
    if not cut_gates(plan) or best["gate_recall"] is None:
        return []
    shares = {f"{kind} stopped": share for kind, share in best["early_stop_by_kind"].items()}
    return [
        (label, "-", console.percent(share))
        for label, share in ({"positives through all gates": best["gate_recall"]} | shares).items()
    ]


def _inside_layers(best: dict[str, Any]) -> list[tuple[str, str, str]]:
    if not best["layer_gates"]:
        return []
    dense, left = best["layer_macs"]["dense"], best["layer_macs"]["left"]
    share = console.percent(left / dense)
    return [("MACs left in gated layers", console.si(dense, ""), f"{console.si(left, '')}, {share}")]


def bound(run: Run) -> float:
    """Return the gain that no gate can exceed, because sensor, front end and idle power stay."""
    return front_end_bound(run.cost.ungated()[1].energy.share(*prevalence.FIXED))


def _stages(run: Run, price: Price, quality: Figures, densities: list[float]) -> list[dict[str, Any]]:
    rows = []
    for k, estimate in enumerate(run.cost.stages(run.model.plan, densities, quality.layers)):
        rows.append(
            {
                "index": k,
                "core": estimate.cost.core,
                "first_site": estimate.first_site,
                "last_site": estimate.last_site,
                "macs": estimate.macs,
                "weight_bytes": estimate.flash_bytes,
                "reach": {"stream": price.reach[k], **{kind: row[k] for kind, row in quality.passed.items()}},
                "latency_us": estimate.cost.latency_us,
                "latency_provenance": estimate.provenance,
                "energy_uj": dict(price.energy.by_stage[k]),
                "exit": exits.row(estimate, price, k),
            }
        )
    return rows


def _gates(run: Run, quality: Figures, sparsity: list[dict[str, float]]) -> list[dict[str, Any]]:
    s, model = run.setting, run.model
    split = s.features.test
    logits = gate_logits(model, split.features)
    rows = []
    for k, placed in enumerate(cut_gates(model.plan)):
        stops = {
            kind: 1 - (row[k + 1] / row[k] if row[k] else 0.0)
            for kind, row in quality.passed.items()
            if kind != "positive"
        }
        rows.append(
            {
                "index": k,
                "site": placed.site,
                "kind": placed.kind,
                "kept_channels": work_of(model.sites[k], placed).kept_channels,
                "theta": float(model.gate(k).theta),
                "recall_target": params_of(model.sites[k], placed).calibration().get("recall"),
                "gate_recall": quality.gate_recalls[k] if quality.gate_recalls else None,
                "early_stop": stops,
                "activation_sparsity": sparsity[k],
                "roc": roc(logits[:, k], split.kinds, s.features.kind_names),
            }
        )
    return rows


def roc(logit: torch.Tensor, kinds: torch.Tensor, kind_names: Any) -> dict[str, dict[str, list[float]]]:
    """For each kind of negative, the share that a threshold stops against the share of positives that it passes.

    Args:
        logit: [N].
        kinds: index into ``kind_names``, 0 being positive, [N].
        kind_names: names.
    """
    recalls = torch.linspace(0.0, 1.0, ROC_POINTS, dtype=torch.float64) ** 0.5  # denser where recall is high
    positives = logit[kinds == 0].double()
    thresholds = torch.quantile(positives, 1 - recalls)
    curves = {}
    for i, name in enumerate(kind_names):
        if i and bool((kinds == i).any()):
            stopped = (logit[kinds == i].double()[None] < thresholds[:, None]).double().mean(1)
            curves[name] = {"recall": recalls.tolist(), "stopped": stopped.tolist()}
    return curves


def _engine(manifest: Mapping[str, Any]) -> str:
    used = sorted({stage["arithmetic"] for stage in manifest["stages"]})
    ungated = manifest.get("ungated", {}).get("arithmetic", "int8")  # which a bundle from before does not say
    return f"LiteRT {ungated}" if used == [ungated] else f"LiteRT (gated {' and '.join(used)}, ungated {ungated})"


def _paper_style(early_stop: float | None, sparsity: float) -> float | None:
    return None if early_stop is None else _finite(gain_paper_style(early_stop, sparsity))


def _finite(value: float) -> float | None:
    return value if value < float("inf") else None
