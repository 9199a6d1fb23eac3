"""Tests of the storage of a search: full disks, two drivers, broken journals, and databases.

A driver is a process that runs a search and writes its trials to the journal.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatesearch._lib.console import collect_warnings
from gatesearch.errors import UserError
from gatesearch.plan import GatePlan
from gatesearch.search import SearchResult, SearchSettings, engine, search, storage
from gatesearch.search.sampler.gate_sampler import DIRECTIONS
from tests.search.quick import price, try_plan
from tests.search.small_spaces import small


def run(where: Path | str, evaluate: Any = try_plan, **changes: Any) -> SearchResult:
    defaults: dict[str, Any] = {"trials": 15, "proposals": 60, "seed": 3}
    return search(small(), price, evaluate, SearchSettings(journal=where, **{**defaults, **changes}))


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> SearchResult:
    return run(tmp_path_factory.mktemp("unbroken") / "study.journal")


def test_each_trial_is_one_entry_of_the_journal(tmp_path: Path, unbroken: SearchResult) -> None:
    run(tmp_path / "study.journal")
    entries = [json.loads(line) for line in (tmp_path / "study.journal").read_text().splitlines()]
    assert len(entries) == 2 + len(unbroken.trials)  # two entries for the study and the names of its objectives
    assert [entry["user_attrs"]["state"] for entry in entries[2:]] == [trial.state for trial in unbroken.trials]
    assert not list(tmp_path.glob("*.lock"))


@pytest.mark.parametrize("limit", [0, 1000, 5000, 12345])
def test_a_full_disk_loses_nothing(limit: int, tmp_path: Path, unbroken: SearchResult) -> None:
    journal = tmp_path / "study.journal"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(OSError) as error:
            run(journal)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert error.value.errno == errno.EFBIG and error.value.filename == str(journal)
    assert journal.read_bytes()[-1:] in (b"", b"\n") and not list(tmp_path.glob("*.lock"))
    stored = engine.read(journal)
    assert stored.trials == unbroken.trials[: len(stored.trials)] and (len(stored.trials) > 0) == (limit > 1000)
    assert run(journal) == unbroken


def test_a_second_driver_is_refused_and_a_reader_is_not(tmp_path: Path, unbroken: SearchResult) -> None:
    journal, at_work, go_on = tmp_path / "study.journal", threading.Event(), threading.Event()

    def slow(plan: GatePlan) -> Any:
        at_work.set()
        assert go_on.wait(60)
        return try_plan(plan)

    first: list[SearchResult] = []
    driver = threading.Thread(target=lambda: first.append(run(journal, slow)))
    driver.start()
    try:
        assert at_work.wait(60)
        with pytest.raises(UserError) as error:
            run(journal)
        assert str(error.value) == (
            f"{journal}: another process is searching here; let it end, or stop it: nothing is lost"
        )
        assert engine.read(journal).complete == ()
    finally:
        go_on.set()
        driver.join()
    assert first == [unbroken] and run(journal) == unbroken


@pytest.mark.parametrize("line", ["not JSON", '{"op_code":6', "[1, 2]", '{"op":"foreign"}'])
def test_a_broken_line_of_a_journal_is_named(line: str, tmp_path: Path) -> None:
    journal = tmp_path / "study.journal"
    run(journal)
    lines = journal.read_text().splitlines()
    journal.write_text("\n".join([*lines[:4], line, *lines[4:]]) + "\n")
    for go in (run, engine.read):
        with pytest.raises(UserError) as error:
            go(journal)
        assert str(error.value) == (
            f"{journal}: line 5: no entry of an Optuna journal; delete the line (its trial is then tried again), "
            f"or delete the file (the search then starts again)"
        )


@settings(max_examples=25, deadline=None)
@given(cut_bytes=st.integers(1, 3000), filler=st.sampled_from([b"", b"\0" * 64, b'{"op_code":6,"wor', b"\xff\xfe"]))
def test_a_torn_end_of_a_journal_is_repaired_with_a_warning(
    cut_bytes: int, filler: bytes, tmp_path_factory: pytest.TempPathFactory, unbroken: SearchResult
) -> None:
    journal = tmp_path_factory.mktemp("torn") / "study.journal"
    run(journal)
    whole = journal.read_bytes()
    cut_bytes = min(cut_bytes, len(whole) - 1)
    journal.write_bytes(whole[: len(whole) - cut_bytes] + filler)
    stored = engine.read(journal).trials
    assert stored == unbroken.trials[: len(stored)]
    with collect_warnings() as warnings:
        assert run(journal) == unbroken
    is_cut_off = bool(filler) or (cut_bytes > 1 and not whole[: len(whole) - cut_bytes].endswith(b"\n"))
    assert len(warnings) == is_cut_off and all("its last line was cut off" in line for line in warnings)


def test_a_search_on_sqlite_resumes_to_the_same_result(tmp_path: Path, unbroken: SearchResult) -> None:
    url = f"sqlite:///{tmp_path}/studies.db"
    assert run(url, trials=4, study="a").trials == unbroken.trials[: len(run(url, trials=4, study="a").trials)]
    assert run(url, study="a") == engine.read(url, "a") == unbroken
    assert engine.read(url, "b").trials == ()
    assert run(url, study="b", seed=4) != unbroken
    study = optuna.load_study(study_name="a", storage=url)
    assert study.metric_names == ["accuracy", "latency_us", "energy_uj"] and len(study.trials) == len(unbroken.trials)
    with (
        storage.open_driven_study(url, DIRECTIONS, ("x", "y", "z"), "a"),
        pytest.raises(UserError, match="study a: another process is searching here"),
    ):
        run(url, study="a")


def test_a_missing_database_gives_an_error_of_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^storage=sqlite:////nowhere/x\.db: .*unable to open database file") as error:
        engine.read("sqlite:////nowhere/x.db")
    assert len(str(error.value).splitlines()) == 1


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Start a PostgreSQL server that listens on a socket in ``tmp_path``, and yield its URL."""
    pytest.importorskip("psycopg", reason="the driver of the extra postgresql")
    tools = {name: shutil.which(name) or _installed(name) for name in ("initdb", "pg_ctl")}
    if not all(tools.values()):
        pytest.skip("no PostgreSQL server is installed")
    shutil.chown(tmp_path, "nobody") if os.getuid() == 0 else None
    for parent in tmp_path.parents[:3]:
        parent.chmod(0o755)
    data, unpriviledged = tmp_path / "data", {"user": "nobody"} if os.getuid() == 0 else {}

    def do(*words: object) -> None:
        subprocess.run([str(w) for w in words], check=True, capture_output=True, cwd=tmp_path, **unpriviledged)

    do(tools["initdb"], "-D", data, "-U", "tester", "-A", "trust", "--no-sync")
    options = f"-k {tmp_path} -c listen_addresses='' -c fsync=off"
    do(tools["pg_ctl"], "-D", data, "-o", options, "-l", tmp_path / "log", "-w", "start")
    yield f"postgresql://tester@/postgres?host={tmp_path}"
    do(tools["pg_ctl"], "-D", data, "-m", "immediate", "stop")


def _installed(name: str) -> str | None:
    return next((str(path) for path in sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))), None)


@pytest.mark.slow
def test_a_search_on_postgresql_resumes_to_the_same_result(server: str, unbroken: SearchResult) -> None:
    run(server, trials=4)
    assert run(server) == engine.read(server) == unbroken
    with (
        storage.open_driven_study(server, DIRECTIONS, ("x", "y", "z")),
        pytest.raises(UserError, match="study gatesearch: another process is searching here"),
    ):
        run(server)
    assert run(server) == unbroken
