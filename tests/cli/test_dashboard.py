"""Tests of the dashboard: it changes no study, and answers only local requests with its token."""

from __future__ import annotations

import json
import re
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path
from wsgiref.simple_server import WSGIServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
        [address] = re.findall(rf"{url}/\?token=[\w-]+", capsys.readouterr().out)
        for stranger in (f"{url}/api/studies", f"{url}/?token=guess", f"{address}x"):
            with pytest.raises(urllib.error.HTTPError, match="403"):
                urllib.request.urlopen(stranger)
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        with browser.open(address) as answer:
            assert answer.status == 200 and "token" not in answer.url
        foreign = urllib.request.Request(f"{url}/api/studies", headers={"Host": "attacker.example"})
        with pytest.raises(urllib.error.HTTPError, match="403"):
            browser.open(foreign)
        with browser.open(f"{url}/api/studies") as answer:
            (study,) = json.loads(answer.read())["study_summaries"]
        assert study["study_name"] == "gatesearch"
        with browser.open(f"{url}/api/studies/{study['study_id']}") as answer:
            shown = json.loads(answer.read())
            trials = shown["trials"]
        assert [t["values"] for t in trials if t["state"] == "Complete"] and len(trials) >= 3
        before = (run_dir / "study.journal").read_bytes()
        deletion = urllib.request.Request(f"{url}/api/studies/{study['study_id']}", method="DELETE")
        with pytest.raises(urllib.error.HTTPError) as error:
            browser.open(deletion)
        assert error.value.code == 405 and (run_dir / "study.journal").read_bytes() == before
        with pytest.raises(UserError, match=r"^dashboard: port=\d+: address already in use$"):
            dashboard.serve(run_dir, servers[0].server_port)
    finally:
        servers[0].shutdown()
        serving.join()


def ask(host: str | None, cookie: str = "", query: str = "", method: str = "GET", port: int = 8080) -> tuple[str, str]:
    """Return the status of the answer to a request, and its Location header."""
    answers: list[tuple[str, dict[str, str]]] = []
    app = dashboard.require_token(lambda environ, start: start("200 OK", []) or [b""], port, "secret")
    environ = {"REQUEST_METHOD": method, "PATH_INFO": "//evil.example/x", "QUERY_STRING": query, "HTTP_COOKIE": cookie}
    environ |= {} if host is None else {"HTTP_HOST": host}
    app(environ, lambda status, headers: answers.append((status, dict(headers))))
    [(status, headers)] = answers
    return status[:3], headers.get("Location", "")


@given(st.text(), st.text(), st.text())
def test_requests_for_other_hosts_or_without_the_token_are_refused(host: str, cookie: str, query: str) -> None:
    assert ask(host, "gatesearch_8080=secret", "token=secret")[0] == "403"
    assert ask("127.0.0.1:8080", cookie, query)[0] == "403"


def test_requests_to_localhost_and_to_its_address_are_answered() -> None:
    for host in ("127.0.0.1:8080", "localhost:8080", "LOCALHOST:8080"):
        assert ask(host, "gatesearch_8080=secret")[0] == "200"
        assert ask(host, query="token=secret") == ("303", "/evil.example/x")
    for host in ("127.0.0.1", "127.0.0.1:81", "127.0.0.1:8080.evil.example", None):
        assert ask(host, "gatesearch_8080=secret")[0] == "403"
    assert ask("127.0.0.1", "gatesearch_80=secret", port=80)[0] == "200"


def test_the_dashboard_needs_a_first_trial(run_dir: Path) -> None:
    pytest.importorskip("optuna_dashboard", reason="the extra dashboard")
    (run_dir / "study.journal").unlink()
    with pytest.raises(UserError, match="its search has no trial yet"):
        dashboard.serve(run_dir)


def test_without_the_extra_the_error_names_it(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)
    with pytest.raises(UserError, match=r"pip install 'gatesearch\[dashboard\]'$"):
        dashboard.serve(run_dir)
