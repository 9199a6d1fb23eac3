"""The record of a finished run: summary.json for programs, and record.json, the data behind report.html."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from gatesearch._lib import console
from gatesearch.cost.energy import front_end_bound, gain_end_to_end, gain_paper_style
from gatesearch.cost.model import CostModel
from gatesearch.cost.price import Price
from gatesearch.cost.sources import board
from gatesearch.devices.profile import list_constants
from gatesearch.export.bundle import artifacts as list_artifacts
from gatesearch.export.verify import Parity
from gatesearch.pipeline.export import PlanBundle
from gatesearch.pipeline.opening_record import count_test_windows, opening_record, read_histories, reference_point
from gatesearch.pipeline.pick import BestPlan, repick
from gatesearch.pipeline.problem import Problem
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.report import write_page
from gatesearch.report.record import RunRecord, exits, gates, prevalence, sensitivity
from gatesearch.report.record import layers as layer_parts
from gatesearch.report.record.trials import add_plans, learning_curves, trial_rows
from gatesearch.report.terminal import print_summary
from gatesearch.runtime.stream_timing import StreamTiming
from gatesearch.search.result import SearchResult
from gatesearch.training import Figures

SUMMARY_VERSION = 1  # of the format of summary.json, as docs/schemas/summary.json has it
# What summary.json says of the data.
DATA_KEYS = ("name", "source", "synthetic", "train", "validation", "test", "positive_share", "test_by_kind")
BASELINE_KEYS = ("accuracy", "quality", "macs", "params", "latency_us", "energy_uj", "core")


@dataclass(frozen=True)
class RunOutputs:
    """The values of a run's steps that its record is made from; see :class:`gatesearch.pipeline.result.RunResult`."""

    problem: Problem
    cost: CostModel
    trials: SearchResult
    path_times: Mapping[str, Mapping[str, float]]
    best: BestPlan
    bundle: PlanBundle
    parity: Parity
    stream: StreamTiming


@dataclass(frozen=True)
class _TestFigures:
    """Figures of the best plan on the test split, beside the ungated backbone.

    ``densities`` is the share of non-zero values in each gate's output, ``sparsity`` each gate's sparsity on positives.
    """

    gated: Figures
    ungated: Figures
    sparsity: list[dict[str, float]]
    densities: list[float]
    mean_sparsity: float
    price: Price
    ungated_price: Price


def build_record(outputs: RunOutputs, folder: RunFolder) -> RunRecord:
    """Return the record of a finished run."""
    problem, cost, trials = outputs.problem, outputs.cost, outputs.trials
    plan = outputs.bundle.model.plan
    figures = _assess(outputs)
    layers = layer_parts.layer_rows(plan, cost, figures.gated.layers)
    best = _best(outputs, figures, layers)
    opening = opening_record(problem, cost, folder)
    reference = {
        **figures.ungated.summary(),
        **opening["reference"],
        "latency_us": figures.ungated_price.expected_latency_us,
        "energy_uj": figures.ungated_price.energy.total_uj,
    }
    sensitivity_json = sensitivity.sensitivity_summary(
        cost,
        plan,
        figures.gated,
        figures.densities,
        repick=partial(repick, problem.recipe, trials, outputs.best.rejected),
        profile=dict(list_constants(problem.device)),
    )
    hypervolumes = trials.hypervolume(reference_point(cost))
    artifacts = list_artifacts(outputs.bundle.manifest)
    seconds = folder.seconds()
    parity = _parity(outputs.parity)
    curve_files = {"baseline": "baseline", "ungated": "ungated", "gated": f"gated-{plan.digest}"}
    curves = learning_curves(read_histories(folder, curve_files))
    warnings = folder.warnings()  # last, so that nothing is printed that the record does not hold
    summary: dict[str, Any] = {
        "version": SUMMARY_VERSION,
        "recipe": problem.recipe.name,
        "seed": problem.recipe.seed,
        "seconds": seconds.get("total", 0.0),
        "data": {key: opening["data"][key] for key in DATA_KEYS},
        "goal": problem.goal.name,
        "baseline": {key: reference[key] for key in BASELINE_KEYS if key in reference},
        "search": _search(outputs, seconds, hypervolumes),
        "best": best,
        "export": {"bundle": "best/bundle", "artifacts": artifacts, "parity": parity},
        "streaming": asdict(outputs.stream) | {"ratio": outputs.stream.ratio},
        "sensitivity": sensitivity_json,
        "warnings": warnings,
    }
    details = opening | {
        "plan": plan.to_dict() | {"digest": plan.digest},
        "stages": gates.stage_rows(cost, plan, figures.price, figures.gated, figures.densities),
        "frontend": {
            "name": problem.recipe.frontend.name,
            "macs": cost.frontend_macs,
            "latency_us": cost.frontend_us,
            "energy_uj": figures.price.energy.by_term["frontend"],
            "core": cost.sense_core.name,
        },
        "gates": gates.gate_rows(
            outputs.bundle.model,
            figures.gated,
            figures.sparsity,
            problem.features.test,
            problem.features.kind_names,
        ),
        "paths": exits.routing_rows(plan, figures.gated, figures.ungated),
        "layers": layers,
        "trials": add_plans(trial_rows(trials, outputs.path_times), trials),
        "reference": opening["reference"] | reference,
        "best": best,
        "energy": _energy(figures, best),
        "curves": curves,
        "parity": parity | _parity_details(outputs),
        "streaming": asdict(outputs.stream)
        | {
            "ratio": outputs.stream.ratio,
            "provenance": "measured",
            "engine": describe_engine(outputs.bundle.manifest),
        },
        "tables": [
            {"core": core.name, "told": table.summary}
            for core in problem.device.cores
            if (table := board.table_of(core)) is not None
        ],
        "sensitivity": sensitivity_json,
        "artifacts": artifacts,
        "hypervolume": hypervolumes,
        "warnings": warnings,
    }
    return RunRecord(summary, details)


