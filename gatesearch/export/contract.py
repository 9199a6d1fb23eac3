"""Writes the rules by which a bundle decides as data, for programs in other languages; docs/bundle.md explains them.

The runtime of this package follows the same rules. Their numbers come from the modules that apply them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gatesearch.gates.level import SignalFormat
from gatesearch.gates.level.integers import INDEX_BITS, LOG_ONE
from gatesearch.gates.level.statistics import BINS, FILTER_BITS, FRACTION_BITS, POINTS
from gatesearch.runtime.cascade import SAME_GRID_TOLERANCE, unsure_class
from gatesearch.runtime.chain import SignalGate, read_chain
from gatesearch.runtime.detector import DetectorSettings
from gatesearch.runtime.listener import DETECTOR, StreamFormat, read_detector
from gatesearch.runtime.stage_chain import LOGIT_MIDDLE

CONTRACT = "contract"
"""Entry of the manifest with the rules of its decisions."""

CONTRACT_VERSION = 1  # rises with each change of a rule that a client of the earlier version would not follow


def describe_contract(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entry ``contract`` of a manifest, from its other entries."""
    return {
        "version": CONTRACT_VERSION,
        "axes": {"features": "channels_first", "programs": "channels_last"},
        "rounding": "half_away_from_zero",
        "same_grid_tolerance": SAME_GRID_TOLERANCE,
        "window_gate": "stop if logit <= theta_integer",
        "answer": {
            "class": "argmax",
            "floor": manifest["stages"][-1]["logit_offset"],
            "rises": "largest > floor",
            "otherwise": unsure_class(manifest["positive"]),
        },
        "stream": None if manifest.get(DETECTOR) is None else _describe_stream(manifest),
    }


def _describe_stream(manifest: Mapping[str, Any]) -> dict[str, Any]:
    settings, stream = read_detector(manifest, "export")
    signal = read_chain(manifest, "export").signal
    return {
        "signal": None if signal is None else _describe_signal(signal, stream),
        "score": {"formula": "center + (logit - middle) * half_width / 3", "middle": LOGIT_MIDDLE},
        "gate": "open if mean > threshold",
        "posteriors": "softmax",
        "detector": _describe_detector(settings),
    }


def _describe_signal(signal: SignalGate, stream: StreamFormat) -> dict[str, Any]:
    """Return the sizes of the statistic of a gate on the signal."""
    form = SignalFormat.on_stream(signal.statistic, stream.rate, stream.window, stream.hop)
    sizes = {
        "frame": form.block,
        "frames": form.frames,
        "log_steps_per_octave": LOG_ONE,
        "log_index_bits": INDEX_BITS,
        "fraction_bits": FRACTION_BITS,
    }
    if signal.statistic == "flatness":
        sizes |= {"points": POINTS, "bins": BINS, "filter_bits": FILTER_BITS}
    return sizes


def _describe_detector(settings: DetectorSettings) -> dict[str, Any]:
    thresholds = np.broadcast_to(np.asarray(settings.threshold, float), (len(settings.positives),))
    return {
        "columns": settings.columns,
        "thresholds": thresholds.tolist(),
        "refractory_hops": settings.refractory_hops,
        "confidence": "least of the last hits means",
        "detects": "confidence > threshold",
        "before_stream": 0.0,
        "stopped_hop": 0.0,
        "first_s": settings.time_s(0),
    }
