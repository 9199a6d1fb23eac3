"""The goal of detection: a detector reports each event of a stream once, with few false accepts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from gatesearch._lib.format import format_percent
from gatesearch.errors import UserError
from gatesearch.model import GatedModel
from gatesearch.runtime.chain import STREAM_GATES, ChainScores, ChainSettings, describe_chain, run_chain
from gatesearch.runtime.chain_tuning import tune_chain
from gatesearch.runtime.detector import DetectorSettings
from gatesearch.runtime.detector_tuning import SceneOutputs, TunedDetector, tune_detector
from gatesearch.runtime.listener import DETECTOR, describe_detector
from gatesearch.training.calibration import calibrate
from gatesearch.training.features import Features, FeatureSplit
from gatesearch.training.goals.base import Limits, Operation
from gatesearch.training.goals.classification import Classification
from gatesearch.training.goals.detection_quality import DetectionQuality, judge
from gatesearch.training.stream_run import StreamRuns, observe_layers
from gatesearch.training.stream_split import StreamSplit

ROUNDING = 1e-9
NO_STREAM = "goal: detection needs streams with labels to validate and test on, and the data have windows alone"


@dataclass(frozen=True)
class Detection(Classification):
    """The goal of detection: it trains as classification on windows, and its quality counts detections on a stream.

    Args:
        positive: whether each class is a positive, [classes].
        kind_names: names of the windows' kinds, "positive" first.
        classes: names of the network's outputs.
        validation: the stream on which the detector is tuned.
        fa_per_hour: number of false accepts per hour that the detector may make on the validation stream.
        runs: stores the outputs of the last few models on streams.
    """

    classes: Sequence[str]
    validation: StreamSplit
    fa_per_hour: float
    runs: StreamRuns = field(default_factory=StreamRuns, repr=False, compare=False)
    name = "detection"
    quality = "detected"
    gate_targets = ("network", "label")

    @property
    def limits(self) -> Limits:
        """Limits on the rise of the miss rate over the baseline's miss rate, and on gate recall."""
        return {
            "max_miss_rise": lambda figures, baseline, limit: _excess(baseline - limit, figures.value),
            "min_gate_recall": lambda figures, _, limit: _excess(limit, figures.gate_recall),
        }

    def for_validation(self, split: FeatureSplit) -> Detection:
        """Return the goal with a detector that is tuned on the stream of another validation split.

        Raises:
            UserError: the split has no stream.
        """
        if split.stream is None:
            raise UserError(NO_STREAM)
        return replace(self, validation=split.stream, runs=StreamRuns())

    def settings(self) -> DetectorSettings:
        """Return the settings of a detector for the network's outputs, before its threshold is tuned."""
        positives = [name for name, wakes in zip(self.classes, self.positive.tolist(), strict=True) if wakes]
        return DetectorSettings(
            classes=tuple(self.classes),
            positives=tuple(positives),
            hop_s=self.validation.hop_s,
            first_s=self.validation.window_s,
        )

    def calibrate(
        self, model: GatedModel, split: FeatureSplit, positive: Tensor, operation: Operation | None = None
    ) -> str | None:
        """Set all gates of a model together with a detector, on the validation stream.

        The gates store their thresholds. ``model.stream`` stores the thresholds as well, with smoothing (the mean of a
        gate's last scores) and hold (the further hops for which a gate stays open). If ``operation`` is None or there
        are no gates, each threshold is set alone, on windows, and there is no smoothing or hold.

        Args:
            model: changed in place.
            split: the validation split; its windows determine the answers for stopped windows.
            positive: whether each class is a positive, [classes].
            operation: the targets for all gates together; None sets each gate alone.

        Returns:
            One line if no setting of the gates meets the limit on misses, so that all gates stay open; None otherwise.
        """
        calibrate(model, split, positive)
        model.stream = None
        if operation is None or not (model.plan.gates or self.validation.signal):
            return None  # nothing to set together: no gate in the network, none on the signal
        tuned = tune_chain(
            self.run(model, self.validation),
            self.settings(),
            self.fa_per_hour,
            1.0 - operation.reference + operation.max_miss_rise,
            operation.price,
            max_miss_rise=operation.max_miss_rise,
            min_gate_recall=operation.min_gate_recall,
            signal_prices=operation.signal_prices,
        )
        for gate, settings in zip(model.cut_gates, tuned.settings.gates, strict=True):
            gate.theta.fill_(settings.threshold)
        model.stream = tuned.settings
        model.stream = chain_settings(model)  # thresholds as the gates hold them, in float32
        return tuned.doubt

    def run(self, model: GatedModel, stream: StreamSplit) -> ChainScores:
        """Return the outputs of a model at every hop of a stream with all gates open; later calls reuse them."""
        return self.runs.run(model, stream)

    def tune(self, model: GatedModel) -> TunedDetector:
        """Return a detector that is tuned on the validation stream, on the hops that a model's gates let through."""
        run = run_chain(self.run(model, self.validation), chain_settings(model))
        outputs = SceneOutputs(run.posteriors, self.validation.events, run.stopped)
        return tune_detector([outputs], self.settings(), self.fa_per_hour)

    def assess(self, model: GatedModel, split: FeatureSplit) -> DetectionQuality:  # type: ignore[override]
        """Return the quality on the stream of a split, with a detector that is tuned on the validation stream.

        Raises:
            UserError: the split has no stream.
        """
        if split.stream is None:
            raise UserError(NO_STREAM)
        chain = chain_settings(model)
        run = run_chain(self.run(model, split.stream), chain)
        layers = observe_layers(model, split.stream, run.runs[1:])
        return judge(run, split.stream, chain, self.tune(model), self.kind_names, layers)

    def manifest_entries(self, model: GatedModel) -> dict[str, Any]:
        """Return the entries of the gates and of the detector, which is tuned on the validation stream."""
        return {
            DETECTOR: describe_detector(self.tune(model).settings, self.validation.format),
            STREAM_GATES: describe_chain(chain_settings(model)),
        }

    def summary_rows(self, ungated: Mapping[str, Any], gated: Mapping[str, Any]) -> list[tuple[str, str, str]]:
        """Return the rows of miss rate, false accepts per hour and latency."""
        return [
            ("miss rate (test stream)", format_percent(ungated["miss_rate"]), format_percent(gated["miss_rate"])),
            ("false accepts an hour", f"{ungated['fa_per_hour']:.3g}", f"{gated['fa_per_hour']:.3g}"),
            ("median latency", _write_ms(ungated["latency_p50_ms"]), _write_ms(gated["latency_p50_ms"])),
        ]


def chain_settings(model: GatedModel) -> ChainSettings:
    """Return the settings of a model's gates on a stream: their thresholds, and the calibrated smoothing and hold."""
    stream = model.stream if isinstance(model.stream, ChainSettings) else ChainSettings.all_open(len(model.cut_gates))
    gates = zip(model.cut_gates, stream.gates, strict=True)
    return replace(stream, gates=tuple(replace(each, threshold=float(gate.theta)) for gate, each in gates))


def detection_of(features: Features, classes: Sequence[str], fa_per_hour: float) -> Detection:
    """Return the goal of detection for data with streams.

    Raises:
        UserError: the data have no streams, only windows.
    """
    stream = features.validation.stream
    if stream is None or features.test.stream is None:
        raise UserError(NO_STREAM)
    return Detection(features.positive, features.kind_names, classes, stream, fa_per_hour)


def _excess(bound: float, value: float) -> float:
    """Return by how much a share of events is below a bound; a difference as small as a rounding error counts as 0."""
    excess = bound - value
    return 0.0 if 0 < excess < ROUNDING else excess


def _write_ms(milliseconds: float | None) -> str:
    return "-" if milliseconds is None else f"{milliseconds:.0f} ms"
