"""Builds and writes the record of a finished run: summary.json, record.json and report.html."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

from gatesearch._lib import console
from gatesearch.cost.sources import board
from gatesearch.devices.profile import list_constants
from gatesearch.export.bundle import artifacts as list_artifacts
from gatesearch.export.verify import Parity
from gatesearch.pipeline.artifact_comparison import compare_artifacts, read_ungated_format
from gatesearch.pipeline.best_record import BestFigures, describe_best, describe_energy
from gatesearch.pipeline.export import BUNDLE, UNGATED, PlanBundle
from gatesearch.pipeline.extension import list_extensions
from gatesearch.pipeline.firmware import firmware_entry
from gatesearch.pipeline.headlines import list_headlines
from gatesearch.pipeline.listening import listening_entry
from gatesearch.pipeline.opening_record import opening_record, read_histories, reference_point
from gatesearch.pipeline.pick import repick
from gatesearch.pipeline.pick_dir import describe_pick
from gatesearch.pipeline.problem import Problem
from gatesearch.pipeline.result import RunOutputs
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.pipeline.stream_comparison import StreamComparison
from gatesearch.pipeline.stream_prices import measured_plan
from gatesearch.pipeline.stream_record import stream_entry
from gatesearch.report import write_page
from gatesearch.report.model_card import CARD, render_card
from gatesearch.report.record import RunRecord, exits, gates, sensitivity
from gatesearch.report.record import layers as layer_parts
from gatesearch.report.record.trials import add_plans, learning_curves, trial_rows
from gatesearch.report.terminal import print_summary

SUMMARY_VERSION = 1  # version of the format of summary.json, which docs/schemas/summary.json describes
# The keys of the entries ``data`` and ``baseline`` of summary.json.
DATA_KEYS = ("name", "source", "synthetic", "train", "validation", "test", "positive_share", "test_by_kind")
BASELINE_KEYS = ("accuracy", "quality", "macs", "params", "latency_us", "energy_uj", "core")


def build_record(
    outputs: RunOutputs, figures: BestFigures, comparison: StreamComparison | None, folder: RunFolder
) -> RunRecord:
    """Return the record of a finished run."""
    problem, cost, trials = outputs.problem, outputs.cost, outputs.trials
    plan = outputs.bundle.model.plan
    layers = layer_parts.layer_rows(plan, cost, figures.gated.layers)
    stream = stream_entry(problem, comparison)
    best = describe_best(outputs, figures, layers)
    opening = opening_record(problem, cost, folder)
    reference = {
        **figures.ungated.summary(),
        **opening["reference"],
        "latency_us": figures.ungated_price.expected_latency_us,
        "energy_uj": figures.ungated_price.energy.total_uj,
    }
    if problem.hops is not None:
        reference["macs"] = round(figures.ungated_price.expected_macs)  # per hop, like the MACs of the plan
    sensitivity_json = sensitivity.sensitivity_summary(
        cost,
        measured_plan(plan, figures.gated, figures.densities),
        repick=partial(repick, problem.recipe, trials, outputs.best),
        profile=dict(list_constants(problem.device)),
    )
    hypervolumes = trials.hypervolume(reference_point(cost))
    artifacts = list_artifacts(outputs.bundle.manifest)
    seconds = folder.seconds()
    parity = _parity(outputs.parity)
    curve_files = {"baseline": "baseline", "ungated": "ungated", "gated": f"gated-{plan.digest}"}
    curves = learning_curves(read_histories(folder.trainings, curve_files))
    verdict = _compare_files(outputs, figures, folder)
    pick = describe_pick(outputs.best, trials, folder)
    extensions = list_extensions(problem.recipe, folder.trainings)
    stored = folder.warnings()  # read last, so that the record holds every printed warning
    headlines = list_headlines(verdict, stream.get("stream"))
    warnings = list(dict.fromkeys([*headlines, *(line for line in stored if line != verdict)]))
    summary: dict[str, Any] = {
        "version": SUMMARY_VERSION,
        "recipe": problem.recipe.name,
        "seed": problem.recipe.seed,
        "seconds": seconds.get("total", 0.0),
        "pick": pick,
        "data": {key: opening["data"][key] for key in DATA_KEYS},
        "goal": problem.goal.name,
        "baseline": {key: reference[key] for key in BASELINE_KEYS if key in reference},
        "search": _search(outputs, seconds, hypervolumes) | ({"extensions": extensions} if extensions else {}),
        "best": best,
        "export": {"bundle": "best/bundle", "artifacts": artifacts, "parity": parity},
        "streaming": asdict(outputs.stream) | {"ratio": outputs.stream.ratio},
        **stream,
        "listening": listening_entry(outputs.listening),
        "firmware": firmware_entry(outputs.firmware),
        "hops": None if problem.hops is None else problem.hops.summary(),
        "sensitivity": sensitivity_json,
        "warnings": warnings,
    }
    at_clocks = cost.at_clocks(plan.clocks)
    details = opening | {
        **stream,
        "listening": listening_entry(outputs.listening),
        "plan": plan.to_dict() | {"digest": plan.digest},
        "pick": pick,
        "stages": gates.stage_rows(cost, plan, figures.price, figures.gated, figures.densities),
        "frontend": {
            "name": problem.recipe.frontend.name,
            "macs": (cost.by_hop or cost).frontend.macs,
            "latency_us": (at_clocks.by_hop or at_clocks).frontend_us,
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
        "energy": describe_energy(figures, best),
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
        "headlines": headlines,
        "extensions": extensions,
        "warnings": warnings,
    }
    return RunRecord(summary, details)


def _compare_files(outputs: RunOutputs, figures: BestFigures, folder: RunFolder) -> str | None:
    """Return the line that says in what the bundle is worse than the ungated program; None if in nothing."""
    comparison = compare_artifacts(
        outputs.bundle.manifest,
        outputs.stream,
        (folder / UNGATED).stat().st_size,
        outputs.problem.device,
        (figures.price.expected_latency_us, figures.ungated_price.expected_latency_us),
    )
    return None if comparison is None else comparison.verdict()


def write_record(record: RunRecord, problem: Problem, bundle: PlanBundle, folder: RunFolder) -> None:
    """Write summary.json, record.json, the bundle's card and report.html, and print the table that ends a run."""
    folder.write_json("summary.json", record.summary)
    folder.write_json("record.json", record.details)
    card = render_card(bundle.manifest, record.summary, record.details["constants"])
    folder.write(f"{BUNDLE}/{CARD}", card)
    page = write_page(folder.path).name
    quality_rows = problem.goal.summary_rows(record.details["reference"], record.summary["best"])
    print_summary(record, quality_rows, problem.device.name, str(folder.final_path / BUNDLE))
    console.say(f"report: {folder.final_path / page}")


def describe_engine(manifest: Mapping[str, Any]) -> str:
    """Return the engine and the number formats of a bundle's stages and of the ungated program.

    >>> describe_engine({"stages": [{"arithmetic": "int8"}], "ungated": {"arithmetic": "int8"}})
    'LiteRT int8'
    """
    used = sorted({part["arithmetic"] for stage in manifest["stages"] for part in stage.get("parts") or [stage]})
    ungated = read_ungated_format(manifest)
    return f"LiteRT {ungated}" if used == [ungated] else f"LiteRT (gated {' and '.join(used)}, ungated {ungated})"


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
    } | ({} if outputs.order is None else {"composed": outputs.order.summary()})


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
