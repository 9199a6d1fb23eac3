"""The goal of detection: a detector reports each event of a stream once, with few false accepts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch

from gatesearch._lib.format import format_percent
from gatesearch.errors import UserError
from gatesearch.metrics import LABELLED_FIGURES, reach_by_kind, share
from gatesearch.metrics.streams import StreamFigures, count_scene, events_passed, stream_figures
from gatesearch.model import GatedModel
from gatesearch.runtime.detector import Detector, DetectorSettings
from gatesearch.runtime.detector_tuning import SceneOutputs, TunedDetector, tune_detector
from gatesearch.runtime.listener import DETECTOR, describe_detector
from gatesearch.training.cascade import observed_cascade
from gatesearch.training.features import Features, FeatureSplit
from gatesearch.training.goals.base import Limits
from gatesearch.training.goals.classification import Classification
from gatesearch.training.stream_split import POSITIVE, StreamSplit

NO_STREAM = "goal: detection needs streams with labels to validate and test on, and the data have windows alone"


@dataclass(frozen=True, slots=True)
class StreamOutputs:
    """The outputs of a gated model at every hop of a stream.

    Args:
        scene: posteriors [hops, classes], events, and the hops at which a gate stopped the window.
        passed: for each kind of hop, the shares that reach stages 0, 1, 2 and so on; the first entry is 1.
        early_stop_rate: share of the hops without an event at which a gate stops the window.
        layers: the report of each layer gate, by site.
    """

    scene: SceneOutputs
    passed: Mapping[str, tuple[float, ...]]
    early_stop_rate: float
    layers: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DetectionQuality:
    """Figures of a model and its detector on a stream.

    Args:
        figures: figures of the detections.
        detector: the detector, tuned on the validation stream.
        gate_recall: share of events for which the gates pass at least one window that holds the event.
        passed: shares of each kind of hop that reach each stage; see :class:`StreamOutputs`.
        early_stop_rate: share of the hops without an event at which a gate stops the window.
        layers: the report of each layer gate, by site.
    """

    figures: StreamFigures
    detector: TunedDetector
    gate_recall: float
    passed: Mapping[str, tuple[float, ...]]
    early_stop_rate: float
    layers: Mapping[str, Mapping[str, float]]

    @property
    def value(self) -> float:
        """The share of events that are detected."""
        return 1.0 - self.figures.miss_rate

    @property
    def gate_recalls(self) -> tuple[float, ...]:
        """For each gate, the share of windows with events that it passes, among those that reach it."""
        return tuple(after / before if before else 0.0 for before, after in pairwise(self.passed["positive"]))

    def summary(self) -> dict[str, Any]:
        """Return the figures by the names of summary.json."""
        return {
            **dict.fromkeys(LABELLED_FIGURES),
            "detected": self.value,
            "miss_rate": self.figures.miss_rate,
            "fa_per_hour": self.figures.fa_per_hour,
            "latency_p50_ms": _to_ms(self.figures.latency_p50_s),
            "latency_p95_ms": _to_ms(self.figures.latency_p95_s),
        }

    def gated_summary(self) -> dict[str, Any]:
        """Return the figures of the model's gates, by the names of summary.json."""
        negatives = {kind: row for kind, row in self.passed.items() if kind != "positive"}
        return {
            "early_stop_rate": self.early_stop_rate,
            "early_stop_by_kind": {kind: 1 - row[-1] for kind, row in negatives.items()},
            "first_gate_stop_by_kind": {kind: 1 - row[1] for kind, row in negatives.items() if len(row) > 1},
            "gate_recall": self.gate_recall,
        }


