"""Training of gated models: goals and losses, calibration of thresholds, quality on the hard cascade.

The hard cascade is the model as a device runs it: at each gate, a sample passes or stops.
"""

from gatesearch.training.calibration import calibrate, digest_weights
from gatesearch.training.cascade import gate_logits, path_errors, predictions, run_cascade
from gatesearch.training.features import Features, FeatureSplit, prepare
from gatesearch.training.fit import History, fit
from gatesearch.training.goals import GOALS, Classification, Figures, Goal, Operation, Reconstruction
from gatesearch.training.goals.classification import assess
from gatesearch.training.hard_negatives import find_hard_negatives
from gatesearch.training.saliency import saliency
from gatesearch.training.settings import GateSettings, Schedule
from gatesearch.training.task import GatedTask

__all__ = [
    "GOALS",
    "Classification",
    "FeatureSplit",
    "Features",
    "Figures",
    "GateSettings",
    "GatedTask",
    "Goal",
    "History",
    "Operation",
    "Reconstruction",
    "Schedule",
    "assess",
    "calibrate",
    "digest_weights",
    "find_hard_negatives",
    "fit",
    "gate_logits",
    "path_errors",
    "predictions",
    "prepare",
    "run_cascade",
    "saliency",
]
