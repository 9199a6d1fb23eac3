"""Tests of whole runs by hops on streams of motion, and on a user's own network and labelled recordings."""

from __future__ import annotations

import json
import wave
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import gatesearch
from gatesearch.cli import app
from gatesearch.data.scenes import read_recording
from gatesearch.data.stream_loader import from_scenes

SUBJECTS, RUN_STEPS = 9, 100
CLASSES = ("SEATED", "WALKING")
TINY = [
    "data.windows=300",
    "data.hours={train: 0.1, validation: 0.05, test: 0.05}",
    "training.epochs=6",
    "training.batch_size=20",
    "training.averaging=0",
    "training.hard_negatives=0",
    "backbone_args.width=8",
    "backbone_args.blocks=1",
    "search.trials=1",
    "space.kinds={gc: {mode: [channel], keep: [1.0], recall: [0.9]}}",
    "retrain.epochs=1",
    "constraints.max_miss_rise=0.5",
    "constraints.min_gate_recall=null",
    "verify.gate_agreement=0",
    "verify.prediction_agreement=0",
    "stream.rivals=[ungated_hops]",
]


def write_motion(path: Path) -> None:
    """Write streams of a made sensor at 50 Hz: it rests, or swings for two seconds."""
    rng = np.random.default_rng(0)
    steps = 20 * RUN_STEPS
    label = np.tile(np.repeat([0, 0, 0, 1], RUN_STEPS), SUBJECTS * steps // (4 * RUN_STEPS))
    swing = np.sin(np.arange(len(label)) / 4)[:, None] * label[:, None]
    x = 3.0 * swing * [1, -1, 0.5] + rng.normal(0, 0.2, (len(label), 3)) + [0, 0, 9.8]
    np.savez(
        path,
        x=x.astype(np.float32),
        label=label.astype(np.uint8),
        offsets=np.arange(SUBJECTS + 1) * steps,
        subject=np.arange(SUBJECTS),
        classes=np.array(CLASSES),
        sample_rate=50,
    )


def check_stream(folder: Path, hop_frames: int) -> None:
    """Check that a run goes by hops, and that its bundle has programs by hops and few misses."""
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["hops"]["by"] == "hops" and summary["hops"]["hop_frames"] == hop_frames
    assert not [line for line in summary["warnings"] if "whole windows" in line]
    stream = summary["stream"]
    assert stream["picked"]["miss_rate"] <= 0.5 and list(stream["rivals"]) == ["ungated_hops"]
    assert "front end" in [part["name"] for part in stream["picked"]["parts"]]
    manifest = json.loads((folder / "best/bundle/manifest.json").read_text())
    assert manifest["hops"]["hop"] == hop_frames
    assert "The test stream" in (folder / "report.html").read_text()


def test_the_recipe_of_motion_runs_by_hops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_motion(tmp_path / "motion.npz")
    monkeypatch.chdir(tmp_path)
    source = "data.sources=[{kind: motion, root: motion.npz, events: [WALKING], validation_subjects: 2}]"
    assert app.main(["run", "recipe=har_stream.yaml", source, *TINY, "out=run"]) == 0
    check_stream(tmp_path / "run", hop_frames=2)


class OwnNetwork(nn.Module):
    """A network of a user: convolutions over log-mel frames."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, 8, (3, 5), stride=(1, 2)), nn.BatchNorm2d(8), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(8, 2))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map features [N, 1, frames, bands] to logits [N, 2]."""
        logits: torch.Tensor = self.classifier(self.pool(self.second(self.first(features))))
        return logits


def record(path: Path, seed: int, seconds: int = 120, rate: int = 8000) -> None:
    """Write a recording of faint noise with a beep each five seconds, and its label track."""
    rng = np.random.default_rng(seed)
    sound, lines = rng.normal(0, 200, seconds * rate), []
    for start in range(2, seconds - 2, 5):
        length = round(0.4 * rate)
        sound[start * rate : start * rate + length] += 6000 * np.sin(np.arange(length) * 0.7)
        lines.append(f"{start}\t{start + 0.4:.1f}\tbeep\n")
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(sound.astype("<i2").tobytes())
    path.with_suffix(".txt").write_text("".join(lines))


def test_a_network_and_recordings_of_a_user_run_by_hops(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scenes = {}
    for seed, split in enumerate(("train", "validation", "test")):
        record(tmp_path / f"{split}.wav", seed)
        scenes[split] = read_recording(tmp_path / f"{split}.wav")
    data = from_scenes(scenes, name="beeps", source="my recordings", synthetic=False, windows=300)
    torch.manual_seed(0)
    gatesearch.run(
        OwnNetwork(),
        data,
        out=tmp_path / "run",
        goal="detection",
        frontend={"name": "log_mel", "mel_bins": 20, "high_hz": 4000.0},
        stream={"fa_per_hour": 60.0, "rivals": ["ungated_hops"]},
        space={"kinds": {"gc": {"mode": ["channel"], "keep": [1.0], "recall": [0.9]}}, "gates": {"max": 1}},
        training={"epochs": 8, "batch_size": 20, "learning_rate": 0.01, "averaging": 0.0},
        search={"trials": 1, "epochs": 1},
        retrain={"epochs": 1},
        constraints={"max_accuracy_drop": None, "max_miss_rise": 0.5, "min_gate_recall": None, "max_utilisation": None},
        verify={"gate_agreement": 0.0, "prediction_agreement": 0.0},
    )
    check_stream(tmp_path / "run", hop_frames=2)
    capsys.readouterr()
    assert app.main(["listen", str(tmp_path / "run"), str(tmp_path / "test.wav")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) >= 12 and all(line.split()[1] == "beep" for line in lines)
