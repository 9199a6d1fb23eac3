"""What a network is for: what counts as an error in training, and as quality on the hard cascade.

Training, search and report ask the goal of a run, and know of neither classes nor waveforms themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from gatesearch._lib.format import format_percent
from gatesearch.errors import UserError
from gatesearch.model import GatedModel
from gatesearch.training.evaluate import Quality, assess
from gatesearch.training.features import Features, FeatureSplit
from gatesearch.training.reconstruction import Fidelity, assess_reconstruction
from gatesearch.training.settings import Schedule
from gatesearch.training.spectra import shortest, waveform_errors

Limits = Mapping[str, Callable[[Any, float, float], float]]


class Figures(Protocol):
    """What a goal says of a model on one split.

    ``value`` is the one number that a search raises, at most 1. ``passed`` is, for each kind of sample, the share that
    reaches stage k, the first entry being 1; ``gate_recalls`` the share of positives that each gate passes on, empty
    where nothing is labelled; ``layers`` what each gate in the place of a layer observed, by site.
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

    ``quality`` is what it calls the value of its figures. ``limits`` are the constraints of a recipe that it knows:
    from the figures of a model, the value of its rival and the limit, by how much the limit is broken.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def quality(self) -> str: ...  # noqa: D102

    @property
    def limits(self) -> Limits: ...  # noqa: D102

    def check(self, output: tuple[int, ...]) -> None:
        """Refuse a backbone that gives one sample an output of that shape.

        Raises:
            UserError: this goal can do nothing with it.
        """

    def loss(self, output: Tensor, features: Tensor, labels: Tensor, schedule: Schedule) -> Tensor:
        """Return the loss of a batch, a scalar."""

    def errors(self, output: Tensor, features: Tensor, labels: Tensor) -> Tensor:
        """Return the error of each sample, [N]."""

    def scores(self, output: Tensor, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return two numbers a sample, [N] each, whose sums' ratio over a split is the quality of that output."""

    def assess(self, model: GatedModel, split: FeatureSplit) -> Figures:
        """Return the figures of a model on the hard cascade."""

    def shown(self, ungated: Mapping[str, Any], gated: Mapping[str, Any]) -> list[tuple[str, str, str]]:
        """Return the rows of the table that ends a run: label, ungated, gated; both by the names of summary.json."""


@dataclass(frozen=True)
class Classification:
    """Tell classes apart: cross entropy, accuracy with positives and negatives.

    Args:
        positive: whether each class is a positive, [classes].
        kind_names: of the samples' kinds, "positive" first.
    """

    positive: Tensor
    kind_names: Sequence[str]
    name = "classification"
    quality = "accuracy"

    @property
    def limits(self) -> Limits:
        """Bounds on accuracy, on recall end to end, and on recall through the gates."""
        return {
            "max_accuracy_drop": lambda found, standard, limit: standard - limit - found.accuracy,
            "min_recall": lambda found, _, limit: limit - found.recall,
            "min_gate_recall": lambda found, _, limit: limit - found.gate_recall,
        }

    def check(self, output: tuple[int, ...]) -> None:
        """Accept one logit a class."""
        if output != (len(self.positive),):
            raise UserError(
                f"backbone: returns {[2, *output]} for 2 samples; gates need logits [2, {len(self.positive)}], "
                "one a class"
            )

    def loss(self, output: Tensor, features: Tensor, labels: Tensor, schedule: Schedule) -> Tensor:
        """Return the cross entropy."""
        return F.cross_entropy(output, labels, label_smoothing=schedule.label_smoothing)

    def errors(self, output: Tensor, features: Tensor, labels: Tensor) -> Tensor:
        """Return the cross entropy of each sample."""
        return F.cross_entropy(output, labels, reduction="none")

    def scores(self, output: Tensor, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return who is given the right class, and ones."""
        right = (output.argmax(1) == labels).to(output.dtype)
        return right, torch.ones_like(right)

    def assess(self, model: GatedModel, split: FeatureSplit) -> Quality:
        """See :func:`gatesearch.training.evaluate.assess`."""
        return assess(model, split, self.positive, self.kind_names)

    def shown(self, ungated: Mapping[str, Any], gated: Mapping[str, Any]) -> list[tuple[str, str, str]]:
        """Accuracy, precision, recall."""
        rows = {"accuracy (test, hard cascade)": "accuracy", "precision": "precision", "recall": "recall"}
        return [(label, format_percent(ungated[key]), format_percent(gated[key])) for label, key in rows.items()]


@dataclass(frozen=True)
class Reconstruction:
    """Give back the waveform that came in; no label is read.

    Args:
        shape: of one sample's features, (1, S, 1).
        kind_names: of the samples' kinds.
        classes: names by which light shares are told apart in reports, by label.
    """

    shape: tuple[int, ...]
    kind_names: Sequence[str]
    classes: Sequence[str] = ()
    name = "reconstruction"
    quality = "fidelity"

    @property
    def limits(self) -> Limits:
        """A bound on what fidelity may lose."""
        return {"max_fidelity_drop": lambda found, standard, limit: standard - limit - found.fidelity}

    def check(self, output: tuple[int, ...]) -> None:
        """Accept an output of the input's shape."""
        if len(self.shape) != 3 or self.shape[0] != 1 or self.shape[2] != 1 or self.shape[1] < shortest():
            raise UserError(
                f"goal: reconstruction is of waveforms [1, S, 1] of {shortest()} samples or more; the front end gives "
                f"{list(self.shape)}"
            )
        if output != self.shape:
            raise UserError(
                f"backbone: returns {[2, *output]} for 2 samples; a reconstruction has the input's shape, "
                f"{[2, *self.shape]}"
            )

    def loss(self, output: Tensor, features: Tensor, labels: Tensor, schedule: Schedule) -> Tensor:
        """Return the mean error."""
        return self.errors(output, features, labels).mean()

    def errors(self, output: Tensor, features: Tensor, labels: Tensor) -> Tensor:
        """Return the distance from the input; see :func:`gatesearch.training.spectra.waveform_errors`."""
        return waveform_errors(output, features)

    def scores(self, output: Tensor, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return by how much each output is nearer than silence, and how far silence is."""
        silence = waveform_errors(torch.zeros_like(features), features)
        return silence - waveform_errors(output, features), silence

    def assess(self, model: GatedModel, split: FeatureSplit) -> Fidelity:
        """See :func:`gatesearch.training.reconstruction.assess_reconstruction`."""
        return assess_reconstruction(model, split, self.kind_names, self.classes)

    def shown(self, ungated: Mapping[str, Any], gated: Mapping[str, Any]) -> list[tuple[str, str, str]]:
        """Fidelity of the switch and of its rivals, the light share, the ratio of the paths."""
        rows = [
            ("fidelity (test, hard cascade)", format_percent(ungated["quality"]), format_percent(gated["quality"])),
            ("signal to noise", f"{ungated['snr_db']:.1f} dB", f"{gated['snr_db']:.1f} dB"),
        ]
        if "light_macs" in gated:
            heavy, light, lot = (gated[f"quality_{way}"] for way in ("all_heavy", "all_light", "random"))
            rows += [
                ("fidelity: all heavy, all light", "-", f"{format_percent(heavy)}, {format_percent(light)}"),
                ("fidelity: as many drawn by lot", "-", format_percent(lot)),
                ("windows on the light path", "-", format_percent(gated["light_share"])),
                ("heavy over light: MACs", "-", f"{gated['heavy_over_light_macs']:.1f}"),
                ("heavy over light: parameters", "-", f"{gated['heavy_over_light_params']:.1f}"),
            ]
        return rows


# By what a recipe says under ``goal``: from the features, and the classes' names by label.
GOALS: Mapping[str, Callable[[Features, Sequence[str]], Goal]] = {
    Classification.name: lambda features, classes: Classification(features.positive, features.kind_names),
    Reconstruction.name: lambda features, classes: Reconstruction(features.shape, features.kind_names, classes),
}
