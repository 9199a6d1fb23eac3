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
from gatesearch.training.goal import GOALS, Classification, Figures, Goal, Reconstruction
from gatesearch.training.reconstruction import Fidelity, path_errors
from gatesearch.training.saliency import saliency
from gatesearch.training.settings import GateSettings, Schedule
from gatesearch.training.task import GatedTask

__all__ = [
    "GOALS",
    "Classification",
    "FeatureSplit",
    "Features",
    "Fidelity",
    "Figures",
    "GateSettings",
    "GatedTask",
    "Goal",
    "History",
    "Quality",
    "Reconstruction",
    "Schedule",
    "assess",
    "calibrate",
    "fit",
    "gate_logits",
    "path_errors",
    "predictions",
    "prepare",
    "quality",
    "run_cascade",
    "saliency",
]
