"""The gated bundle against the ungated model on one stream of windows, in turn, on this host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from gatesearch.export.runtime import Bundle
from gatesearch.hardware.tflite import Program, channel_last
from gatesearch.hardware.timing import interleaved
from gatesearch.training import FeatureSplit


@dataclass(frozen=True, slots=True)
class Streaming:
    """Microseconds a window, host loop and requantisation included, front end excluded; minimum over rounds."""

    gated_us: float
    ungated_us: float
    windows: int

    @property
    def ratio(self) -> float:
        """How many times faster the gated bundle is."""
        return self.ungated_us / self.gated_us


def stream(
    split: FeatureSplit, kind_names: Sequence[str], shares: Mapping[str, float], windows: int, seed: int
) -> torch.Tensor:
    """Draw windows as a device hears them: each kind by its share. Returns features [windows, *shape].

    Args:
        split: where windows are drawn from, again and again.
        kind_names: of the split's kinds.
        shares: of the kinds in the stream, adding up to 1; a kind that is not named is not heard.
        windows: how many.
        seed: of the draw.
    """
    generator = np.random.default_rng(seed)
    weights = np.array([shares.get(name, 0.0) for name in kind_names])
    kinds = generator.choice(len(kind_names), windows, p=weights / weights.sum())
    pools = [np.flatnonzero((split.kinds == i).numpy()) for i in range(len(kind_names))]
    return split.features[[int(generator.choice(pools[kind])) for kind in kinds]]


def measure(gated: Bundle, ungated: bytes, features: torch.Tensor, rounds: int = 15) -> Streaming:
    """Run the stream through both in turn, one thread, all stages with LiteRT.

    Args:
        gated: loaded with engine ``litert`` for every core.
        ungated: the int8 .tflite of the ungated backbone.
        features: [windows, *shape].
        rounds: repeats of the whole stream.
    """
    whole = Program(ungated)
    arrays = channel_last(features.numpy())
    into_gated = [gated.quantise(window) for window in features.numpy()]
    into_whole = [whole.inputs[0].quantise(arrays[i : i + 1]) for i in range(len(arrays))]

    def run_gated() -> None:
        for window in into_gated:
            gated.run(window)

    def run_whole() -> None:
        for window in into_whole:
            whole(window)

    taken = interleaved({"gated": run_gated, "ungated": run_whole}, rounds=rounds)
    count = len(features)
    return Streaming(taken["gated"].minimum_us / count, taken["ungated"].minimum_us / count, count)
