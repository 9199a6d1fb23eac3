from __future__ import annotations

import json
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path
from wsgiref.simple_server import WSGIServer

import pytest

from gatesearch import recipe
from gatesearch.cli import dashboard
from gatesearch.errors import UserError
from gatesearch.graph.sites import CutSite
from gatesearch.plan import GatePlan
from gatesearch.search import Evaluated, Objectives, SearchSettings, build_space, search


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    (tmp_path / "recipe.yaml").write_text(recipe.to_yaml(recipe.load("kws")))
    sites = (CutSite("input", (1, 6, 4), 0, 300, 0, 0, "input"), CutSite("stem", (4, 3, 2), 100, 200, 0, 0, "stem"))
    space = build_space(sites, cores=("mcu", "npu"), kinds={"gc": {"recall": [0.99]}}, max_gates=1)

    def evaluate(plan: GatePlan) -> Evaluated:
        return Evaluated(Objectives(0.9 - len(plan.gates) / 10, 10.0, 20.0), {})

    search(
        space,
        lambda _: {},
        evaluate,
        SearchSettings(journal=tmp_path / "study.journal", trials=3, proposals=20, seed=0),
    )
    return tmp_path


def test_shows_the_study_on_loopback_and_changes_nothing(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("optuna_dashboard", reason="the extra dashboard")
    servers: list[WSGIServer] = []
    ready = threading.Event()

    def began(server: WSGIServer) -> None:
        servers.append(server)
        ready.set()

    serving = threading.Thread(target=dashboard.serve, args=(run_dir, 0, began))
    serving.start()
    try:
        assert ready.wait(30)
        assert servers[0].server_address[0] == "127.0.0.1"
        url = f"http://127.0.0.1:{servers[0].server_port}"
        assert f"{url}/" in capsys.readouterr().out
        with urllib.request.urlopen(f"{url}/api/studies") as answer:
            (study,) = json.loads(answer.read())["study_summaries"]
        assert study["study_name"] == "gatesearch"
        with urllib.request.urlopen(f"{url}/api/studies/{study['study_id']}") as answer:
            trials = json.loads(answer.read())["trials"]
        assert [t["values"] for t in trials if t["state"] == "Complete"] and len(trials) >= 3
        before = (run_dir / "study.journal").read_bytes()
        deletion = urllib.request.Request(f"{url}/api/studies/{study['study_id']}", method="DELETE")
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(deletion)
        assert error.value.code == 405 and (run_dir / "study.journal").read_bytes() == before
        with pytest.raises(UserError, match=r"^dashboard: port=\d+: address already in use$"):
            dashboard.serve(run_dir, servers[0].server_port)
    finally:
        servers[0].shutdown()
        serving.join()


def test_before_the_first_trial(run_dir: Path) -> None:
    pytest.importorskip("optuna_dashboard", reason="the extra dashboard")
    (run_dir / "study.journal").unlink()
    with pytest.raises(UserError, match="its search has no trial yet"):
        dashboard.serve(run_dir)


def test_without_the_extra(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)
    with pytest.raises(UserError, match=r"pip install 'gatesearch\[dashboard\]'$"):
        dashboard.serve(run_dir)
