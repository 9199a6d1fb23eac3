"""The tiles at the top of the report, with one main result each: the best plan beside the ungated backbone."""

from __future__ import annotations

from typing import Any

from gatesearch.devices.profile import PROVENANCES
from gatesearch.report.fields import Record, can_stop, decision_name, quality_key, quality_name, read
from gatesearch.report.sections import layers, paths
from gatesearch.report.text import NOT_YET, format_factor, format_micro, format_percent, format_si


def build_provenance(record: Record) -> dict[str, list[str]]:
    """Return the provenances of latency, energy and the constants behind them, the strongest first."""
    latency = {read(stage, "latency_provenance") for stage in read(record, "stages", default=())}
    constants = [read(constant, "provenance") for constant in read(record, "constants", default=())]
    return {
        "latency": [word for word in PROVENANCES if word in latency] or ["modelled"],
        "energy": ["modelled", "assumed"] if "assumed" in constants else ["modelled"],
        "constants": [f"{constants.count(word)} {word}" for word in PROVENANCES if word in constants],
    }


def share_of_work_saved(record: Record) -> float | None:
    """Return the share of the ungated backbone's MACs that gates save, mean over the stream."""
    expected, ungated = read(record, "best", "expected_macs"), read(record, "reference", "macs")
    return None if expected is None or not ungated else 1 - expected / ungated


def build_tiles(record: Record) -> list[dict[str, Any]]:
    """Return the tiles with the main results, each with label, value, note and provenance."""
    best, reference = read(record, "best"), read(record, "reference")
    dense, left = layers.total_macs(record)
    tiles = [
        {
            "label": quality_name(record),
            "value": format_percent(read(best, quality_key(record))),
            "note": f"ungated {format_percent(read(reference, quality_key(record)))}",
            "provenance": ["measured"],
        },
        {
            "label": f"energy per {decision_name(record)}",
            "value": format_micro(read(best, "expected_energy_uj"), "J"),
            "note": f"ungated {format_micro(read(reference, 'expected_energy_uj'), 'J')}; "
            f"gain end to end {format_factor(read(best, 'gain_end_to_end'))}",
            "provenance": build_provenance(record)["energy"],
        },
        {
            "label": "share of work saved",
            "value": format_percent(share_of_work_saved(record)),
            "note": f"backbone MACs not run, mean over the stream{'; a MAC with b bits counts b/8' if dense else ''}",
            "provenance": ["measured", "assumed"],
        },
    ]
    if dense:
        tiles.append(
            {
                "label": "MACs left in gated layers",
                "value": format_percent(layers.share_left(record)),
                "note": f"{format_si(left)} of {format_si(dense)} MACs a window",
                "provenance": ["measured"],
            }
        )
    tiles += paths.build_tiles(record)
    if can_stop(record):
        tiles += [
            {
                "label": "early stop",
                "value": format_percent(read(best, "early_stop_rate")),
                "note": "negatives stopped before the last stage",
                "provenance": ["measured"],
            },
            {
                "label": "gate recall",
                "value": format_percent(read(best, "gate_recall")),
                "note": "positives that every gate lets pass",
                "provenance": ["measured"],
            },
        ]
    return [tile | {"provenance": []} if tile["value"] == NOT_YET else tile for tile in tiles]
