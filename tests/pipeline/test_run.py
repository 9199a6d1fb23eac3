"""Tests of whole runs from the command line on a folder of tones: finished, interrupted and refused runs."""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import os
import re
import shutil
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any, NamedTuple

import optuna
import pytest
import soundfile
import torch
import yaml
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from gatesearch import recipe
from gatesearch.cli import app
from gatesearch.errors import UserError
from gatesearch.pipeline import export
from gatesearch.pipeline import run as pipeline
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.plan import GatePlan, PlacedGate
from gatesearch.runtime.bundle import Bundle
from gatesearch.search import Objectives, SearchResult, Trial
from tests import tones
from tests.pipeline.trainings import Trainings
from tests.schema_checks import check_run

pytestmark = pytest.mark.usefixtures("place")


@pytest.fixture(scope="module")
def words(place: Path) -> Path:
    return tones.write(place / "tones")


Run = Callable[..., int]


class InterruptedRun(NamedTuple):
    """A run of several sessions.

    Args:
        folder: the run folder.
        endings: for each session, its exit status and the last line that it printed.
        trainings: for each session, the number of trainings that it started.
        pages: for each session, the report after it.
    """

    folder: Path
    endings: list[tuple[int, str]]
    trainings: list[int]
    pages: list[str]


PROGRESS = re.compile(
    r"(warning: .*|(dry run|front end|train \w+|measure or estimate blocks on each core|search|verify): \d+/\d+)"
)


@pytest.fixture(scope="module")
def gatesearch(words: Path) -> Run:
    """Return a function that runs ``gatesearch run`` on the tones; its arguments override the tiny recipe."""

    def run(*settings: str) -> int:
        return app.main(["run", "recipe=kws_clips.yaml", f"data.root={words}", *tones.TINY, *settings])

    return run


def line_of(capsys: pytest.CaptureFixture[str], status: int, expected: int = 2) -> str:
    """Check the exit status, and return the only line of stderr that is neither progress nor a warning."""
    err = capsys.readouterr().err
    assert status == expected, err
    return last_line(err).removeprefix("gatesearch: ")


def last_line(err: str) -> str:
    """Return the line after progress and warnings, or ``""``; check that there is at most one such line."""
    lines = [line for line in err.splitlines() if not PROGRESS.match(line)]
    assert lines == [line for line in lines[-1:] if line.startswith("gatesearch: ")], err
    assert not lines or lines == err.splitlines()[-1:]
    return "".join(lines)


@pytest.fixture(scope="module")
def finished(gatesearch: Run, place: Path) -> Path:
    """Return the folder of a run without interruptions."""
    assert gatesearch("out=finished") == 0
    return place / "finished"


