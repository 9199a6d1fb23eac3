"""Finds gates for a wake word in recordings of one's own, from a folder of WAV files to a picked plan."""

# --8<-- [start:recordings]
import wave
from pathlib import Path

import numpy as np

from gatesearch.cli import app

RATE_HZ, FILES = 8000, 60
random = np.random.default_rng(0)


def record(path: Path, low_hz: float, high_hz: float) -> None:
    """Write a tone that glides from one frequency to another: it stands for a recording of a word."""
    seconds = random.uniform(0.4, 0.6)
    time = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    phase = 2 * np.pi * (low_hz * time + (high_hz - low_hz) * time**2 / (2 * seconds))
    samples = random.uniform(2000, 8000) * np.sin(phase) + random.normal(0, 50, len(time))
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
        file.writeframes(samples.astype(np.int16).tobytes())


for number in range(FILES):
    record(Path(f"my_wavs/hey/{number:02}.wav"), 400, 1600)  # rises
    record(Path(f"my_wavs/other/{number:02}.wav"), 1600, 400)  # falls
# --8<-- [end:recordings]
# --8<-- [start:init]
app.main(["init", "data=my_wavs", "words=hey", "device=stm32u385"])  # gatesearch init data=my_wavs words=hey ...
# --8<-- [end:init]
# --8<-- [start:run]
SMALL = [
    "data.hours={train: 0.15, validation: 0.06, test: 0.06}",
    "data.windows=800",
    "training.epochs=6",
    "search.trials=2",
    "retrain.epochs=1",
    "cost.timing_seconds=1",
    "stream.rivals=[ungated_hops]",
    "stream.fa_per_hour=60",
    "constraints.max_miss_rise=1.0",
    "constraints.min_gate_recall=null",
    "verify.gate_agreement=0.5",
    "verify.prediction_agreement=0.5",
]
app.main(["run", "recipe=my_wavs.yaml", "out=runs/hey", *SMALL])  # gatesearch run recipe=my_wavs.yaml
# --8<-- [end:run]
# --8<-- [start:pick]
app.main(["pick", "runs/hey"])  # the other plans of the front
# --8<-- [end:pick]