@dataclass(frozen=True)
class Detection(Classification):
    """The goal of detection: it trains as classification on windows, and its quality counts detections on a stream.

    Args:
        positive: whether each class is a positive, [classes].
        kind_names: names of the windows' kinds, "positive" first.
        classes: names of the network's outputs.
        validation: the stream on which the detector is tuned.
        fa_per_hour: number of false accepts per hour that the detector may make on that stream.
    """

    classes: Sequence[str]
    validation: StreamSplit
    fa_per_hour: float
    name = "detection"
    quality = "detected"

    @property
    def limits(self) -> Limits:
        """Limits on the rise of the miss rate over the baseline's, and on the recall through the gates."""
        return {
            "max_miss_rise": lambda figures, baseline, limit: baseline - limit - figures.value,
            "min_gate_recall": lambda figures, _, limit: limit - figures.gate_recall,
        }

    def settings(self) -> DetectorSettings:
        """Return the settings of a detector for the network's outputs, before its threshold is tuned."""
        positives = [name for name, wakes in zip(self.classes, self.positive.tolist(), strict=True) if wakes]
        return DetectorSettings(
            classes=tuple(self.classes),
            positives=tuple(positives),
            hop_s=self.validation.hop_s,
            first_s=self.validation.window_s,
        )

    def tune(self, outputs: StreamOutputs) -> TunedDetector:
        """Return a detector that is tuned on a model's outputs for the validation stream."""
        return tune_detector([outputs.scene], self.settings(), self.fa_per_hour)

    def assess(self, model: GatedModel, split: FeatureSplit) -> DetectionQuality:  # type: ignore[override]
        """Return the quality on the stream of a split, with a detector that is tuned on the validation stream.

        Raises:
            UserError: the split has no stream.
        """
        if split.stream is None:
            raise UserError(NO_STREAM)
        outputs = run_stream(model, split.stream, self.kind_names)
        same = split.stream is self.validation
        tuned = self.tune(outputs if same else run_stream(model, self.validation, self.kind_names))
        return judge(outputs, split.stream, tuned)

    def manifest_entries(self, model: GatedModel) -> dict[str, Any]:
        """Return the detector, tuned on the validation stream, and the format of the stream."""
        tuned = self.tune(run_stream(model, self.validation, self.kind_names))
        return {DETECTOR: describe_detector(tuned.settings, self.validation.format)}

    def summary_rows(self, ungated: Mapping[str, Any], gated: Mapping[str, Any]) -> list[tuple[str, str, str]]:
        """Return the rows of miss rate, false accepts per hour and latency."""
        return [
            ("miss rate (test stream)", format_percent(ungated["miss_rate"]), format_percent(gated["miss_rate"])),
            ("false accepts an hour", f"{ungated['fa_per_hour']:.3g}", f"{gated['fa_per_hour']:.3g}"),
            ("median latency", _write_ms(ungated["latency_p50_ms"]), _write_ms(gated["latency_p50_ms"])),
        ]


def detection_of(features: Features, classes: Sequence[str], fa_per_hour: float) -> Detection:
    """Return the goal of detection for data with streams.

    Raises:
        UserError: the data have no streams, only windows.
    """
    stream = features.validation.stream
    if stream is None or features.test.stream is None:
        raise UserError(NO_STREAM)
    return Detection(features.positive, features.kind_names, classes, stream, fa_per_hour)


def run_stream(model: GatedModel, stream: StreamSplit, kind_names: Sequence[str]) -> StreamOutputs:
    """Run the hard cascade on every hop of a stream."""
    cascade, layers = observed_cascade(model, stream.features)
    gates = len(model.cut_gates)
    silent = torch.tensor([*(gate.exit is None for gate in model.cut_gates), False])
    stopped = silent[cascade.exit]
    posteriors = cascade.logits.softmax(1).masked_fill(stopped[:, None], 0.0)
    scene = SceneOutputs(posteriors.numpy(), stream.events, stopped.numpy())
    return StreamOutputs(
        scene=scene,
        passed=reach_by_kind(cascade.exit, stream.kinds, kind_names, gates),
        early_stop_rate=share(cascade.exit[stream.kinds != POSITIVE] < gates),
        layers=layers,
    )


def judge(outputs: StreamOutputs, stream: StreamSplit, tuned: TunedDetector) -> DetectionQuality:
    """Return the quality of a model and its tuned detector, given the model's outputs on a stream."""
    scene = outputs.scene
    assert scene.stopped is not None
    passed = events_passed(stream.events, stream.ends_s, scene.stopped, stream.window_s)
    counts = count_scene(
        stream.events,
        Detector(tuned.settings).detect(scene.posteriors, scene.stopped),
        stream.hours,
        passed=passed,
        backgrounds=stream.backgrounds,
    )
    return DetectionQuality(
        figures=stream_figures([counts]),
        detector=tuned,
        gate_recall=sum(passed) / len(passed) if passed else 1.0,
        passed=outputs.passed,
        early_stop_rate=outputs.early_stop_rate,
        layers=outputs.layers,
    )


def _to_ms(seconds: float | None) -> float | None:
    return None if seconds is None else 1e3 * seconds


def _write_ms(milliseconds: float | None) -> str:
    return "-" if milliseconds is None else f"{milliseconds:.0f} ms"