def summary_of(folder: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return summary


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_summary_says_how_the_gain_changes_with_assumed_constants(finished: Path) -> None:
    summary = summary_of(finished)
    sensitivity = summary["sensitivity"]
    assert sensitivity["nominal"]["gain"] == pytest.approx(summary["best"]["gain_end_to_end"])
    assert sensitivity["nominal"]["energy_uj"] == pytest.approx(summary["best"]["expected_energy_uj"])
    assert sensitivity["nominal"]["picked"] == summary["best"]["digest"]
    assert sensitivity["gain_low"] <= sensitivity["nominal"]["gain"] <= sensitivity["gain_high"]
    assert {"cores.mcu.active_mw", "sense.sensor_mw"} <= {row["name"] for row in sensitivity["constants"]}
    assert all(row["other_plan"] in (True, False) for row in sensitivity["constants"])


def test_the_card_of_the_bundle_has_the_figures_of_the_summary(finished: Path) -> None:
    summary, card = summary_of(finished), (finished / "best" / "bundle" / "README.md").read_text()
    assert card.startswith(f"# {summary['recipe']}: model card\n") and summary["best"]["digest"] in card
    assert f"| accuracy | {100 * summary['best']['accuracy']:.1f} %" in card
    assert f"{summary['data']['test']:,} tested it" in " ".join(card.split())
    assert "decision on each of the windows" in " ".join(card.split())
    assert all(" ".join(line.split()) in " ".join(card.split()) for line in summary["warnings"])


def test_a_finished_run_has_every_expected_file(finished: Path) -> None:
    plan = json.loads((finished / "best" / "plan.json").read_text())
    files = {str(path.relative_to(finished)) for path in finished.rglob("*") if path.is_file()}
    expected = {
        "recipe.yaml", "study.journal", "trials.csv", "pareto.csv", "baseline.ckpt", "report.html", "summary.json",
        "best/plan.json", "best/model.ckpt", "best/bundle/manifest.json", "best/bundle/README.md",
        *(f"best/bundle/vectors/{name}" for name in ("inputs.bin", "features.bin", "decisions.json")),
        *(f"best/bundle/{core}/stage{k}.tflite" for k, core in enumerate(plan["cores"])),
        *(f"best/bundle/{core}/stage{k}_vela.tflite" for k, core in enumerate(plan["cores"]) if core == "npu"),
        *(f"best/bundle/{core}/stage{k}.onnx" for k, core in enumerate(plan["cores"]) if core == "app"),
    }  # fmt: skip
    assert expected <= files
    assert any(name.startswith("logs/baseline/events.out.tfevents") for name in files)
    assert not [name for name in files if ".part" in name or name.endswith(".lock")]
    assert all((finished / name).stat().st_size > 0 for name in expected)


def test_the_run_folder_holds_the_resolved_recipe(finished: Path, words: Path) -> None:
    stored = recipe.load(finished / "recipe.yaml")
    assert stored == recipe.load("kws_clips.yaml", [f"data.root={words}", *tones.TINY])
    assert stored.name == "kws_clips" and stored.training.epochs == 12


def test_the_summary_has_its_keys_and_consistent_figures(finished: Path) -> None:
    summary = summary_of(finished)
    keys = {
        "": {"recipe", "seed", "seconds", "data", "baseline", "search", "best", "export"},
        "data": {"name", "synthetic", "train", "validation", "test", "positive_share"},
        "baseline": {"accuracy", "macs", "params", "latency_us", "energy_uj"},
        "search": {"trials", "unique_plans", "pruned", "seconds", "hypervolume", "engine"},
        "best": {
            "digest", "plan", "accuracy", "precision", "recall", "early_stop_rate", "gate_recall",
            "activation_sparsity", "expected_macs", "expected_latency_us", "expected_energy_uj",
            "gain_end_to_end", "gain_paper_style",
        },
        "export": {"bundle", "artifacts", "parity"},
    }  # fmt: skip
    for group, names in keys.items():
        assert names <= set(summary[group] if group else summary), group
    parity = summary["export"]["parity"]
    assert {"max_abs_error", "gate_agreement", "prediction_agreement", "samples"} <= set(parity)
    assert (summary["recipe"], summary["seed"]) == ("kws_clips", 0)
    assert summary["seconds"] > summary["search"]["seconds"] > 0
    per_class = tones.SPEAKERS_PER_SPLIT
    counts = {"train": 5 * per_class["train"], "validation": 5 * per_class["validation"], "test": 5 * per_class["test"]}
    assert {split: summary["data"][split] for split in counts} == counts == {"train": 70, "validation": 25, "test": 25}
    assert summary["data"]["synthetic"] is False and summary["data"]["positive_share"] == pytest.approx(0.4)
    assert parity["samples"] == counts["test"]
    for name in ("accuracy", "precision", "recall", "early_stop_rate", "gate_recall", "activation_sparsity"):
        assert 0 <= summary["best"][name] <= 1
    assert summary["best"]["expected_energy_uj"] > 0 and summary["baseline"]["energy_uj"] > 0
    saving = summary["baseline"]["macs"] / summary["best"]["expected_macs"]
    assert summary["best"]["macs_saving"] == pytest.approx(saving)
    assert summary["best"]["layer_gates"] == []
    plan = GatePlan.from_dict(summary["best"]["plan"])
    assert plan.digest == summary["best"]["digest"]
    assert plan == GatePlan.from_dict(json.loads((finished / "best" / "plan.json").read_text()))
    for artifact in summary["export"]["artifacts"]:
        assert {"core", "stage", "format", "path", "bytes", "sha256"} <= set(artifact)
        blob = (finished / summary["export"]["bundle"] / artifact["path"]).read_bytes()
        assert (len(blob), hashlib.sha256(blob).hexdigest()) == (artifact["bytes"], artifact["sha256"])


def test_trials_are_those_of_the_journal(finished: Path) -> None:
    storage = JournalStorage(JournalFileBackend(str(finished / "study.journal")))
    study = optuna.load_study(study_name="gatesearch", storage=storage)
    rows, summary = rows_of(finished / "trials.csv"), summary_of(finished)["search"]
    assert len(rows) == len(study.trials) == summary["trials"]
    trained = [row for row in rows if row["state"] == "complete"]
    assert len(trained) == 3 and len({row["digest"] for row in trained}) == 3
    assert summary["unique_plans"] == len({row["digest"] for row in rows})
    assert rows_of(finished / "pareto.csv") == [row for row in rows if row["on_front"] == "True"] != []
    assert summary_of(finished)["best"]["digest"] in {row["digest"] for row in rows_of(finished / "pareto.csv")}


def test_the_bundle_runs_and_the_report_opens_offline(finished: Path) -> None:
    bundle = Bundle(finished / "best" / "bundle")
    window = torch.zeros(bundle.manifest["stages"][0]["input"]["shape"]).numpy().transpose(0, 3, 1, 2)
    assert bundle.classes[bundle(window).label] in ("up", "down", "_silence_", "_unknown_")
    page = (finished / "report.html").read_text()
    assert page.lstrip().lower().startswith("<!doctype html") and "kws" in page
    assert 'src="http' not in page and 'href="http' not in page.replace('href="https://arxiv', "")


def test_steps_on_a_finished_run_train_nothing(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fits, before = Trainings(monkeypatch), (finished / "best" / "bundle" / "manifest.json").read_bytes()
    monkeypatch.setattr(export, "tflite", None)
    for step in ("search", "retrain", "export", "verify", "report"):
        assert app.main([step, str(finished)]) == 0, capsys.readouterr().err
    assert fits.count == 0
    assert (finished / "best" / "bundle" / "manifest.json").read_bytes() == before


@pytest.fixture(scope="module")
def broken(gatesearch: Run, place: Path, finished: Path) -> InterruptedRun:
    """Return a run that was interrupted in the search and met a full disk after the retraining."""
    endings, trainings, pages = [], [], []
    # Training 1 is the baseline, and training 3 the second trial. "-" is in no file's name; 0 interrupts no training.
    sessions = (("out=broken", 3, "-"), ("resume=broken", 0, "model.ckpt"), ("resume=broken", 0, "-"))
    for argument, interrupted_training, unwritable_file in sessions:
        with pytest.MonkeyPatch.context() as patch, redirect_stderr(io.StringIO()) as err:
            counted = Trainings(patch, interrupted_training)
            fill_disk(patch, unwritable_file)
            status = gatesearch(argument) if "out=" in argument else app.main(["run", argument])
        endings.append((status, last_line(err.getvalue())))
        trainings.append(counted.count)
        if unwritable_file != "-":
            assert not (place / "broken" / "best" / unwritable_file).exists()
        assert app.main(["report", "broken"]) == 0
        pages.append((place / "broken" / "report.html").read_text())
    return InterruptedRun(place / "broken", endings, trainings, pages)


def test_a_run_that_is_cut_off_says_how_to_go_on(broken: InterruptedRun) -> None:
    go_on = "go on with: gatesearch run resume=broken"
    assert broken.endings[0] == (130, f"gatesearch: interrupted; {go_on}")
    status, line = broken.endings[1]
    assert status == 2 and line.startswith("gatesearch: disk full while writing ") and line.endswith(f"; {go_on}")
    assert broken.endings[2][0] == 0


def test_a_report_of_an_unfinished_run_says_so(broken: InterruptedRun) -> None:
    for page, trials in zip(broken.pages, (1, 3), strict=False):
        assert f"<b>Unfinished</b>This page shows the run after {trials} of 3 trials." in page
        assert "Calibrated gates: not yet" in page and "Hypervolume: not yet" not in page
    assert "Unfinished" not in broken.pages[2]


def test_a_bundle_of_another_plan_is_written_anew(finished: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    manifest = copy / "best" / "bundle" / "manifest.json"
    text = manifest.read_text()
    digest = json.loads(text)["digest"]
    manifest.write_text(text.replace(digest, "0" * len(digest)))
    result = pipeline.resume(copy, until="export")
    assert result.bundle is not None and result.bundle.manifest["digest"] == digest


def test_a_bundle_that_is_damaged_or_of_other_weights_is_exported_again(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, exports = tmp_path / "copy", list[Any]()
    shutil.copytree(finished, copy)
    bundle = copy / "best" / "bundle"

    def write(problem: Any, path: Path, model: Any, about: Any, vectors: Any) -> None:
        exports.append(about)
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(finished / "best" / "bundle", path)

    monkeypatch.setattr(export, "write_bundle", write)
    monkeypatch.setattr(export, "_write_ungated", lambda *_: {})
    program = next(bundle.rglob("stage0.tflite"))
    damages: list[Callable[[], object]] = [
        lambda: program.write_bytes(b"garbage"),
        program.unlink,
        lambda: (bundle / "manifest.json").write_text("{"),
        lambda: (bundle / "manifest.json").unlink(),
        lambda: monkeypatch.setattr(export, "digest_weights", lambda _: "others"),
    ]
    for count, damage in enumerate(damages):
        assert pipeline.resume(copy, until="export").bundle is not None and len(exports) == count
        damage()
        assert pipeline.resume(copy, until="export").bundle is not None and len(exports) == count + 1
    lines = RunFolder(copy).warnings()
    assert any("stage0.tflite: sha256" in line and line.endswith("it is exported again") for line in lines), lines
    assert exports[-1]["made_from"] == {"weights": "others", "formats": ["tflite", "onnx"]}


def test_an_unknown_step_is_refused(finished: Path) -> None:
    with pytest.raises(UserError, match="unknown step 'exprot'; nearest: 'export'"):
        pipeline.resume(finished, until="exprot")


def test_a_search_writes_curves_for_tensorboard(finished: Path) -> None:
    assert list((finished / "logs" / "search").glob("events.out.tfevents.*"))


def test_finished_trainings_are_not_repeated(broken: InterruptedRun) -> None:
    # Session 1 starts 3 trainings: the baseline, a trial, and the trial that is interrupted. Session 2 starts 4
    # trainings: two trials, the ungated backbone, and the best plan. Session 3 has nothing to train; it writes the
    # files of best/.
    assert broken.trainings == [3, 4, 0]


def test_a_run_that_was_cut_off_resumes_to_the_same_result(broken: InterruptedRun, finished: Path) -> None:
    assert rows_of(broken.folder / "trials.csv") == rows_of(finished / "trials.csv")
    resumed, unbroken = summary_of(broken.folder), summary_of(finished)
    changing = {"seconds", "streaming", "export", "warnings"}
    assert lasting_warnings(resumed) == lasting_warnings(unbroken)
    assert resumed["search"] | {"seconds": 0} == unbroken["search"] | {"seconds": 0}
    for group in set(resumed) - changing - {"search"}:
        assert resumed[group] == unbroken[group], group
    same = {a["path"]: a["sha256"] for a in unbroken["export"]["artifacts"]}
    assert {a["path"]: a["sha256"] for a in resumed["export"]["artifacts"]} == same
    assert (broken.folder / "report.html").exists()


def lasting_warnings(summary: dict[str, Any]) -> list[str]:
    """Return the warnings that do not depend on the load of this machine."""
    return [
        line
        for line in summary["warnings"]
        if not line.startswith(
            ("the machine is busy", "on this host, the bundle takes", "the exported bundle is slower")
        )
    ]


def fill_disk(patch: pytest.MonkeyPatch, name: str) -> None:
    """Make the disk full for files whose names contain ``name``."""
    write = Path.write_bytes

    def write_bytes(self: Path, data: Any) -> int:
        if name in self.name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))
        return write(self, data)

    patch.setattr(Path, "write_bytes", write_bytes)


@pytest.mark.parametrize("name", ["recipe.yaml", "baseline.ckpt", "table.json"])
def test_a_full_disk_gives_the_command_that_goes_on(
    name: str, gatesearch: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        fill_disk(patch, name)
        error = line_of(capsys, gatesearch(f"out=full-{name}"))
    assert error.startswith("disk full while writing ") and f"resume=full-{name}" in error


def bad_device(change: Callable[[dict[str, Any]], object]) -> str:
    from gatesearch.devices import profile

    written = yaml.safe_load(profile.find_file("three_core").read_text())
    change(written)
    Path("bad_device.yaml").write_text(yaml.safe_dump(written))
    return "device=bad_device.yaml"


def too_small(written: dict[str, Any]) -> None:
    for core in written["cores"]:
        core["memory"] = {"flash_kib": 0.01, "sram_kib": 512}


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (("space.kinds.gcc={}",), "unknown gate kind 'gcc'; nearest: 'gc'"),
        (("space.kinds.gc.kep=[0.5]",), "space.kinds.gc: unknown parameter 'kep'; nearest: 'keep'"),
        (("space.kinds.gc.keep=[1.5]",), "space.kinds.gc.keep: gc gate at input: keep: 1.5 is not in (0, 1]"),
        (("space.sites=[input,block.0]",), "space.sites: unknown site 'block.0'; nearest: 'blocks.0'"),
        (("space.cores=[mcu,nqu]",), "space.cores: unknown core 'nqu'; nearest: 'npu'"),
        (("backbone=nosuch.module:Thing",), "backbone: cannot import 'nosuch.module' of 'nosuch.module:Thing'"),
        (("backbone=ds_cn",), "unknown backbone 'ds_cn'; nearest: 'ds_cnn'"),
        (("backbone_args.widht=8",), "backbone_args.widht: ds_cnn takes no argument 'widht'; nearest: 'width'"),
        (("data.positives=[up,dwon]",), "unknown class folder 'dwon'; nearest: 'down'"),
        (("data.root=tonse",), "data.root: no folder"),
        (("device=tree_core",), "unknown device 'tree_core'; nearest: 'three_core'"),
        (("stream.shares.positive=0.3",), "the shares add up to 1.2, not 1"),
    ],
)
def test_mistakes_in_recipes_give_an_error_of_one_line(
    settings: tuple[str, ...], line: str, gatesearch: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert line in line_of(capsys, gatesearch(*settings, f"out={tmp_path / 'run'}"))


def test_a_core_too_small_for_every_plan_ends_the_search(
    gatesearch: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = line_of(capsys, gatesearch(bad_device(too_small), "search.proposals=12", f"out={tmp_path / 'run'}"))
    assert error.startswith("search: none of ") and "npu.flash" in error


def test_a_latency_that_no_plan_keeps_ends_the_search(
    gatesearch: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ("constraints.latency_ms=0.001", "search.proposals=12", f"out={tmp_path / 'run'}")
    error = line_of(capsys, gatesearch(*settings))
    assert error.startswith("search: none of ") and "(latency_ms)" in error


def test_constraints_on_quality_that_no_plan_keeps_end_the_search(
    gatesearch: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ("constraints.min_recall=1.0", "space.kinds.gc.recall=[0.5]", "search.trials=1")
    error = line_of(capsys, gatesearch(*settings, f"out={tmp_path / 'run'}"))
    assert "none of 1 tried plans keeps the constraints on quality" in error


def test_artifacts_that_differ_from_the_model_fail_the_verification(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    content = (finished / "recipe.yaml").read_text()
    monkeypatch.setattr("gatesearch.export.verify.predictions", lambda cascade, _: torch.full_like(cascade.exit, -1))
    try:
        (finished / "recipe.yaml").write_text(content.replace("prediction_agreement: 0.0", "prediction_agreement: 0.5"))
        error = line_of(capsys, app.main(["verify", str(finished)]))
    finally:
        (finished / "recipe.yaml").write_text(content)
    assert error.startswith("verify.prediction_agreement: artifacts and model agree on 0.00% of 25 test samples")


@pytest.fixture
def spoiled(words: Path, tmp_path: Path) -> Path:
    """Return a copy of the tones that a test may damage."""
    shutil.copytree(words, tmp_path / "tones")
    return tmp_path / "tones"


def test_an_empty_class_folder_is_refused(gatesearch: Run, spoiled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for clip in (spoiled / "down").iterdir():
        clip.unlink()
    error = line_of(capsys, gatesearch(f"data.root={spoiled}", f"out={spoiled.parent / 'run'}"))
    assert error == f"data.positives: {spoiled / 'down'} holds no WAV file"


def test_wav_files_that_cannot_be_used_are_refused(
    gatesearch: Run, spoiled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = sorted((spoiled / "up").iterdir())[0]
    wave, _ = soundfile.read(clip)
    clip.write_bytes(b"RIFF and nothing else")
    error = line_of(capsys, gatesearch(f"data.root={spoiled}", f"out={spoiled.parent / 'a'}"))
    assert error.startswith(f"{clip}: cannot be read as a WAV file")
    soundfile.write(clip, wave[::2], 8000)
    error = line_of(capsys, gatesearch(f"data.root={spoiled}", f"out={spoiled.parent / 'b'}"))
    assert error.startswith(
        f"{clip}: is sampled at 8000 Hz, below data.sample_rate=16000; data.sample_rate=8000 reads it"
    )
    assert "data.skip_bad_files=true" in error


def test_a_folder_that_holds_a_run_already_is_refused(
    gatesearch: Run, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = line_of(capsys, gatesearch("out=finished"))
    assert error == "out=finished: holds a run already; go on with it: gatesearch run resume=finished"


def test_sites_and_measure_need_no_run(words: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = ["recipe=kws_clips.yaml", f"data.root={words}", *tones.TINY, "space.sites=[input]"]
    assert app.main(["sites", *settings]) == 0
    output = capsys.readouterr().out
    assert "cut sites of ds_cnn" in output and "blocks.0" in output and "1x49x10" in output
    layers = output[output.index("layer sites of ds_cnn") :].splitlines()
    assert layers[1].split()[:2] == ["layer", "operation"] and max(map(len, output.splitlines())) <= 100
    assert layers[2].split() == ["stem.0", "conv2d", "1x49x10", "8x25x5", "40,000", "320", "1,810", "-", "-"]
    assert "cut sites not searched, not among space.sites: stem, blocks.0" in output
    assert "layer sites not searched, space.kinds names no gate for layers: stem.0, " in output
    assert app.main(["measure", *settings]) == 0
    output = capsys.readouterr().out
    assert "simulated" in output and "modelled" in output and "measured" in output and "input > output" in output


def trial(number: int, accuracy: float, latency: float, energy: float, feasible: bool = True) -> Trial:
    plan = GatePlan((), (f"core{number}",))
    return Trial(number, plan, "complete", Objectives(accuracy, latency, energy), feasible)


def test_plans_are_ranked_by_the_picked_objective() -> None:
    trials = (trial(0, 0.9, 5, 9), trial(1, 0.8, 3, 8), trial(2, 0.7, 4, 7), trial(3, 0.95, 1, 1, feasible=False))
    digests = {
        objective: SearchResult(trials).rank_plans(objective)[0].number
        for objective in ("energy", "latency", "accuracy")
    }
    assert digests == {"energy": 2, "latency": 1, "accuracy": 0}
    assert [t.number for t in SearchResult(trials).rank_plans("energy", tolerance=0.5)] == [2, 1, 0]  # no gates
    with pytest.raises(UserError, match=r"none of 1 tried plans keeps .* reaches 0\.950"):
        SearchResult(trials[3:]).rank_plans("energy")


def test_among_equal_plans_the_simplest_is_picked() -> None:
    def make(number: int, gates: int, accuracy: float, energy: float, feasible: bool = True) -> Trial:
        plan = GatePlan(tuple(PlacedGate.of("gc", str(k)) for k in range(gates)), ("core",) * (gates + 1))
        return Trial(number, plan, "complete", Objectives(accuracy, 1, energy), feasible)

    trials = (
        make(0, 3, 0.9, 100.0), make(1, 1, 0.8, 101.5), make(2, 1, 0.85, 101.9), make(3, 2, 0.9, 101.0),
        make(4, 0, 0.95, 101.0), make(5, 1, 0.99, 103.0), make(6, 1, 0.9, 100.5, feasible=False),
    )  # fmt: skip
    result = SearchResult(trials)
    assert [t.number for t in result.rank_plans("energy")] == [0, 4, 5]
    assert [t.number for t in result.rank_plans("energy", tolerance=0.02)] == [1, 2, 3, 0, 4, 5]
    assert [t.number for t in result.rank_plans("energy", tolerance=0.001)] == [0, 4, 5]
    without = SearchResult((*trials, make(7, 0, 0.8, 99.0)))
    assert [t.number for t in without.rank_plans("energy", tolerance=0.02)] == [7, 0, 4, 5]


def test_a_run_without_a_name_finds_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert [RunFolder.new("kws", None).path for _ in range(2)] == [Path("runs/kws-1"), Path("runs/kws-2")]


def test_written_files_fit_their_schemas(finished: Path) -> None:
    check_run(finished)
