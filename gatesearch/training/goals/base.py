"""Interfaces of a goal and of its figures; a goal defines the loss and the quality of a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from gatesearch.metrics.streams import Activity
from gatesearch.model import GatedModel
from gatesearch.training.features import FeatureSplit
from gatesearch.training.settings import Schedule

Limits = Mapping[str, Callable[[Any, float, float], float]]


@dataclass(frozen=True, slots=True)
class Operation:
    """The targets with which a goal calibrates all gates of a plan together.

    Args:
        price: function that returns the price of a plan over a stream from the activities of the front end and of each
            stage: how often they run, and how often they open.
        reference: quality of the ungated backbone, trained in the same way as the plan.
        max_miss_rise: largest allowed rise of the share of missed events above the ungated backbone's share.
        min_gate_recall: least share of events for which the gates pass at least one window that holds the event.
        signal_prices: energy that a gate before the front end adds to the price, by statistic.
    """

    price: Callable[[Sequence[Activity]], float]
    reference: float
    max_miss_rise: float = 0.0
    min_gate_recall: float = 0.0
    signal_prices: Mapping[str, float] = field(default_factory=dict)


class Figures(Protocol):
    """The figures of one model on one split.

    ``value`` is the number that a search maximises, at most 1. ``passed`` holds, for each kind of sample, the shares
    that reach stages 0, 1, 2 and so on; the first entry is 1. ``gate_recalls`` is the share of positives that each gate
    passes; it is empty without labels. ``layers`` is the report of each layer gate, by site.
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
        """Return the figures, named as in summary.json."""

    def gated_summary(self) -> dict[str, Any]:
        """Return the figures of the model's gates, named as in summary.json."""


class Goal(Protocol):
    """A purpose of a network, with its loss in training and its quality.

    ``quality`` is the name of the figures' ``value``. ``limits`` are the constraints that a recipe may set for this
    goal. Each is a function of a model's figures, the baseline's value and the limit; it returns the excess over the
    limit. ``gate_targets`` are the targets that gates can learn, the default first; see :class:`GateSettings`.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def quality(self) -> str: ...  # noqa: D102

    @property
    def limits(self) -> Limits: ...  # noqa: D102

    @property
    def gate_targets(self) -> Sequence[str]: ...  # noqa: D102

    def for_validation(self, split: FeatureSplit) -> Goal:
        """Return the goal with another validation split, such as recorded outputs in place of features."""

    def check(self, output: tuple[int, ...]) -> None:
        """Check the shape of a backbone's output for one sample.

        Raises:
            UserError: the shape does not fit this goal.
        """

    def loss(self, output: Tensor, features: Tensor, labels: Tensor, schedule: Schedule) -> Tensor:
        """Return the loss of a batch, a scalar."""

    def errors(self, output: Tensor, features: Tensor, labels: Tensor) -> Tensor:
        """Return the error of each sample, [N]."""

    def scores(self, output: Tensor, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return two numbers per sample, [N] each; over a split, the quality is the ratio of their two sums."""

    def excess_over_chance(self, model: GatedModel, split: FeatureSplit) -> float:
        """Return how many standard errors the quality is above the quality of answers that ignore the input."""

    def calibrate(
        self, model: GatedModel, split: FeatureSplit, positive: Tensor, operation: Operation | None = None
    ) -> str | None:
        """Set the thresholds of a model's gates, and the answers for windows that they stop.

        Args:
            model: changed in place.
            split: the validation split.
            positive: whether each class is a positive, [classes].
            operation: the targets for all gates together; None sets each gate without regard to the others.

        Returns:
            One line that says why the gates do not meet the targets; None if they do.
        """

    def assess(self, model: GatedModel, split: FeatureSplit) -> Figures:
        """Return the figures of a model on the hard cascade, in which gates stop samples as on a device."""

    def manifest_entries(self, model: GatedModel) -> dict[str, Any]:
        """Return the goal's entries of a bundle's manifest besides the classes, such as a detector."""

    def summary_rows(self, ungated: Mapping[str, Any], gated: Mapping[str, Any]) -> list[tuple[str, str, str]]:
        """Return the rows of the table at the end of a run: label, ungated value, gated value.

        ``ungated`` and ``gated`` hold figures, named as in summary.json.
        """
