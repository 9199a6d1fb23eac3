"""Goals of a network: classification, detection or reconstruction; a goal defines loss and quality.

Training, search and report call the goal of a run, so that they need not know what the network does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from gatesearch.training.features import Features
from gatesearch.training.goals.base import Figures, Goal, Operation
from gatesearch.training.goals.classification import Classification
from gatesearch.training.goals.detection import Detection, detection_of
from gatesearch.training.goals.reconstruction import Reconstruction

__all__ = ["GOALS", "Classification", "Detection", "Figures", "Goal", "Operation", "Reconstruction"]

# Goals by the names that a recipe may use under the key ``goal``. Each entry is a function that returns a goal. Its
# arguments are the features, the names of the classes, and the number of false accepts per hour that are allowed.
GOALS: Mapping[str, Callable[[Features, Sequence[str], float], Goal]] = {
    Classification.name: lambda features, classes, _: Classification(features.positive, features.kind_names),
    Detection.name: detection_of,
    Reconstruction.name: lambda features, classes, _: Reconstruction(features.shape, features.kind_names, classes),
}
