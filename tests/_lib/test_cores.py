"""Tests of the number of usable cores, and of the warning and the waiting threads on a busy machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatesearch._lib.cores import WAIT_SETTINGS, available_cores, choose_wait_policy, describe_load


def machine(folder: Path, membership: str, files: dict[str, str]) -> tuple[Path, Path]:
    """Write the files of Linux's control groups; return their folder and the file that names the process's group.

    ``files`` holds the text of each file by its path within the folder.
    """
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "membership").write_text(membership)
    return folder, folder / "membership"


@given(cores=st.integers(1, 64), quota=st.floats(0.1, 80), deep=st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("version", [1, 2])
def test_a_quota_limits_the_cores_rounded_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int, cores: int, quota: float, deep: bool
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    path = "/jobs/own" if deep else "/"
    micros = round(quota * 100_000)
    if version == 2:
        own = machine(
            tmp_path / "two", f"0::{path}\n", {"jobs/own/cpu.max": "max 100000", "cpu.max": f"{micros} 100000"}
        )
    else:
        files = {"cpu/cpu.cfs_quota_us": str(micros), "cpu/cpu.cfs_period_us": "100000", "cpu/jobs/own/x": ""}
        own = machine(tmp_path / "one", f"5:memory:/\n4:cpu,cpuacct:{path}\n", files)
    assert available_cores(*own) == min(cores, max(1, -(-micros // 100_000)))


@pytest.mark.parametrize("text", ["max 100000", "", "broken"])
def test_without_a_quota_the_affinity_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5})
    assert available_cores(*machine(tmp_path, "0::/\n", {"cpu.max": text})) == 3
    assert available_cores(tmp_path / "none", tmp_path / "none") == 3


def test_a_busy_machine_gives_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(os, "getloadavg", lambda: (2.0, 0.0, 0.0))
    assert describe_load(4) is None
    monkeypatch.setattr(os, "getloadavg", lambda: (12.0, 0.0, 0.0))
    line = describe_load(4)
    assert line is not None and line.startswith(
        "the machine is busy: 12 threads run or wait on 4 cores, and this run adds 4"
    )


@pytest.mark.parametrize(
    ("load", "variables", "torch_is_imported", "policy"),
    [
        (0.2, {}, False, None),
        (1.0, {}, False, "PASSIVE"),
        (1.0, {"OMP_WAIT_POLICY": "ACTIVE"}, False, "ACTIVE"),
        (1.0, {"GOMP_SPINCOUNT": "100"}, False, None),
        (1.0, {}, True, None),
    ],
)
def test_threads_sleep_while_they_wait_if_others_use_the_cores(
    monkeypatch: pytest.MonkeyPatch, load: float, variables: dict[str, str], torch_is_imported: bool, policy: str | None
) -> None:
    for name in WAIT_SETTINGS:
        monkeypatch.setenv(name, "")  # so that the test ends with the value from before
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(sys.modules, "torch", sys)
    if not torch_is_imported:
        monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4)))
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    choose_wait_policy()
    assert os.environ.get("OMP_WAIT_POLICY") == policy
