"""The clients of docs/bundle.md reproduce every decision of a bundle's test vectors, without gatesearch."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatesearch.backbones.codec import Codec
from gatesearch.devices import profile
from gatesearch.export.bundle import write_bundle
from gatesearch.export.contract import CONTRACT, describe_contract
from gatesearch.export.vectors import VECTORS, VectorSource, check_vectors, write_vectors
from gatesearch.frontends import Frontend, build
from gatesearch.graph.sites import cut_sites
from gatesearch.model import GatedModel
from gatesearch.plan import GatePlan, PlacedGate
from gatesearch.runtime.chain import STREAM_GATES
from gatesearch.training import FeatureSplit, calibrate
from tests.export.firmware.small_bundle import export_listening, make_sound, read_scores
from tests.export.small_model import CLASSES, POSITIVE, gated
from tests.export.test_recurrent import SHAPE as RECURRENT_SHAPE
from tests.export.test_recurrent import model_of
from tests.schema_checks import check_document

PAGE = Path(__file__).parents[3] / "docs" / "bundle.md"
ABSENT = ("gatesearch", "torch", "scipy", "pydantic")  # modules that the clients must not need
SHAPE = (1, 256, 1)


@pytest.fixture(scope="session")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the page's clients, in which the modules of :data:`ABSENT` cannot be imported."""
    folder = tmp_path_factory.mktemp("clients")
    listings = re.findall(r"`(\w+\.py)`:\n\n```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert [name for name, _ in listings] == ["frontend.py", "windows.py", "listen.py"]
    for name, code in listings:
        (folder / name).write_text(code)
    for name in ABSENT:
        (folder / f"{name}.py").write_text(f"raise ImportError('{name} is absent')\n")
    return folder


def run_client(clients: Path, name: str, bundle: Path) -> str:
    command = [sys.executable, str(clients / f"{name}.py"), str(bundle)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()[-1]


def check_bundle(clients: Path, name: str, bundle: Path) -> list[dict[str, Any]]:
    """Check that the client, the schema and gatesearch accept a bundle's vectors; return their decisions."""
    check_document("manifest", bundle / "manifest.json")
    assert [check.problem for check in check_vectors(bundle)] == ["", "", ""]
    decisions: list[dict[str, Any]] = json.loads((bundle / VECTORS / "decisions.json").read_text())
    kind = {"windows": "windows", "listen": "hops"}[name]
    assert run_client(clients, name, bundle) == f"PASS {len(decisions)} {kind}"
    assert sum(path.stat().st_size for path in (bundle / VECTORS).iterdir()) < 120_000
    return decisions


def make_clips(seed: int, count: int = 40, samples: int = 16000) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    loudness = 10 ** (4 * torch.rand(count, 1, generator=generator))
    return (torch.randn(count, samples, generator=generator) * loudness).clamp(-32768, 32767).to(torch.int16)


def export_clips(folder: Path, model: GatedModel, split: FeatureSplit, front: Frontend, clips: torch.Tensor) -> None:
    """Write a bundle with test vectors of clips."""
    write_bundle(
        folder,
        model,
        profile.load("host" if "host" in model.plan.cores else "three_core"),
        split.features,
        split,
        POSITIVE[: int(split.labels.max()) + 1],
        formats=("tflite",),
        classes=CLASSES[: int(split.labels.max()) + 1],
        about={"recipe": "kws", "frontend": front.describe()},
        input_range=front.output_range,
        vectors=VectorSource(clips.numpy(), front(clips).numpy()),
    )


@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    mode=st.sampled_from(["activation", "channel"]),
    keep=st.sampled_from([0.5, 1.0]),
    recalls=st.tuples(st.floats(0.5, 1.0), st.floats(0.5, 1.0)),
    name=st.sampled_from(["mfcc", "log_mel"]),
    seed=st.integers(0, 99),
)
def test_windows_of_drawn_plans(tmp_path_factory, clients, mode, keep, recalls, name, seed):
    gates = (
        PlacedGate.of("gc", "stem", mode=mode, keep=keep, recall=recalls[0]),
        PlacedGate.of("gc", "blocks.0", mode="channel", keep=keep, recall=recalls[1]),
    )
    model = gated(GatePlan(gates, ("mcu", "npu", "app")))
    clips = make_clips(seed)
    front = build(name, **({} if name == "mfcc" else {"mel_bins": 10})).fit(clips)
    labels = torch.arange(len(clips)) % len(CLASSES)
    split = FeatureSplit(front(clips), labels, labels)
    calibrate(model, split, POSITIVE)
    folder = tmp_path_factory.mktemp("windows") / "bundle"
    export_clips(folder, model, split, front, clips)
    decisions = check_bundle(clients, "windows", folder)
    assert len(decisions) == 2  # as many clips of a second as fit into the file


def test_windows_with_an_exit_whose_output_is_no_class(tmp_path, clients):
    torch.manual_seed(0)
    clips = make_clips(1, samples=SHAPE[1])
    front = build("wave").fit(clips)
    labels = torch.arange(len(clips)) % 2
    split = FeatureSplit(front(clips), labels, torch.zeros_like(labels))
    plan = GatePlan((PlacedGate.of("dsl", "quantiser", share=0.5, width=1.0, keep=0.5),), ("host", "host"))
    backbone = Codec(SHAPE, width=8, strides=(4, 4), dimension=8, levels=2, codes=16)
    model = GatedModel(backbone, plan, cut_sites(backbone, split.features[:1]), SHAPE)
    model.train()(split.features)
    for gate in model.gates:
        gate.q.zero_()  # the loss of a training would set this value
    model.eval()
    calibrate(model, split, torch.tensor([True, True]))
    export_clips(tmp_path / "bundle", model, split, front, clips)
    decisions = check_bundle(clients, "windows", tmp_path / "bundle")
    assert {each["exit"] for each in decisions} == {0, 1}  # some leave through the exit
    assert all(each["class"] is None and each["outputs"] for each in decisions)


def export_sensors(folder: Path) -> None:
    model = model_of("lstm", "hmd")
    steps, axes = RECURRENT_SHAPE
    generator = torch.Generator().manual_seed(0)
    samples = torch.randn(40, 2 * steps + 1, axes, generator=generator) * 5 + 2
    front = build("sequence", average=2).fit(samples)
    labels = torch.arange(len(samples)) % 3
    export_clips(folder, model, FeatureSplit(front(samples), labels, labels), front, samples)


def test_windows_of_sensors_in_float(tmp_path, clients):
    export_sensors(tmp_path / "bundle")
    assert len(check_bundle(clients, "windows", tmp_path / "bundle")) == 12


def change_decision(folder: Path) -> None:
    """Change the class of one decision, and its file's sha256 with it."""
    path, manifest = folder / VECTORS / "decisions.json", json.loads((folder / "manifest.json").read_text())
    decisions = json.loads(path.read_text())
    decisions[3]["class"] = (decisions[3]["class"] + 1) % 3
    path.write_text(json.dumps(decisions))
    manifest[VECTORS]["decisions"]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_changed_vectors_are_named(tmp_path, clients):
    folder = tmp_path / "bundle"
    export_sensors(folder)
    change_decision(folder)
    assert any(check.problem.startswith("decision 3 is {") for check in check_vectors(folder))
    with pytest.raises(AssertionError, match="AssertionError"):
        run_client(clients, "windows", folder)
    file = folder / VECTORS / "inputs.bin"
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    assert any("inputs.bin: sha256" in check.problem for check in check_vectors(folder))
    file.unlink()
    assert any("the bundle is incomplete" in check.problem for check in check_vectors(folder))


STREAMS = {
    "one phase": (640, 1, False, ((0.5, 1, 0), (0.3, 2, 3))),
    "a gate that subtracts": (640, 1, False, ((0.4, 2, 1), (0.4, 1, 1)), "activation"),
    "two phases": (320, 2, True, ((0.5, 2, 1), (0.3, 1, 0))),
}


@pytest.fixture(scope="module", params=STREAMS)
def listening(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_listening(tmp_path_factory.mktemp("stream") / "bundle", *STREAMS[request.param])


GATES = st.lists(st.tuples(st.floats(0.05, 0.8), st.integers(1, 4), st.integers(0, 4)), min_size=2, max_size=2)
STATISTICS = st.sampled_from([None, "level", "spread", "flatness"])


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    gates=GATES,
    statistic=STATISTICS,
    share=st.floats(0, 0.5),
    seed=st.integers(0, 999),
    arithmetic=st.sampled_from(["float32", "fixed_point"]),
)
def test_hops_of_drawn_gates(listening, clients, gates, statistic, share, seed, arithmetic):
    sound = make_sound(6.0, seed)
    set_gates(listening, sound, gates, statistic, share, arithmetic)
    decisions = check_bundle(clients, "listen", listening)
    assert all(("signal" in each) == (statistic is not None) for each in decisions)


def set_gates(
    folder: Path, sound: np.ndarray, gates: list, statistic: str | None, share: float, arithmetic: str
) -> None:
    """Set the gates so that a share of hops lies below each threshold, and write new test vectors."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["frontend"]["arithmetic"] = arithmetic
    entries = [{"threshold": -1e300, "smoothing": smoothing, "hold": hold} for _, smoothing, hold in gates]
    manifest[STREAM_GATES] = {"signal": None, "gates": entries}
    path.write_text(json.dumps(manifest))
    scores = read_scores(folder, sound)
    for k, (quantile, *_) in enumerate(gates):
        entries[k]["threshold"] = float(np.quantile(scores[k], quantile))
    if statistic is not None:
        from gatesearch.gates.level.hops import signal_statistics

        stream = manifest["detector"]["stream"]
        values = signal_statistics(sound, stream["window"], stream["hop"], 320)[statistic]
        threshold = float(np.quantile(values, share))
        signal = {"statistic": statistic, "threshold": threshold, "smoothing": 2, "hold": 1}
        manifest[STREAM_GATES]["signal"] = signal
    manifest[CONTRACT] = describe_contract(manifest)
    path.write_text(json.dumps(manifest, allow_nan=False))
    manifest[VECTORS] = write_vectors(folder, VectorSource(np.zeros(0), np.zeros(0), sound))
    path.write_text(json.dumps(manifest, allow_nan=False))