def write_record(record: RunRecord, problem: Problem, bundle: PlanBundle, folder: RunFolder) -> None:
    """Write summary.json, record.json and report.html, and print the table that ends a run."""
    folder.write_json("summary.json", record.summary)
    folder.write_json("record.json", record.details)
    page = write_page(folder.path)
    quality_rows = problem.goal.summary_rows(record.details["reference"], record.summary["best"])
    print_summary(record, quality_rows, problem.device.name, str(bundle.path))
    console.say(f"report: {page}")


def describe_engine(manifest: Mapping[str, Any]) -> str:
    """Return what ran the stages of a bundle, and the ungated program beside them.

    >>> describe_engine({"stages": [{"arithmetic": "int8"}], "ungated": {"arithmetic": "int8"}})
    'LiteRT int8'
    """
    used = sorted({stage["arithmetic"] for stage in manifest["stages"]})
    ungated = manifest.get("ungated", {}).get("arithmetic", "int8")  # bundles of version 0.1 may lack it
    return f"LiteRT {ungated}" if used == [ungated] else f"LiteRT (gated {' and '.join(used)}, ungated {ungated})"


def _assess(outputs: RunOutputs) -> _TestFigures:
    problem, cost, model = outputs.problem, outputs.cost, outputs.bundle.model
    test = problem.features.test
    gated, ungated = problem.goal.assess(model, test), problem.goal.assess(outputs.best.ungated, test)
    sparsity = gates.sparsity_of_gates(model, test.features[problem.features.positive[test.labels]])
    densities = [1.0 - row["element"] for row in sparsity]
    return _TestFigures(
        gated=gated,
        ungated=ungated,
        sparsity=sparsity,
        densities=densities,
        mean_sparsity=sum(row["element"] for row in sparsity) / len(sparsity) if sparsity else 0.0,
        price=cost.price(model.plan, gated.passed, densities, gated.layers),
        ungated_price=cost.ungated()[1],
    )


