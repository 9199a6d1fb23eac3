"""The goal of reconstruction: the network's output should equal the waveform at its input."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from gatesearch._lib.format import format_percent
from gatesearch.errors import UserError
from gatesearch.metrics import Fidelity, fidelity, shortest_waveform, waveform_errors
from gatesearch.model import GatedModel
from gatesearch.training.calibration import calibrate
from gatesearch.training.cascade import observed_cascade, path_errors
from gatesearch.training.features import FeatureSplit
from gatesearch.training.goals.base import Limits, Operation
from gatesearch.training.settings import Schedule


@dataclass(frozen=True)
class Reconstruction:
    """The goal of reconstruction: the output should equal the waveform at the input; labels are not used.

    Args:
        shape: the shape of one sample's features, (1, S, 1).
        kind_names: the names of the samples' kinds.
        classes: names of the classes by label, used only in reports.
    """

    shape: tuple[int, ...]
    kind_names: Sequence[str]
    classes: Sequence[str] = ()
    name = "reconstruction"
    quality = "fidelity"
    gate_targets = ("label",)

    @property
    def limits(self) -> Limits:
        """A limit on the drop of fidelity below the baseline's fidelity."""
        return {"max_fidelity_drop": lambda figures, baseline, limit: baseline - limit - figures.fidelity}

    def for_validation(self, split: FeatureSplit) -> Reconstruction:
        """Return the goal itself, which holds no split."""
        return self

    def check(self, output: tuple[int, ...]) -> None:
        """Check that the input is a waveform and that the output has its shape."""
        shape, shortest = self.shape, shortest_waveform()
        if len(shape) != 3 or shape[0] != 1 or shape[2] != 1 or shape[1] < shortest:
            raise UserError(
                f"goal: reconstruction is of waveforms [1, S, 1] of {shortest} samples or more; the front end gives "
                f"{list(shape)}"
            )
        if output != shape:
            raise UserError(
                f"backbone: returns {[2, *output]} for 2 samples; a reconstruction has the input's shape, {[2, *shape]}"
            )

    def loss(self, output: Tensor, features: Tensor, labels: Tensor, schedule: Schedule) -> Tensor:
        """Return the mean error."""
        return self.errors(output, features, labels).mean()

    def errors(self, output: Tensor, features: Tensor, labels: Tensor) -> Tensor:
        """Return the distance from the input; see :func:`gatesearch.metrics.waveform_errors`."""
        return waveform_errors(output, features)

    def scores(self, output: Tensor, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return, per sample, the error of silence minus the error of the output; and the error of silence."""
        silence = waveform_errors(torch.zeros_like(features), features)
        return silence - waveform_errors(output, features), silence

    @torch.no_grad()
    def calibrate(
        self, model: GatedModel, split: FeatureSplit, positive: Tensor, operation: Operation | None = None
    ) -> str | None:
        """Set the gates' thresholds one after another, each on the samples that the gates before it let through."""
        calibrate(model, split, positive)
        return None

    def assess(self, model: GatedModel, split: FeatureSplit) -> Fidelity:
        """Return fidelity, signal-to-noise ratio, and the share of samples on each path."""
        cascade, layers = observed_cascade(model, split.features)
        figures = fidelity(
            outputs=cascade.logits.nan_to_num(0.0),  # the output of a gate without an exit is silence
            originals=split.features,
            exits=cascade.exit,
            path_errors=path_errors(model, split.features),
            labels=split.labels,
            kinds=split.kinds,
            kind_names=self.kind_names,
            classes=self.classes,
        )
        return replace(figures, layers=layers)

    def excess_over_chance(self, model: GatedModel, split: FeatureSplit) -> float:
        """Return infinity if the fidelity is above 0, the fidelity of silence; else 0."""
        return math.inf if self.assess(model, split).value > 0 else 0.0

    def manifest_entries(self, model: GatedModel) -> dict[str, Any]:
        """Return nothing: the manifest has the classes already."""
        return {}

    def summary_rows(self, ungated: Mapping[str, Any], gated: Mapping[str, Any]) -> list[tuple[str, str, str]]:
        """Return the rows of fidelity, of fidelity with other routing, and of the two paths' shares and sizes."""
        rows = [
            ("fidelity (test, hard cascade)", format_percent(ungated["quality"]), format_percent(gated["quality"])),
            ("signal to noise", f"{ungated['snr_db']:.1f} dB", f"{gated['snr_db']:.1f} dB"),
        ]
        if "light_macs" in gated:
            heavy, light = format_percent(gated["quality_all_heavy"]), format_percent(gated["quality_all_light"])
            rows += [
                ("fidelity: all heavy, all light", "-", f"{heavy}, {light}"),
                ("fidelity: random routing, same share", "-", format_percent(gated["quality_random"])),
                ("windows on the light path", "-", format_percent(gated["light_share"])),
                ("heavy over light: MACs", "-", f"{gated['heavy_over_light_macs']:.1f}"),
                ("heavy over light: parameters", "-", f"{gated['heavy_over_light_params']:.1f}"),
            ]
        return rows
