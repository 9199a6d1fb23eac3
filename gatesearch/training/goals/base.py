"""The protocols of a goal and of its figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from torch import Tensor

from gatesearch.model import GatedModel
from gatesearch.training.features import FeatureSplit
from gatesearch.training.settings import Schedule

Limits = Mapping[str, Callable[[Any, float, float], float]]


class Figures(Protocol):
    """The figures of one model on one split.

    ``value`` is the number that a search maximises, at most 1. ``passed`` holds, for each kind of sample, the share
    that reaches stage k; the first entry is 1. ``gate_recalls`` is the share of positives that each gate passes, empty
    without labels. ``layers`` is the report of each layer gate, by site.
    """

    @property
    def value(self) -> float: ...  # noqa: D102

    @property
    def passed(self) -> Mapping[str, tuple[float, ...]]: ...  # noqa: D102

    @property
    def gate_recalls(self) -> tuple[float, ...]: ...  # noqa: D102

    @property
    def layers(self) -> Mapping[str, Mapping[str, float]]: ...  # noqa: D102

    def summary(self) -> dict[str, Any]:
        """Return the figures by the names of summary.json."""

    def gated_summary(self) -> dict[str, Any]:
        """Return what its gates do, by the names of summary.json."""


class Goal(Protocol):
    """One purpose of a network.

    ``quality`` names the value of its figures. ``limits`` are the constraints of a recipe that it can check: each maps
    the figures of a model, the value of the baseline and the limit to the excess over the limit.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def quality(self) -> str: ...  # noqa: D102

    @property
    def limits(self) -> Limits: ...  # noqa: D102

    def check(self, output: tuple[int, ...]) -> None:
        """Check the shape of a backbone's output for one sample.

        Raises:
            UserError: the shape is not one of this goal.
        """

    def loss(self, output: Tensor, features: Tensor, labels: Tensor, schedule: Schedule) -> Tensor:
        """Return the loss of a batch, a scalar."""

    def errors(self, output: Tensor, features: Tensor, labels: Tensor) -> Tensor:
        """Return the error of each sample, [N]."""

    def scores(self, output: Tensor, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return two numbers a sample, [N] each, whose sums' ratio over a split is the quality of that output."""

    def excess_over_chance(self, model: GatedModel, split: FeatureSplit) -> float:
        """Return by how many standard errors a model's quality exceeds that of answers that ignore the input."""

    def assess(self, model: GatedModel, split: FeatureSplit) -> Figures:
        """Return the figures of a model on the hard cascade."""

    def manifest_entries(self, model: GatedModel) -> dict[str, Any]:
        """Return what a bundle's manifest says of the goal beyond classes, such as a detector."""

    def summary_rows(self, ungated: Mapping[str, Any], gated: Mapping[str, Any]) -> list[tuple[str, str, str]]:
        """Return the rows of the table that ends a run: label, ungated, gated; both by the names of summary.json."""