def _best(outputs: RunOutputs, figures: _TestFigures, layers: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what summary.json says of the best plan."""
    problem, cost, price = outputs.problem, outputs.cost, figures.price
    plan = outputs.bundle.model.plan
    gating = figures.gated.gated_summary()
    stop, stop_at_least = _stream_stop(outputs, figures, gating["early_stop_rate"])
    has_negatives = _has_negatives(cost)
    return {
        "digest": plan.digest,
        "plan": plan.to_dict(),
        **figures.gated.summary(),
        **gating,
        **exits.light_path_costs(plan, cost),
        "early_stop_rate_stream": stop,
        "early_stop_rate_stream_at_least": stop_at_least,
        "activation_sparsity": figures.mean_sparsity,
        "expected_macs": price.expected_macs,
        "expected_macs_with_frontend": price.expected_macs + cost.frontend_macs,
        "macs_saving": problem.sites[0].macs_after / price.expected_macs if price.expected_macs else None,
        "layer_gates": layer_parts.gated_layers(layers),
        "layer_macs": layer_parts.total_macs(layers),
        "expected_latency_us": price.expected_latency_us,
        "expected_energy_uj": price.energy.total_uj,
        "utilisation": {"mean": dict(price.utilisation), "worst": dict(price.worst_utilisation)},
        "gain_end_to_end": gain_end_to_end(figures.ungated_price.energy.total_uj, price.energy.total_uj),
        "gain_paper_style": _idealised_gain(stop, figures.mean_sparsity),
        "gain_paper_style_at_least": _idealised_gain(stop_at_least, figures.mean_sparsity),
        "prevalence": prevalence.sweep_prevalences(
            cost,
            plan,
            figures.gated,
            figures.densities,
            figures.mean_sparsity,
            problem.recipe.stream.prevalences if has_negatives else (),
        ),
    }


def _stream_stop(
    outputs: RunOutputs, figures: _TestFigures, labelled_stop: float | None
) -> tuple[float | None, float | None]:
    """Return the share of the stream's negatives that the gates stop, and its lower confidence limit.

    (None, None) without negatives and labels; (0, 0) where the labels are there and the stream has no negatives.
    """
    cost, passed = outputs.cost, figures.gated.passed
    if not _has_negatives(cost):
        nothing = None if labelled_stop is None else 0.0
        return nothing, nothing
    counts = count_test_windows(outputs.problem)
    return prevalence.early_stop(cost.shares, passed), prevalence.early_stop_at_least(cost.shares, passed, counts)


def _has_negatives(cost: CostModel) -> bool:
    return any(share > 0 for kind, share in cost.shares.items() if kind != "positive")


def _search(outputs: RunOutputs, seconds: Mapping[str, float], hypervolumes: list[float]) -> dict[str, Any]:
    trials = outputs.trials
    return {
        "trials": len(trials.trials),
        "unique_plans": len({trial.plan for trial in trials.trials}),
        "evaluated": len(trials.complete),
        "pruned": sum(trial.state == "pruned" for trial in trials.trials),
        "priced_out": sum(trial.state == "priced_out" for trial in trials.trials),
        "failed": sum(trial.state == "failed" for trial in trials.trials),
        "epochs": trials.epochs(outputs.problem.recipe.search.epochs),
        "seconds": seconds.get("search", 0.0),
        "hypervolume": hypervolumes[-1] if hypervolumes else 0.0,
        "engine": "trials",
    }


def _parity(parity: Parity) -> dict[str, Any]:
    row = {
        "max_abs_error": parity.max_abs_error,
        "gate_agreement": parity.gate_agreement,
        "prediction_agreement": parity.prediction_agreement,
        "samples": parity.samples,
    }
    return row if parity.output_snr_db is None else row | {"output_snr_db": parity.output_snr_db}


def _parity_details(outputs: RunOutputs) -> dict[str, Any]:
    bars = outputs.problem.recipe.verify
    return {
        "per_stage": list(outputs.parity.per_stage),
        "bars": {
            "gate": bars.gate_agreement,
            "prediction": bars.prediction_agreement,
            "output_snr_db": bars.output_snr_db,
        },
        "confusions": {},
        "artifacts": [asdict(check) for check in outputs.parity.artifacts],
    }


def _energy(figures: _TestFigures, best: Mapping[str, Any]) -> dict[str, Any]:
    gated, ungated = figures.price.energy, figures.ungated_price.energy
    return {
        "total_uj": gated.total_uj,
        "by_term": dict(gated.by_term),
        "by_core": dict(gated.by_core),
        "ungated_total_uj": ungated.total_uj,
        "ungated_by_term": dict(ungated.by_term),
        "ungated_by_core": dict(ungated.by_core),
        "gain_end_to_end": best["gain_end_to_end"],
        "gain_paper_style": best["gain_paper_style"],
        "bound": prevalence.finite_or_none(front_end_bound(ungated.share(*prevalence.FIXED_TERMS))),
    }


def _idealised_gain(early_stop: float | None, sparsity: float) -> float | None:
    return None if early_stop is None else prevalence.finite_or_none(gain_paper_style(early_stop, sparsity))
