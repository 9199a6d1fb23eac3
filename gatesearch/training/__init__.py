"""Training: losses, calibration of thresholds, and metrics on the hard cascade."""

from gatesearch.training.evaluate import (
    Quality,
    assess,
    calibrate,
    gate_logits,
    predictions,
    quality,
    run_cascade,
)
from gatesearch.training.features import Features, FeatureSplit, prepare
from gatesearch.training.fit import History, fit
from gatesearch.training.saliency import saliency
from gatesearch.training.settings import GateSettings, Schedule
from gatesearch.training.task import GatedTask

__all__ = [
    "FeatureSplit",
    "Features",
    "GateSettings",
    "GatedTask",
    "History",
    "Quality",
    "Schedule",
    "assess",
    "calibrate",
    "fit",
    "gate_logits",
    "predictions",
    "prepare",
    "quality",
    "run_cascade",
    "saliency",
]
