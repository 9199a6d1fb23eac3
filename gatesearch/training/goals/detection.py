"""The goal of detection: events of a stream are reported once, and little else is."""

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
    """What a gated model gives on every hop of a stream.

    Args:
        scene: posteriors [hops, classes], events, and which hops a gate stopped.
        passed: for each kind of hop, the share that reaches stage k; the first entry is 1.
        early_stop_rate: share of the hops without an event that some gate stops.
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
        figures: of the detections.
        detector: as it was set on the validation stream.
        gate_recall: share of events of which the gates pass a window that holds them.
        passed, early_stop_rate, layers: see :class:`StreamOutputs`.
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
        """Share of the windows of events that each gate passes of those that reach it."""
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
        """Return what its gates do, by the names of summary.json."""
        negatives = {kind: row for kind, row in self.passed.items() if kind != "positive"}
        return {
            "early_stop_rate": self.early_stop_rate,
            "early_stop_by_kind": {kind: 1 - row[-1] for kind, row in negatives.items()},
            "first_gate_stop_by_kind": {kind: 1 - row[1] for kind, row in negatives.items() if len(row) > 1},
            "gate_recall": self.gate_recall,
        }


@dataclass(frozen=True)
class Detection(Classification):
    """Detect: training tells windows apart as classification does; quality is that of detections on streams.

    Args:
        positive: whether each class is a positive, [classes].
        kind_names: of the windows' kinds, "positive" first.
        classes: names of the outputs.
        validation: the stream on which the detector is set.
        fa_per_hour: false accepts an hour that the detector may make there.
    """

    classes: Sequence[str]
    validation: StreamSplit
    fa_per_hour: float
    name = "detection"
    quality = "detected"

    @property
    def limits(self) -> Limits:
        """Bounds on events that only the ungated backbone detects, and on those that the gates let through."""
        return {
            "max_miss_rise": lambda figures, baseline, limit: baseline - limit - figures.value,
            "min_gate_recall": lambda figures, _, limit: limit - figures.gate_recall,
        }

    def settings(self) -> DetectorSettings:
        """Return a detector for the outputs of the network, its threshold not set yet."""
        positives = [name for name, wakes in zip(self.classes, self.positive.tolist(), strict=True) if wakes]
        return DetectorSettings(
            classes=tuple(self.classes),
            positives=tuple(positives),
            hop_s=self.validation.hop_s,
            first_s=self.validation.window_s,
        )

    def tune(self, outputs: StreamOutputs) -> TunedDetector:
        """Set a detector on what a model gives on the validation stream."""
        return tune_detector([outputs.scene], self.settings(), self.fa_per_hour)

    def assess(self, model: GatedModel, split: FeatureSplit) -> DetectionQuality:  # type: ignore[override]
        """Return what is detected on the stream of a split, by a detector that is set on the validation stream.

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
        """Return the detector, set on the validation stream, and the format of the stream."""
        tuned = self.tune(run_stream(model, self.validation, self.kind_names))
        return {DETECTOR: describe_detector(tuned.settings, self.validation.format)}

    def summary_rows(self, ungated: Mapping[str, Any], gated: Mapping[str, Any]) -> list[tuple[str, str, str]]:
        """Misses, false accepts an hour, latency."""
        return [
            ("miss rate (test stream)", format_percent(ungated["miss_rate"]), format_percent(gated["miss_rate"])),
            ("false accepts an hour", f"{ungated['fa_per_hour']:.3g}", f"{gated['fa_per_hour']:.3g}"),
            ("median latency", _write_ms(ungated["latency_p50_ms"]), _write_ms(gated["latency_p50_ms"])),
        ]


def detection_of(features: Features, classes: Sequence[str], fa_per_hour: float) -> Detection:
    """Return the goal for data with streams.

    Raises:
        UserError: the data have windows alone.
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
    """Return the figures of a detector on what a model gives on a stream."""
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
