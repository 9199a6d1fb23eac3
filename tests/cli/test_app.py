"""Tests of the command line: commands, their options, exit statuses, and errors of one line."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from gatesearch import __version__, recipe
from gatesearch.cli import app, checkout


class Calls(list[tuple[Any, ...]]):
    """Stands in for the functions of the pipeline: it records their calls, and raises ``trouble`` if that is set."""

    trouble: BaseException | None = None
    shortfalls: tuple[str, ...] = ()

    def __call__(self, *arguments: Any) -> Any:
        self.append(arguments)
        if self.trouble:
            raise self.trouble
        return SimpleNamespace(shortfalls=self.shortfalls)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    noted = Calls()
    for module, names in {
        "pipeline.run": ["start", "resume", "report"],
        "cli.tables": ["sites", "measure"],
    }.items():
        double = ModuleType(f"gatesearch.{module}")
        room = module.partition(".")[0]
        for name in names:
            setattr(
                double,
                name,
                lambda *arguments, _name=f"{room}.{name}", **named: noted(_name, *arguments, *named.values()),
            )
        monkeypatch.setitem(sys.modules, f"gatesearch.{module}", double)
        monkeypatch.setattr(f"gatesearch.{module}", double, raising=False)
    return noted


@pytest.fixture
def run_dir(folder: Path) -> Path:
    run_folder = folder / "runs" / "kws-1"
    run_folder.mkdir(parents=True)
    (run_folder / "recipe.yaml").write_text(recipe.to_yaml(recipe.load("kws", ["seed=5"])))
    return Path("runs/kws-1")


def line_of(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 2) -> str:
    assert app.main(arguments) == status
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("gatesearch: ") and len(err.splitlines()) == 1
    return err.removeprefix("gatesearch: ").rstrip("\n")


def test_run_loads_the_recipe_with_its_overrides_and_starts_it_in_the_named_folder(calls: Calls) -> None:
    assert app.main(["run", "seed=3", "recipe=kws", "out=here", "training.epochs=2"]) == 0
    ((name, loaded_recipe, out),) = calls
    assert (name, loaded_recipe.seed, loaded_recipe.training.epochs, out) == ("pipeline.start", 3, 2, Path("here"))


@pytest.mark.parametrize("command", ["run", "verify"])
def test_artifacts_that_disagree_with_the_model_give_exit_status_2(
    command: str, calls: Calls, run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calls.shortfalls = ("verify.gate_agreement: agree on 1.00%",)
    words = (f"resume={run_dir}",) if command == "run" else (str(run_dir),)
    assert line_of(capsys, command, *words) == "verify.gate_agreement: agree on 1.00%"


def test_run_resumes_a_run_folder(calls: Calls, run_dir: Path) -> None:
    assert app.main(["run", f"resume={run_dir}"]) == 0
    assert app.main(["run", f"resume={run_dir}", "search.trials=80"]) == 0
    assert calls == [("pipeline.resume", run_dir, None, False), ("pipeline.resume", run_dir, 80, False)]


@pytest.mark.parametrize("step", ["search", "retrain", "export", "verify"])
def test_steps_go_on_with_a_run_folder(step: str, calls: Calls, run_dir: Path) -> None:
    assert app.main([step, str(run_dir)]) == 0
    assert calls == [("pipeline.resume", run_dir, step, False)]


def test_report_takes_a_run_folder(calls: Calls, run_dir: Path) -> None:
    assert app.main(["report", str(run_dir)]) == 0
    assert calls == [("pipeline.report", run_dir, False)]


def test_run_folders_of_other_users_need_trust(calls: Calls, run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["run", f"resume={run_dir}", "trust=true"]) == 0
    assert app.main(["verify", str(run_dir), "trust=true"]) == app.main(["report", str(run_dir), "trust=true"]) == 0
    assert [call[-1] for call in calls] == [True] * 3
    assert "trust=yes: write trust=true" in line_of(capsys, "export", str(run_dir), "trust=yes")
    assert "verify: got unexpected extra argument (seed=1)" in line_of(capsys, "verify", str(run_dir), "seed=1")
    assert "export: unknown key 'seed'; choices: trust, plan, target, out" in line_of(
        capsys, "export", str(run_dir), "seed=1"
    )


def test_export_writes_firmware_where_it_is_asked_to(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = line_of(capsys, "export", str(run_dir), "target=firmwear")
    assert line == "export: unknown target 'firmwear'; nearest: 'firmware' (choices: firmware, tflm)"
    line = line_of(capsys, "export", str(run_dir), "target=tfml")
    assert line == "export: unknown target 'tfml'; nearest: 'tflm' (choices: firmware, tflm)"
    assert "wanted: target=firmware or target=tflm as well" in line_of(capsys, "export", str(run_dir), "out=here")


@pytest.mark.parametrize("step", ["sites", "measure"])
def test_sites_and_measure_load_a_recipe(step: str, calls: Calls) -> None:
    assert app.main([step, "recipe=kws.yaml", "seed=2"]) == 0
    assert [(name, loaded_recipe.seed) for name, loaded_recipe, *_ in calls] == [(f"cli.{step}", 2)]


def test_bench_passes_its_arguments_on(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    double = ModuleType("results")
    double.run = lambda *arguments: calls("results.run", *arguments)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "results", double)
    assert app.main(["bench", "parity", "seeds=3", "--fast", "-x"]) == 0
    assert calls == [("results.run", "parity", ["seeds=3", "--fast", "-x"])]


def test_bench_needs_a_checkout(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checkout, "__file__", str(folder / "site-packages/gatesearch/cli/checkout.py"))
    assert line_of(capsys, "bench", "kws").startswith("bench kws: benchmarks need a checkout of gatesearch")
    for name in ("results", "gatesearch"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").touch()
    assert checkout.find_checkout((folder / "site-packages", folder)) == folder


def test_show_prints_a_recipe_that_loads(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["show", "recipe=kws", "seed=9", "title=two\nlines"]) == 0
    Path("shown.yaml").write_text(capsys.readouterr().out)
    assert recipe.load("shown.yaml").seed == 9


def test_show_prints_one_json_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["show", "recipe=kws", "seed=9", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["seed"], document["space"]["gates"]) == (9, {"min": 0, "max": 3})


def test_devices_prints_json_with_hypothetical_devices_last(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["devices", "--json"]) == 0
    names = [row["name"] for row in json.loads(capsys.readouterr().out)]
    assert names[-2:] == ["bit_serial", "three_core"]  # hypothetical devices are last
    assert names[:-2] == sorted(names[:-2])
    assert app.main(["devices", "three_core", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["cores"][0]["active_mw"]["unit"] == "mW"


@pytest.mark.parametrize("step", ["sites", "measure"])
def test_json_true_prints_tables_as_json(step: str, calls: Calls) -> None:
    assert app.main([step, "recipe=kws.yaml", "--json"]) == 0
    assert calls[0][-1] is True


def test_help_of_every_command_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["--help"]) == 0
    listed = capsys.readouterr().out.partition("Commands:")[2]
    assert "..." not in listed
    for name in re.findall(r"^  (\w+) ", listed, re.MULTILINE):
        if name != "Start":
            assert app.main([name, "--help"]) == 0
            assert f"Example: gatesearch {name} " in capsys.readouterr().out


def test_devices_lists_all_devices_or_shows_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["devices"]) == 0
    assert "three_core" in capsys.readouterr().out
    assert app.main(["devices", "three_core"]) == 0
    assert "assumed" in capsys.readouterr().out
    assert "unknown device 'tree_core'; nearest: 'three_core'" in line_of(capsys, "devices", "tree_core")


def test_help_and_version_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["--version"]) == 0
    assert capsys.readouterr().out == f"gatesearch {__version__}\n"
    for arguments in ([], ["--help"], ["run", "--help"], ["bench", "--help"]):
        assert app.main(arguments) == 0
        assert "Usage: gatesearch" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("reprt runs/kws-1", "unknown command 'reprt'; nearest: 'report'"),
        ("run", "no recipe= given; write: gatesearch run recipe=kws.yaml (available: cifar10_hybrid.yaml, "),
        ("sites seed=1", "no recipe= given; write: gatesearch sites recipe=kws.yaml (available: cifar10_hybrid.yaml, "),
        ("run recipe=", "recipe= names nothing"),
        ("run recipe=kwz", "unknown recipe 'kwz'; nearest: 'kws'"),
        ("run recipe=kws recipe=kws", "give recipe= once"),
        (
            "run recipe=kws training.epoch=3",
            "override training.epoch=3: unknown key 'epoch'; nearest: 'epochs'",
        ),
        ("run --epochs recipe=kws", "override '--epochs': no '=' in it"),
        ("run resume=runs/kws-1 seed=3", "resume=runs/kws-1 goes on with the run as it is: leave out seed=3"),
        ("run resume=runs/kws-1 search.epochs=3", "leave out search.epochs=3; only search.trials can grow"),
        ("run resume=runs/kws-1 search.trials=many", "search.trials=many: wanted: a whole number above 0"),
        ("run resume=runs/kws-1 out=x", "leave out out=x"),
        ("run resume=runs/kws-2", "unknown run folder 'runs/kws-2'; nearest: 'runs/kws-1'"),
        ("report", "no run folder given; write: gatesearch report runs/kws-1"),
        ("report runs", "runs: not a run folder: it holds no recipe.yaml"),
        ("report a b", "unexpected extra argument"),
        ("--nonsense", "No such option: --nonsense"),
        ("sites recipe=kws out=x", "override out=x: unknown key 'out'"),
    ],
)
def test_mistakes_of_the_user_give_an_error_of_one_line(
    words: str, line: str, run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert line in line_of(capsys, *words.split())


def test_commands_without_any_run_folder_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert "none under ./runs" in line_of(capsys, "report", "runs/kws-1")
    assert line_of(capsys, "report") == "no run folder given; write: gatesearch report RUN_DIR"


def with_run(error: BaseException) -> BaseException:
    error.resume_command = "gatesearch run resume=runs/kws-1"  # type: ignore[attr-defined]
    return error


def test_a_full_disk_gives_the_command_that_goes_on(calls: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    calls.trouble = with_run(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "runs/kws-1/trials.csv"))
    message = line_of(capsys, "run", "recipe=kws")
    assert message.startswith("disk full while writing runs/kws-1/trials.csv; free space; go on with: ")
    assert message.endswith("gatesearch run resume=runs/kws-1")
    calls.trouble = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert line_of(capsys, "run", "recipe=kws") == "disk full while writing the run folder; free space"


def test_an_interrupt_gives_the_command_that_goes_on(calls: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    calls.trouble = with_run(KeyboardInterrupt())
    message = line_of(capsys, "run", "recipe=kws", status=130)
    assert message == "interrupted; go on with: gatesearch run resume=runs/kws-1"
    calls.trouble = KeyboardInterrupt()
    assert line_of(capsys, "run", "recipe=kws", status=130) == "interrupted"


def test_an_exit_that_lightning_made_of_an_interrupt_counts_as_an_interrupt(
    calls: Calls, capsys: pytest.CaptureFixture[str]
) -> None:
    calls.trouble = with_run(SystemExit(1))
    calls.trouble.__context__ = KeyboardInterrupt()
    message = line_of(capsys, "run", "recipe=kws", status=130)
    assert message == "interrupted; go on with: gatesearch run resume=runs/kws-1"


def test_sigterm_is_an_interrupt(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("gatesearch.pipeline.run.start", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    assert line_of(capsys, "run", "recipe=kws", status=130) == "interrupted"
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("bug", [ValueError("bug"), OSError(errno.EACCES, "denied"), SystemExit(3)])
def test_bugs_keep_their_traceback(bug: BaseException, calls: Calls) -> None:
    calls.trouble = bug
    with pytest.raises(type(bug)):
        app.main(["run", "recipe=kws"])


def test_nothing_heavy_is_imported_for_help_or_a_recipe() -> None:
    code = (
        "import sys; from gatesearch import recipe; from gatesearch.cli import app;"
        "app.main(['--help']); recipe.load('kws.yaml');"
        "print('IMPORTED', *sorted({m.partition('.')[0] for m in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(re.findall(r"IMPORTED (.*)", done.stdout)[0].split())
    assert not loaded & {
        "torch",
        "numpy",
        "scipy",
        "optuna",
        "pytorch_lightning",
        "litert_torch",
        "matplotlib",
        "rich",
    }


def test_a_closed_output_pipe_is_not_an_error() -> None:
    line = f"{sys.executable} -m gatesearch.cli.app show recipe=kws | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("words", ["schema --write file", "schema --write file/in", "measure kit=file"])
def test_a_path_that_cannot_be_written_gives_an_error_of_one_line(
    words: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "file").write_text("mine")
    assert "file" in line_of(capsys, *words.split())
    assert (folder / "file").read_text() == "mine"


@pytest.mark.parametrize(
    "words",
    ["show recipe=\udcff", "run recipe=kws out=\udcff", "show recipe=kws title=\udcff", "verify \udcff", "\udcff"],
)
def test_arguments_that_are_not_utf_8_give_an_error_of_one_line(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "not UTF-8 text" in line_of(capsys, *words.split(" "))
