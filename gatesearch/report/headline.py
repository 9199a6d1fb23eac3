"""The first screen: the best plan beside the ungated backbone that was trained the same way."""

from __future__ import annotations

from typing import Any

from gatesearch.report import paths_view
from gatesearch.report.layer_view import share_left, totals
from gatesearch.report.values import (
    NOT_YET,
    Record,
    at,
    labelled,
    micro,
    percent,
    points,
    quality_word,
    si,
    stops,
    times,
)

_ORDER = ("measured", "simulated", "modelled", "assumed")


def provenance(record: Record) -> dict[str, list[str]]:
    """Return how latency, energy and the constants behind them are known, strongest word first."""
    latency = {at(stage, "latency_provenance") for stage in at(record, "stages", default=())}
    constants = [at(constant, "provenance") for constant in at(record, "constants", default=())]
    return {
        "latency": [word for word in _ORDER if word in latency] or ["modelled"],
        "energy": ["modelled", *(["assumed"] if "assumed" in constants else [])],
        "constants": [f"{constants.count(word)} {word}" for word in _ORDER if word in constants],
    }


def work_saved(record: Record) -> float | None:
    """Return the share of the ungated backbone's MACs that gates save, mean over the stream."""
    run, whole = at(record, "best", "expected_macs"), at(record, "reference", "macs")
    return None if run is None or not whole else 1 - run / whole


def tiles(record: Record) -> list[dict[str, Any]]:
    """Return the few numbers that answer "what was gained": label, value, note, how it is known."""
    best, reference = at(record, "best"), at(record, "reference")
    known = provenance(record)
    dense, left = totals(record)
    counted = ", b bits of 8 counted b/8" if dense else ""
    found = [
        {
            "label": quality_word(record),
            "value": percent(at(best, _quality_key(record))),
            "note": f"ungated {percent(at(reference, _quality_key(record)))}",
            "known": ["measured"],
        },
        {
            "label": "energy per window",
            "value": micro(at(best, "expected_energy_uj"), "J"),
            "note": f"ungated {micro(at(reference, 'expected_energy_uj'), 'J')}; "
            f"gain end to end {times(at(best, 'gain_end_to_end'))}",
            "known": known["energy"],
        },
        {
            "label": "share of work saved",
            "value": percent(work_saved(record)),
            "note": f"backbone MACs not run, mean over the stream{counted}",
            "known": ["measured", "assumed"],
        },
    ]
    if dense:
        found.append(
            {
                "label": "left in gated layers",
                "value": percent(share_left(record)),
                "note": f"{si(left)} of {si(dense)} MACs a window",
                "known": ["measured"],
            }
        )
    found += paths_view.tiles(record)
    if stops(record):
        found += [
            {
                "label": "early stop",
                "value": percent(at(best, "early_stop_rate")),
                "note": "negatives stopped before the last stage",
                "known": ["measured"],
            },
            {
                "label": "gate recall",
                "value": percent(at(best, "gate_recall")),
                "note": "positives that every gate lets pass",
                "known": ["measured"],
            },
        ]
    return [tile | {"known": []} if tile["value"] == NOT_YET else tile for tile in found]


def comparison(record: Record) -> list[dict[str, Any]]:
    """Return the rows of the headline table: label, gated, ungated, difference, how it is known."""
    best, reference = at(record, "best"), at(record, "reference")
    known = provenance(record)

    def share(label: str, key: str) -> dict[str, Any]:
        gated, ungated = at(best, key), at(reference, key)
        change = None if gated is None or ungated is None else gated - ungated
        return _row(label, percent(gated), percent(ungated), points(change), ["measured"])

    def cost(label: str, gated: float | None, ungated: float | None, unit: str, how: list[str]) -> dict[str, Any]:
        change = _less(gated, ungated)
        text = si if not unit else micro
        return _row(label, text(gated, unit), text(ungated, unit), change, how)

    if not labelled(record):
        quality = [
            share("fidelity: 1 is perfect, 0 no better than silence", "quality"),
            _row("signal to noise", _decibels(best), _decibels(reference), "", ["measured"]),
        ]
    elif all(at(record, "data", "positive", default=[False])):  # then these four are one
        quality = [share("accuracy", "accuracy")]
    else:
        quality = [
            share("accuracy, negatives as one class", "accuracy"),
            share("accuracy, all classes apart", "accuracy_all_classes"),
            share("recall of positives", "recall"),
            share("precision of positives", "precision"),
        ]
    dense, left = totals(record)
    return [
        *quality,
        cost("MACs per window", at(best, "expected_macs"), at(reference, "macs"), "", ["measured", "assumed"]),
        *([cost("MACs of gated layers", left, dense, "", ["measured"])] if dense else []),
        *(
            cost(
                f"{label} per window",
                at(best, f"expected_{key}"),
                at(reference, f"expected_{key}"),
                unit,
                known[label],
            )
            for label, key, unit in (("latency", "latency_us", "s"), ("energy", "energy_uj", "J"))
        ),
        *(_stopping(record) if stops(record) else []),
    ]


def _quality_key(record: Record) -> str:
    return "accuracy" if labelled(record) else "quality"


def _decibels(side: Record) -> str:
    value = at(side, "snr_db")
    return NOT_YET if value is None else f"{value:.1f}\u00a0dB"


def _stopping(record: Record) -> list[dict[str, Any]]:
    best = at(record, "best")
    return [
        _row("early stop of negatives", percent(at(best, "early_stop_rate")), "none stopped", "", ["measured"]),
        _row("gate recall of positives", percent(at(best, "gate_recall")), "all pass", "", ["measured"]),
        _row("activation sparsity of positives", *_sparsity(record), "", ["measured"]),
        _row(
            "gain by the papers' formula (idealised, negatives only)",
            times(at(best, "gain_paper_style")),
            times(1.0),
            "",
            ["modelled"],
        ),
    ]


def _row(label: str, gated: str, ungated: str, change: str, how: list[str]) -> dict[str, Any]:
    # Nothing is known about a number that is not there.
    known = [] if gated == NOT_YET else how
    return {"label": label, "gated": gated, "ungated": ungated, "change": change, "known": known}


def _less(gated: float | None, ungated: float | None) -> str:
    if not gated or not ungated:
        return NOT_YET
    if abs(ungated / gated - 1) < 0.005:
        return "about the same"
    return f"{times(ungated / gated)} less" if gated <= ungated else f"{times(gated / ungated)} more"


def _sparsity(record: Record) -> tuple[str, str]:
    gated = at(record, "best", "activation_sparsity")
    if isinstance(gated, dict):
        gated = at(gated, "element")
    ungated = [
        value
        for gate in at(record, "gates", default=())
        if (value := at(gate, "activation_sparsity", "ungated_element")) is not None
    ]
    # The zeros that ReLU leaves anyway, at the same places: without them the gate would be flattered.
    return percent(gated), percent(sum(ungated) / len(ungated)) if ungated else NOT_YET
