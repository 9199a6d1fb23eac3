"""Tests of searches on Ray Tune: a dying node, the addresses that Ray opens, warnings, and errors without Ray."""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from gatesearch._lib import console
from gatesearch.errors import UserError
from gatesearch.recipe.schema import Executor
from gatesearch.search import SearchSettings, engine
from gatesearch.search.executors import build
from gatesearch.search.sampler import choice
from tests.search.quick import Doubtful, price, try_plan
from tests.search.small_spaces import small

HERE = Path(__file__).parent
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra ray")


@needs_ray
@pytest.mark.slow
def test_a_search_loses_no_trial_when_a_node_dies(tmp_path: Path) -> None:
    trials = 12
    token = tmp_path / "token"
    token.write_text(secrets.token_hex(32))
    token.chmod(0o600)
    authentication = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}  # read when Ray is imported
    environment = os.environ | {"PYTHONPATH": str(HERE.parents[2])} | authentication
    process = subprocess.run(
        [sys.executable, str(HERE / "on_cluster.py"), str(tmp_path), str(trials), "5"],
        capture_output=True,
        text=True,
        timeout=240,
        env=environment,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    report = json.loads(process.stdout.splitlines()[-1])
    assert report["killed"] == 1
    # Every trial finished exactly once, in the study and on the workers.
    result = engine.read(tmp_path / "study.journal")
    assert [trial.plan.digest for trial in result.complete] == report["complete"]
    finished = Counter((tmp_path / "ended").read_text().split())
    assert len(set(report["complete"])) == trials and finished == Counter(report["complete"])
    starts = [line.split() for line in (tmp_path / "began").read_text().splitlines()]
    assert len({node for _, node in starts}) >= 2, "both nodes had work"
    assert set(digest for digest, _ in starts) == set(finished) and trials < len(starts) <= trials + 2
    assert "pruned" not in report["states"]


@needs_ray
@pytest.mark.slow
def test_a_ray_that_gatesearch_starts_listens_on_loopback_only() -> None:
    script = """
import ray, psutil  # Ray brings it
from gatesearch.search.executors.tune import connect
connect(None, cpus=1)
@ray.remote
def work():
    return 1
assert ray.get(work.remote()) == 1
me = psutil.Process()
for process in [me, *me.children(recursive=True)]:
    for connection in process.net_connections(kind="inet"):
        if connection.status == "LISTEN":
            print(connection.laddr.ip)
ray.shutdown()
"""
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=240, check=False)
    assert process.returncode == 0, process.stderr[-3000:]
    addresses = process.stdout.split()
    assert len(addresses) >= 4 and set(addresses) <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}, addresses


@needs_ray
@pytest.mark.slow
def test_warnings_of_actors_are_stored_by_the_driver(tmp_path: Path) -> None:
    from gatesearch.search.executors.tune import RayTune

    settings = SearchSettings(
        journal=tmp_path / "study.journal",
        trials=3,
        proposals=40,
        seed=0,
        sampler=choice.build_optuna_sampler("random", 0),
    )
    with console.collect_warnings() as stored:
        executor = RayTune(Doubtful(), tmp_path / "ray", workers=1)
        result = engine.search(small(), price, Doubtful(), settings, executor)
    tried = [trial.plan.digest for trial in result.trials if trial.state in ("complete", "failed")]
    assert {"tables are cold", *(f"plan {digest} is doubtful" for digest in tried)} <= set(stored)


def test_without_ray_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in sys.modules if name == "ray" or name.startswith("ray.")]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("gatesearch.search.executors.ray_searcher", "gatesearch.search.executors.tune"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(
        UserError, match=r"^search.executor: needs ray of the extra 'ray': pip install 'gatesearch\[ray\]'$"
    ):
        build(Executor(name="ray"), try_plan, tmp_path)
    build(Executor(workers=3), try_plan, tmp_path)
    assert not any(name.startswith("ray.") for name in sys.modules)
