"""Searches on Ray Tune: a cluster that loses one of its two nodes, and GateSearcher under a scheduler of Tune."""

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

from gatesearch.errors import UserError
from gatesearch.recipe.schema import Executor
from gatesearch.search import engine
from gatesearch.search.executors import build
from tests.search.quick import try_plan

HERE = Path(__file__).parent
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra ray")


@needs_ray
@pytest.mark.slow
def test_a_node_that_dies_in_mid_run(tmp_path: Path) -> None:
    trials = 12
    token = tmp_path / "token"
    token.write_text(secrets.token_hex(32))
    token.chmod(0o600)
    authentication = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}  # read when Ray is imported
    environment = os.environ | {"PYTHONPATH": str(HERE.parents[2])} | authentication
    ran = subprocess.run(
        [sys.executable, str(HERE / "on_cluster.py"), str(tmp_path), str(trials), "5"],
        capture_output=True,
        text=True,
        timeout=240,
        env=environment,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    message = json.loads(ran.stdout.splitlines()[-1])
    assert message["killed"] == 1
    # Every trial ended, none twice: neither in the study nor on the workers.
    kept = engine.read(tmp_path / "study.journal")
    assert [trial.plan.digest for trial in kept.complete] == message["complete"]
    ended = Counter((tmp_path / "ended").read_text().split())
    assert len(set(message["complete"])) == trials and ended == Counter(message["complete"])
    began = [line.split() for line in (tmp_path / "began").read_text().splitlines()]
    assert len({node for _, node in began}) >= 2, "both nodes had work"
    assert set(digest for digest, _ in began) == set(ended) and trials < len(began) <= trials + 2
    assert "pruned" not in message["states"]


@needs_ray
@pytest.mark.slow
def test_a_ray_that_we_start_listens_on_loopback_alone() -> None:
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
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=240, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    addresses = ran.stdout.split()
    assert len(addresses) >= 4 and set(addresses) <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}, addresses


def test_without_ray(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
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
