"""Prints the table at the end of a run: the ungated backbone beside the picked plan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gatesearch._lib import console
from gatesearch._lib.format import format_percent, format_si
from gatesearch.gates import cut_gates
from gatesearch.plan import GatePlan
from gatesearch.report.record import RunRecord
from gatesearch.report.record.sensitivity import describe_sensitivity
from gatesearch.report.sections.stream import describe_gain, describe_listening, describe_power, describe_signal


def print_summary(record: RunRecord, quality_rows: Sequence[tuple[str, str, str]], device: str, bundle: str) -> None:
    """Print the figures of a finished run.

    Args:
        record: the record of the run.
        quality_rows: rows of a label, the ungated and the gated quality, from
            :meth:`gatesearch.training.Goal.summary_rows`.
        device: name of the device.
        bundle: folder of the artifacts.
    """
    summary = record.summary
    baseline, best = summary["baseline"], summary["best"]
    plan = GatePlan.from_dict(best["plan"])
    rows: list[tuple[str, str, str]] = [
        *quality_rows,
        *_stop_rows(plan, best),
        *_layer_rows(best),
        ("expected MACs", format_si(baseline["macs"], ""), format_si(best["expected_macs"], "")),
        ("expected latency", _us(baseline["latency_us"]), _us(best["expected_latency_us"])),
        ("expected energy a window", _uj(baseline["energy_uj"]), _uj(best["expected_energy_uj"])),
        ("cores", baseline["core"], plan.describe_cores()),
    ]
    for headline in record.details["headlines"]:
        console.say(headline)
    if (power := describe_power(summary)) is not None:
        console.say(power)
    note = " (synthetic data)" if summary["data"]["synthetic"] else ""
    console.table(f"{summary['recipe']}{note}", ("", "ungated", "gated"), rows)
    console.say(f"plan: {plan}")
    for sentence in (describe_signal(summary), describe_gain(summary), describe_listening(summary)):
        if sentence is not None:
            console.say(sentence)
    bound = record.details["energy"]["bound"]
    console.say(
        f"energy gain {best['gain_end_to_end']:.2f}x end to end (sensor, front end and idle power bound it at "
        f"{'infinity' if bound is None else f'{bound:.2f}x'}; device constants: `gatesearch devices {device}`)"
    )
    console.say(describe_sensitivity(summary["sensitivity"]))
    artifacts = [(each["core"], str(each["stage"]), each["path"]) for each in summary["export"]["artifacts"]]
    console.table(f"exported to {bundle}", ("core", "stage", "artifact"), artifacts)


def _stop_rows(plan: GatePlan, best: dict[str, Any]) -> list[tuple[str, str, str]]:
    if not cut_gates(plan) or best["gate_recall"] is None:
        return []
    shares = {"positives that pass all gates": best["gate_recall"]}
    shares |= {f"{kind} stopped": share for kind, share in best["early_stop_by_kind"].items()}
    return [(label, "-", format_percent(share)) for label, share in shares.items()]


def _layer_rows(best: dict[str, Any]) -> list[tuple[str, str, str]]:
    if not best["layer_gates"]:
        return []
    dense, left = best["layer_macs"]["dense"], best["layer_macs"]["left"]
    share = format_percent(left / dense)
    return [("remaining MACs of gated layers", format_si(dense, ""), f"{format_si(left, '')}, {share}")]


def _uj(value: float) -> str:
    return format_si(value * 1e-6, "J")


def _us(value: float) -> str:
    return format_si(value * 1e-6, "s")
