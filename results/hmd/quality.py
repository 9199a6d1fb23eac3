"""The quality measure of each task of the ``hmd`` benchmark: name, unit, and whether a higher value is better."""

from __future__ import annotations

from collections.abc import Mapping

QUALITY: Mapping[str, str] = {
    "kws_lstm": "accuracy over twelve classes, %",
    "kws_gru": "accuracy over twelve classes, %",
    "har_bilstm": "accuracy over five activities, %",
    "lm": "bits a character, less is better",
}
UNITS: Mapping[str, str] = {"kws_lstm": "share", "kws_gru": "share", "har_bilstm": "share", "lm": "bits a character"}


def displayed(task: str, quality: float) -> float:
    """Return a quality as tables show it: a share in per cent, bits per character unchanged."""
    return quality if UNITS[task] != "share" else 100 * quality


def improvement_sign(task: str) -> int:
    """Return 1 for a task in which a higher quality figure is better, and -1 if a lower one is better."""
    return -1 if UNITS[task] == "bits a character" else 1
