"""The first table of the report: figures of the best plan, of the ungated backbone, and their differences."""

from __future__ import annotations

from typing import Any

from gatesearch.report.fields import Record, can_stop, decision_name, has_labels, quality_key, read
from gatesearch.report.sections.headline import build_provenance
from gatesearch.report.sections.layers import total_macs
from gatesearch.report.text import (
    NOT_YET,
    format_factor,
    format_micro,
    format_percent,
    format_points,
    format_si,
    format_value,
)

_SAME_WITHIN = 0.005  # costs whose ratio differs from 1 by less are printed as equal

Row = dict[str, Any]


def build_table(record: Record) -> list[Row]:
    """Return the rows of the table: label, gated and ungated figure, difference, provenance."""
    best, reference = read(record, "best"), read(record, "reference")
    provenance = build_provenance(record)
    rows = _list_quality(record)
    macs = read(best, "expected_macs"), read(reference, "macs")
    rows.append(_build_cost(f"MACs per {decision_name(record)}", macs, None, ["measured", "assumed"]))
    dense, left = total_macs(record)
    if dense:
        rows.append(_build_cost("MACs of gated layers", (left, dense), None, ["measured"]))
    latency = read(best, "expected_latency_us"), read(reference, "expected_latency_us")
    rows.append(_build_cost(f"latency per {decision_name(record)}", latency, "s", provenance["latency"]))
    energy = read(best, "expected_energy_uj"), read(reference, "expected_energy_uj")
    rows.append(_build_cost(f"energy per {decision_name(record)}", energy, "J", provenance["energy"]))
    if can_stop(record):
        rows += _list_stops(record)
    return rows


def _list_quality(record: Record) -> list[Row]:
    """Return the rows on quality; they depend on the goal, and on whether the data have labels."""
    if not has_labels(record):
        return [
            _build_share(record, "fidelity: 1 is perfect, 0 no better than silence", "quality"),
            _build_row(
                "signal to noise",
                _format_decibels(read(record, "best", "snr_db")),
                _format_decibels(read(record, "reference", "snr_db")),
            ),
        ]
    if quality_key(record) == "detected":
        return [
            _build_share(record, "events detected, test stream", "detected"),
            _build_row(
                "false accepts an hour",
                format_value(read(record, "best", "fa_per_hour")),
                format_value(read(record, "reference", "fa_per_hour")),
            ),
        ]
    if all(read(record, "data", "positive", default=[False])):
        # Without negatives, the four shares below are equal.
        return [_build_share(record, "accuracy", "accuracy")]
    return [
        _build_share(record, "accuracy, negatives as one class", "accuracy"),
        _build_share(record, "accuracy, all classes apart", "accuracy_all_classes"),
        _build_share(record, "recall of positives", "recall"),
        _build_share(record, "precision of positives", "precision"),
    ]


def _list_stops(record: Record) -> list[Row]:
    best = read(record, "best")
    gated_zeros, ungated_zeros = _format_sparsity(record)
    return [
        _build_row("early stop of negatives", format_percent(read(best, "early_stop_rate")), "none stopped"),
        _build_row("gate recall of positives", format_percent(read(best, "gate_recall")), "all pass"),
        _build_row("activation sparsity of positives", gated_zeros, ungated_zeros),
        _build_row(
            "gain by the papers' formula (idealised, negatives only)",
            format_factor(read(best, "gain_paper_style")),
            format_factor(1.0),
            provenance=["modelled"],
        ),
    ]


def _build_share(record: Record, label: str, key: str) -> Row:
    gated, ungated = read(record, "best", key), read(record, "reference", key)
    change = None if gated is None or ungated is None else gated - ungated
    return _build_row(label, format_percent(gated), format_percent(ungated), change=format_points(change))


def _build_cost(label: str, costs: tuple[float | None, float | None], unit: str | None, provenance: list[str]) -> Row:
    """Return the row of a cost; ``costs`` are in millionths of ``unit``, or counts if ``unit`` is None."""
    gated, ungated = costs
    if unit is None:
        gated_text, ungated_text = format_si(gated), format_si(ungated)
    else:
        gated_text, ungated_text = format_micro(gated, unit), format_micro(ungated, unit)
    return _build_row(label, gated_text, ungated_text, change=_compare_costs(gated, ungated), provenance=provenance)


def _build_row(label: str, gated: str, ungated: str, *, change: str = "", provenance: list[str] | None = None) -> Row:
    """Return a row; its figures are measured unless ``provenance`` says otherwise. A missing figure has no badge."""
    badges = ["measured"] if provenance is None else provenance
    return {
        "label": label,
        "gated": gated,
        "ungated": ungated,
        "change": change,
        "provenance": [] if gated == NOT_YET else badges,
    }


def _compare_costs(gated: float | None, ungated: float | None) -> str:
    if not gated or not ungated:
        return NOT_YET
    if abs(ungated / gated - 1) < _SAME_WITHIN:
        return "about the same"
    return f"{format_factor(ungated / gated)} less" if gated <= ungated else f"{format_factor(gated / ungated)} more"


def _format_decibels(value: float | None) -> str:
    return NOT_YET if value is None else f"{value:.1f}\u00a0dB"


def _format_sparsity(record: Record) -> tuple[str, str]:
    """Return the share of zeros in the values that gates pass, and the share of zeros that ReLU alone leaves there.

    The first share alone would credit the gates with zeros that ReLU leaves in any case.
    """
    gated = read(record, "best", "activation_sparsity")
    if isinstance(gated, dict):
        gated = read(gated, "element")
    ungated = [read(gate, "activation_sparsity", "ungated_element") for gate in read(record, "gates", default=())]
    ungated = [value for value in ungated if value is not None]
    return format_percent(gated), format_percent(sum(ungated) / len(ungated) if ungated else None)
