"""Tests that each fallback of a run prints a warning, which summary.json also holds."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn

import gatesearch
from gatesearch.errors import UserError
from gatesearch.pipeline.run_dir import RunFolder
from tests.pipeline import small_run

pytestmark = pytest.mark.usefixtures("place")

PACKAGE = Path(gatesearch.__file__).parent


@pytest.fixture(scope="module")
def finished(place: Path) -> Path:
    small_run.run(place / "finished")
    return place / "finished"


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "copy")
    return tmp_path / "copy"


def edit_recipe(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    tree = yaml.safe_load((folder / "recipe.yaml").read_text())
    change(tree)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(tree))


def spoil(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(b"{")


def write_nothing(folder: Path) -> None:
    for path in (folder / "best" / "bundle").rglob("*.tflite"):
        path.write_bytes(b"")


def forget_version(folder: Path) -> None:
    files = RunFolder(folder)
    table = files.read_json("table.json")
    files.write_json("table.json", {name: value for name, value in table.items() if name != "version"})


FALLBACKS: dict[str, tuple[Callable[[Path], object], str]] = {
    "weights": (
        spoil("baseline.ckpt"),
        r"baseline.ckpt: is damaged: .*; the training is repeated; the damaged file is now",
    ),
    "prices": (spoil("table.json"), r"table.json: is damaged: .*; the table is built again"),
    "older prices": (
        forget_version,
        r"table.json: an older version wrote it .*; prices and memory are estimates of that",
    ),
    "curves": (spoil("logs/ungated.json"), r"ungated.json: is damaged: .*; the report has no such learning curve"),
    "origin": (spoil("logs/origin.json"), r"origin.json: is damaged: .*; this session cannot tell whether"),
    "checksums": (
        spoil("logs/checksums.json"),
        r"checksums.json: is damaged; the run's files are checked without digests",
    ),
    "bundle": (write_nothing, r"stage0.tflite: sha256 .* is not the manifest's .*; it is exported again"),
    "recipe": (
        lambda folder: edit_recipe(folder, lambda tree: tree["stream"].update(period_s=2.0)),
        r"recipe.yaml is not what the run began with: stream.period_s was 1.0, is 2.0; results of earlier",
    ),
    "parity": (
        lambda folder: edit_recipe(folder, lambda tree: tree["verify"].update(gate_agreement=1.0, output_snr_db=None)),
        r"recipe.yaml is not what the run began with: verify.gate_agreement was 0.0, is 1.0",
    ),
}


@pytest.mark.parametrize("name", FALLBACKS)
def test_a_fallback_is_printed_and_in_the_summary(name: str, copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    provoke, pattern = FALLBACKS[name]
    provoke(copy)
    small_run.resume(copy)
    printed = re.findall(r"^warning: (.*)$", capsys.readouterr().err, re.MULTILINE)
    stored = json.loads((copy / "summary.json").read_text())["warnings"]
    assert any(re.search(pattern, line) for line in printed), printed
    assert set(printed) <= set(stored) and len(stored) == len(set(stored))


def test_a_warning_names_data_and_weights_that_changed_since_the_run_began(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    split = small_run.images().test
    changed = split.inputs.clone()
    changed[0, 0, 0, 0] += 1
    folder = RunFolder(copy)
    origin = folder.read_json("logs/origin.json")
    folder.write_json("logs/origin.json", origin | {"data": origin["data"] | {"test": "0" * 16}, "weights": "1" * 16})
    small_run.resume(copy)
    err = capsys.readouterr().err
    assert "the data are not those that the run began with: the digest of test was" in err
    assert "the network starts from other weights than the run began with" in err


def test_weights_that_are_not_finite_are_refused(copy: Path) -> None:
    weights = torch.load(copy / "baseline.ckpt", weights_only=True)
    key = next(key for key, value in weights.items() if value.is_floating_point())
    weights[key].view(-1)[0] = float("nan")
    torch.save(weights, copy / "baseline.ckpt")
    (copy / "logs" / "checksums.json").unlink()
    with pytest.raises(UserError, match=r"baseline.ckpt: 1 of \d+ values of .* are not finite; delete .* to train it"):
        small_run.resume(copy)


def test_weights_of_another_network_are_refused(copy: Path) -> None:
    torch.save({"other": torch.zeros(1)}, copy / "baseline.ckpt")
    (copy / "logs" / "checksums.json").unlink()
    with pytest.raises(UserError, match=r"baseline.ckpt: holds weights of another network: .*; put the recipe"):
        small_run.resume(copy)


@pytest.mark.parametrize("seed", range(3))
def test_a_baseline_that_learned_nothing_ends_the_run(seed: int, tmp_path: Path) -> None:
    data = small_run.images(seed, random_labels=True)
    with pytest.raises(UserError, match=r"baseline: learned nothing: on 60 validation .*accuracy 0\.\d+.*epochs"):
        gatesearch.run(small_run.network(), data, out=tmp_path / "run", **small_run.SETTINGS)


def test_a_run_whose_artifacts_differ_from_the_model_returns_its_result(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bars = {"gate_agreement": 1.0, "prediction_agreement": 1.0}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gatesearch.export.verify.predictions", lambda cascade, _: torch.full_like(cascade.exit, -1))
        result = small_run.run(tmp_path / "run", verify=bars)
    assert any("verify.prediction_agreement: artifacts and model agree on 0.00%" in line for line in result.shortfalls)
    assert set(result.shortfalls) <= set(result.record.summary["warnings"])
    assert all(f"warning: {line}" in capsys.readouterr().err for line in result.shortfalls[:1])


class CrossProduct(nn.Module):
    """A layer with the cross product of channels, an operator that the operator table does not know."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([torch.linalg.cross(x[:, :3], x[:, 3:6], dim=1), x[:, 3:]], 1)


def test_an_operator_without_a_figure_is_in_the_summary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = small_run.network()
    network[0].append(CrossProduct())
    # Only the cores of the device cortex_a run operators that neither TensorFlow Lite Micro nor Vela has.
    settings = small_run.SETTINGS | {"device": "cortex_a"}
    result = gatesearch.run(network, small_run.images(), out=tmp_path / "run", **settings)
    [line] = [line for line in result.record.summary["warnings"] if "operator table" in line]
    assert re.match(
        r"backbone: the operator table does not know linalg_cross, which computes \d+\.\d% of all values", line
    )
    assert f"warning: {line}" in capsys.readouterr().err
    assert line in json.loads((tmp_path / "run" / "summary.json").read_text())["warnings"]


def test_a_second_driver_is_refused(copy: Path) -> None:
    with RunFolder(copy).driver_lock(), pytest.raises(UserError, match=r"run folder .*: process \d+ on .* works on it"):
        small_run.resume(copy)


def test_every_warning_goes_through_the_console() -> None:
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        assert "warnings.warn(" not in text and "logging.warning(" not in text, path
