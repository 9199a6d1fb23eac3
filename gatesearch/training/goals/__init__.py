"""What a network is for: what counts as an error in training, and as quality on the hard cascade.

Training, search and report ask the goal of a run, and know of neither classes nor waveforms themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from gatesearch.training.features import Features
from gatesearch.training.goals.base import Figures, Goal
from gatesearch.training.goals.classification import Classification
from gatesearch.training.goals.reconstruction import Reconstruction

__all__ = ["GOALS", "Classification", "Figures", "Goal", "Reconstruction"]

# By what a recipe says under ``goal``: from the features, and the classes' names by label.
GOALS: Mapping[str, Callable[[Features, Sequence[str]], Goal]] = {
    Classification.name: lambda features, classes: Classification(features.positive, features.kind_names),
    Reconstruction.name: lambda features, classes: Reconstruction(features.shape, features.kind_names, classes),
}
