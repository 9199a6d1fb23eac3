"""Tests of running a bundle window by window: its engines, and its parity with the model."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gatesearch.compile import tflite
from gatesearch.errors import UserError
from gatesearch.export.verify import Parity, list_shortfalls, verify
from gatesearch.runtime.bundle import Bundle
from gatesearch.runtime.cascade import requantise
from gatesearch.runtime.program import Program
from gatesearch.runtime.stream_timing import draw_windows, pick_fastest, time_stream
from gatesearch.runtime.tensor_spec import TensorSpec
from gatesearch.training import predictions, run_cascade
from tests.export.small_model import CLASSES, Exported, windows


class Counted:
    """A program that counts its calls."""

    def __init__(self, program: Program) -> None:
        self.program, self.calls = program, 0
        self.inputs, self.outputs = program.inputs, program.outputs

    def __call__(self, x: Any) -> Any:
        self.calls += 1
        return self.program(x)


@pytest.fixture
def counted(exported: Exported) -> Bundle:
    bundle = exported.loaded
    bundle.programs = [Counted(program) for program in bundle.programs]  # type: ignore[misc]
    return bundle


def calls(bundle: Bundle) -> list[int]:
    return [program.calls for program in bundle.programs]  # type: ignore[attr-defined]


def test_a_stopped_window_never_reaches_a_later_program(exported: Exported, counted: Bundle) -> None:
    exits = [counted(window).exit for window in exported.test.features.numpy()]
    assert set(exits) == {0, 1, 2}
    assert calls(counted) == [len(exits), sum(e > 0 for e in exits), sum(e > 1 for e in exits)]


@pytest.mark.parametrize("closed", [0, 1])
def test_a_closed_gate_stops_all_and_an_open_one_none(closed: int, exported: Exported, counted: Bundle) -> None:
    counted.thresholds = [-129, -129]
    counted.thresholds[closed] = 127
    for window in exported.test.features[:5].numpy():
        answer = counted(window)
        assert answer.exit == closed and answer.logits is None and answer.label == counted.answers[closed]
        assert len(answer.gate_logits) == closed + 1
    assert calls(counted) == [5, 5 * closed, 0]
    counted.thresholds = [-129, -129]
    answer = counted(exported.test.features[0].numpy())
    assert answer.exit == 2 and answer.logits is not None and answer.logits.shape == (4,)
    assert answer.label == int(answer.logits.argmax()) and len(answer.gate_logits) == 2


def test_windows_may_have_a_batch_of_one(exported: Exported, bundle_run: Bundle) -> None:
    window = exported.test.features[:1].numpy()
    assert bundle_run(window).gate_logits == bundle_run(window[0]).gate_logits


def test_engines_can_be_chosen_for_each_core(exported: Exported) -> None:
    bundle = Bundle(exported.folder, {"mcu": "litert"})
    assert [program.engine for program in bundle.programs] == ["litert", "reference", "litert"]


def test_the_runtime_needs_no_torch(exported: Exported) -> None:
    code = (
        "import sys; from pathlib import Path; from gatesearch.runtime.bundle import Bundle; import numpy as np;"
        f"b = Bundle(Path({str(exported.folder)!r})); b(np.zeros((1, 49, 10), np.float32));"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(("scale", "zero"), [(0.5, 3), (0.5 * (1 + 1e-7), 3), (0.25, 3), (0.7, -10)])
def test_requantising_equals_dequantising_and_quantising(scale: float, zero: int) -> None:
    source = TensorSpec("a", (1, 256), np.dtype(np.int8), 0.5, 3)
    target = replace(source, scale=scale, zero_point=zero)
    integers = np.arange(-128, 128, dtype=np.int8)[None]
    np.testing.assert_array_equal(requantise(integers, source, target), target.quantise(source.dequantise(integers)))


def test_the_bundle_agrees_with_the_model(exported: Exported, bundle_run: Bundle) -> None:
    steps: list[None] = []
    parity = verify(exported.model, bundle_run, exported.test.features, lambda: steps.append(None))
    assert parity.samples == len(steps) == len(parity.exits) == len(parity.labels) == 240
    assert parity.gate_agreement >= 0.97 and parity.prediction_agreement >= 0.95
    assert 0 < parity.max_abs_error < 0.5
    assert [(row["stage"], row["engine"]) for row in parity.per_stage] == [(0, "tflm"), (1, "reference")]
    assert all(0.97 <= row["gate_agreement"] <= 1 for row in parity.per_stage)
    cascade = run_cascade(exported.model, exported.test.features)
    assert parity.gate_agreement == pytest.approx(float((parity.exits == cascade.exit).double().mean()))
    expected = predictions(cascade, exported.model.answers)
    assert parity.prediction_agreement == pytest.approx(float((parity.labels == expected).double().mean()))


def test_parity_fails_with_another_threshold(exported: Exported) -> None:
    bundle = exported.loaded
    bundle.thresholds = [127, 127]
    parity = verify(exported.model, bundle, exported.test.features[:40])
    assert parity.gate_agreement < 0.9 and parity.per_stage[0]["gate_agreement"] < 0.9


def test_parity_fails_beyond_its_limits() -> None:
    parity = Parity(0.99, 0.98, 0.1, 200, (), torch.zeros(200), torch.zeros(200))
    assert list_shortfalls(parity, 0.99, 0.98) == ()
    assert list_shortfalls(parity, 0.995, 0.9) == (
        "verify.gate_agreement: artifacts and model agree on 99.00% of 200 test samples, "
        "less than the 99.50% of the recipe",
    )
    [line] = list_shortfalls(parity, 0.0, 0.99)
    assert re.search(r"verify.prediction_agreement: .* 98.00% of 200 .* 99.00%", line)
    assert len(list_shortfalls(parity, 0.995, 0.99)) == 2


Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda m: m.update(bundle=2), "bundle: Input should be 1; export again"),
        (lambda m: m.pop("stages"), "stages: Field required; export again"),
        (lambda m: m.update(stages=[]), "stages: List should have at least 1 item"),
        (lambda m: m["stages"][0].pop("program"), "stages.0.program: Field required"),
        (lambda m: m["stages"][1]["gate"].update(theta_integer="x"), "stages.1.gate.theta_integer: Input should be a"),
        (lambda m: m["stages"][1].update(gate=None), "stage 1 of 3 has no gate"),
        (lambda m: m["stages"].pop(), "stage 1 of 2 has a gate"),
        (lambda m: m["stages"][0].update(engine="tflmicro"), "stages.0.engine: Input should be 'litert'"),
        (lambda m: m["stages"][0]["gate"].update(answer=9), "stage 0 answers 9; there are 4 classes"),
        (lambda m: m["stages"][0]["program"].update(path="mcu/gone.tflite"), "No such file or directory"),
        (lambda m: m["stages"][0]["program"].update(path="../bundle.tflite"), "'../bundle.tflite' lies outside"),
        (lambda m: m["stages"][0]["program"].update(path="/etc/passwd"), "'/etc/passwd' lies outside the bundle"),
        (lambda m: m["stages"][2]["program"].update(sha256="0" * 64), "is not the manifest's 000000000000"),
    ],
)
def test_manifests_that_cannot_be_run_are_refused(
    change: Change, line: str, exported: Exported, tmp_path: Path
) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(exported.folder, copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    change(manifest)
    (copy / "manifest.json").write_text(json.dumps(manifest))
    assert line in load_error(copy)


def load_error(folder: Path) -> str:
    with pytest.raises(UserError) as error:
        Bundle(folder)
    assert "\n" not in str(error.value) and str(folder) in str(error.value)
    return str(error.value)


def test_files_with_a_wrong_sha256_are_refused(exported: Exported, tmp_path: Path) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(exported.folder, copy)
    artifact = copy / "npu" / "stage1.tflite"
    blob = bytearray(artifact.read_bytes())
    blob[len(blob) // 2] ^= 1
    artifact.write_bytes(blob)
    assert "npu/stage1.tflite: sha256" in load_error(copy) and "export again" in load_error(copy)
    artifact.unlink()
    assert "npu/stage1.tflite: No such file or directory; the bundle is incomplete" in load_error(copy)
    artifact.symlink_to(exported.folder / "mcu" / "stage0.tflite")
    assert "npu/stage1.tflite: sha256" in load_error(copy)  # a link is allowed; the content of its target is checked
    for text, line in [("{", "not JSON"), ("[]", "Input should be"), ("\xff", "not JSON")]:
        (copy / "manifest.json").write_bytes(text.encode("latin1"))
        assert line in load_error(copy)
    (copy / "manifest.json").unlink()
    assert "no such file; a bundle is a folder with a manifest.json" in load_error(copy)
    (copy / "manifest.json").mkdir()
    assert "manifest.json: is no file; export again" in load_error(copy)


def test_the_stream_has_its_shares_of_the_kinds() -> None:
    split, names = windows(80, seed=1), ("positive", "_unknown_", "_silence_")
    shares = {"positive": 0.1, "_unknown_": 0.2, "_silence_": 0.7}
    drawn = draw_windows(split.features, split.kinds, names, shares, 4000, seed=0)
    assert drawn.shape == (4000, 1, 49, 10)
    kind_of = {row.numpy().tobytes(): int(kind) for row, kind in zip(split.features, split.kinds, strict=True)}
    counts = np.bincount([kind_of[row.numpy().tobytes()] for row in drawn], minlength=3) / 4000
    assert counts.tolist() == pytest.approx([0.1, 0.2, 0.7], abs=0.03)
    assert torch.equal(drawn, draw_windows(split.features, split.kinds, names, shares, 4000, seed=0))
    assert not torch.equal(drawn, draw_windows(split.features, split.kinds, names, shares, 4000, seed=1))


def test_kinds_that_the_stream_does_not_name_do_not_occur() -> None:
    split = windows(40, seed=1)
    drawn = draw_windows(
        split.features, split.kinds, ("positive", "_unknown_", "_silence_"), {"positive": 1.0000004}, 50, seed=0
    )
    positives = split.features[split.kinds == 0]
    assert all((positives == row).flatten(1).all(1).any() for row in drawn)


def test_the_faster_of_two_programs_is_the_rival() -> None:
    class Repeated(torch.nn.Module):
        def __init__(self, count: int) -> None:
            super().__init__()
            self.layers = torch.nn.Sequential(*(torch.nn.Conv2d(16, 16, 3, padding=1) for _ in range(count)))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.layers(x)
            return result

    long, short = (tflite.convert(Repeated(count), torch.rand(1, 16, 24, 24)) for count in (8, 1))
    assert pick_fastest([long, short], rounds=5) == short == pick_fastest([short, long], rounds=5)


def test_streaming_times_the_bundle_and_the_ungated_program(exported: Exported) -> None:
    bundle = Bundle(exported.folder, dict.fromkeys(("mcu", "npu", "app"), "litert"))
    whole = (exported.folder / "mcu/stage0.tflite").read_bytes()  # stands in for the ungated program
    result = time_stream(bundle, whole, exported.test.features[:6], rounds=2)
    assert result.windows == 6 and result.gated_us > 0 and result.ungated_us > 0
    assert result.ratio == pytest.approx(result.ungated_us / result.gated_us)
    assert len(CLASSES) == 4
