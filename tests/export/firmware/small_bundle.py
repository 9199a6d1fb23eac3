"""A bundle of a small gated network that listens by hops, for firmware."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from gatesearch.frontends.log_mel import LogMel
from gatesearch.plan import GatePlan, PlacedGate
from gatesearch.runtime.chain import STREAM_GATES
from gatesearch.runtime.listener import DETECTOR, StreamFormat, describe_detector
from gatesearch.runtime.open_listener import open_listener
from tests.export.hop_model import export_by_hops
from tests.runtime.test_listening_blocks import RATE, SIGNAL, detector

FRAME_STRIDE = 320  # samples from one frame to the next


def place_gates(mode: str, cores: tuple[str, ...] = ("mcu", "npu", "app")) -> GatePlan:
    """Return a plan with two gates; ``activation`` gates subtract, ``channel`` gates remove channels."""
    gates = (
        PlacedGate.of("gc", "input", mode=mode, keep=1.0, recall=1.0),
        PlacedGate.of("gc", "blocks.0", mode="channel", keep=0.5, recall=0.97),
    )
    return GatePlan(gates, cores)


def export_listening(
    folder: Path,
    hop: int,
    phases: int,
    signal: bool,
    gates: Sequence[tuple[float, int, int]],
    mode: str = "channel",
    fixed_point: bool = False,
    device: tuple[str, tuple[str, ...]] = ("three_core", ("mcu", "npu", "app")),
) -> Path:
    """Write a bundle with a detector and return its folder.

    Args:
        folder: the folder to write.
        hop: samples of a hop.
        phases: number of phases; successive hops take turns.
        signal: whether a gate stands before the front end.
        gates: for each gate between stages, the share of its scores on noise that lie below the threshold, the
            smoothing and the hold.
        mode: mode of the gate at the input.
        fixed_point: whether the front end computes in fixed point.
        device: name of the device, and the core of each stage.
    """
    torch.manual_seed(0)
    waves = np.stack([make_sound()[first : first + RATE] for first in range(0, 3 * RATE, RATE // 20)])
    frontend = LogMel(mel_bins=10).fit(torch.from_numpy(waves))
    assert not fixed_point or frontend.use_fixed_point()
    features = frontend(torch.from_numpy(waves))
    bundle = export_by_hops(
        folder,
        place_gates(mode, device[1]),
        hop=hop // FRAME_STRIDE,
        phases=phases,
        theta=None,
        features=features,
        device=device[0],
    )
    settings = replace(detector(hop), threshold=0.15)
    manifest = bundle.manifest | {
        "frontend": frontend.describe(),
        DETECTOR: describe_detector(settings, StreamFormat(rate=RATE, window=RATE, hop=hop)),
    }
    if hop % FRAME_STRIDE:  # no whole number of frames: each hop computes whole windows
        manifest |= {"hops": None, "stages": [stage | {"hops": None} for stage in manifest["stages"]]}

    def write(thresholds: Sequence[float], on_signal: bool) -> None:
        entries = [
            {"threshold": threshold, "smoothing": smoothing, "hold": hold}
            for threshold, (_, smoothing, hold) in zip(thresholds, gates, strict=True)
        ]
        manifest[STREAM_GATES] = {"signal": SIGNAL if on_signal else None, "gates": entries}
        (folder / "manifest.json").write_text(json.dumps(manifest))

    write([-np.inf] * len(gates), on_signal=False)
    scores = read_scores(folder, make_sound())
    write([float(np.quantile(scores[k], share)) for k, (share, *_) in enumerate(gates)], signal)
    return folder


def read_scores(folder: Path, sound: np.ndarray) -> dict[int, np.ndarray]:
    """Return the scores of each gate at all hops of a sound, with open gates."""
    listener, scores = open_listener(folder), {}
    chain = listener._decisions.chain
    read = chain._scores

    def keep(k: int, outputs: np.ndarray) -> np.ndarray:
        scores[k] = read(k, outputs)
        return scores[k]

    chain._scores = keep
    list(listener.push(sound))
    return scores


def make_sound(seconds: float = 4.0, seed: int = 3) -> np.ndarray:
    """Return noise whose loudness changes twice a second, int16 [n]."""
    generator = np.random.default_rng(seed)
    loudness = np.repeat(10 ** generator.uniform(0.5, 3.8, int(seconds * 2)), RATE // 2)
    return np.clip(generator.standard_normal(len(loudness)) * loudness, -32768, 32767).astype(np.int16)
