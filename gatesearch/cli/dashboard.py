"""Serves optuna-dashboard for the search of a run folder, read-only and for this user alone."""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Callable, Iterable
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from urllib.parse import parse_qsl, quote
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from gatesearch._lib import console
from gatesearch._lib.plugins import need
from gatesearch.errors import UserError
from gatesearch.pipeline.results_check import read_trials
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.pipeline.study import Study
from gatesearch.recipe import load_run
from gatesearch.search import storage
from gatesearch.search.storage.place import show_place

HOST = "127.0.0.1"
HOST_NAMES = (HOST, "localhost")
HTTP_PORT = 80  # the port that browsers leave out of the Host header
TOKEN_KEY = "token"
TOKEN_BYTES = 16
READING_METHODS = ("GET", "HEAD")

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def serve(
    folder: Path, port: int = 0, ready: Callable[[WSGIServer], None] | None = None, *, trust: bool = False
) -> None:
    """Serve the dashboard of a search until Ctrl-C; the search may still be running.

    Args:
        folder: the run folder.
        port: the port to listen on; 0 for any free port.
        ready: function that is called with the server before the server answers requests.
        trust: whether to read the storage that the folder's recipe names even if another user made the folder.

    Raises:
        UserError: optuna-dashboard is not installed, the port is in use, or the search has no trial yet.
    """
    need("dashboard", "optuna_dashboard")
    from optuna_dashboard import wsgi

    recipe, run = load_run(folder, trust=trust), RunFolder(folder)
    study = Study.find(recipe, run)
    if not read_trials(recipe, run).trials:
        raise UserError(f"{folder}: its search has no trial yet")
    logging.getLogger("optuna").setLevel(logging.ERROR)
    from gatesearch.cli.dashboard_constraints import feasible_front, list_constraints

    app = refuse_changes(wsgi(list_constraints(storage.open_storage(study.place))))
    token = secrets.token_urlsafe(TOKEN_BYTES)
    try:
        server = make_server(HOST, port, app, server_class=_Threads, handler_class=_Silent)
    except OSError as error:
        raise UserError(f"dashboard: port={port}: {(error.strerror or str(error)).lower()}") from None
    server.set_app(require_token(app, server.server_port, token))
    with server, feasible_front():
        address = f"http://{HOST}:{server.server_port}/?{TOKEN_KEY}={token}"
        console.say(f"dashboard of {study.name} in {show_place(study.place)}: {address}")
        console.say("Ctrl-C ends it")
        if ready is not None:
            ready(server)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            console.say()


def refuse_changes(app: App) -> App:
    """Return an app that answers read requests and refuses all others, because only the search writes trials."""

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in READING_METHODS:
            return app(environ, start_response)
        start_response(
            "405 Method Not Allowed", [("Content-Type", "application/json"), ("Allow", ", ".join(READING_METHODS))]
        )
        return [b'{"reason": "gatesearch dashboard only shows; to change a study: optuna-dashboard STORAGE"}']

    return answer


def require_token(app: App, port: int, token: str) -> App:
    """Return an app that answers only the browser of the user who started the server.

    Two kinds of requests are refused. First, a foreign web page can let its own host name resolve to 127.0.0.1 (DNS
    rebinding), and make the user's browser send requests to this server. The Host header of such a request holds the
    foreign name. Second, other users of this machine can connect to the port, but they do not have the token. The token
    is a part of the printed address, and the browser stores it in a cookie.

    Args:
        app: the application that answers.
        port: the port on which the server listens.
        token: the secret of this server.
    """
    hosts = {f"{name}:{port}" for name in HOST_NAMES} | (set(HOST_NAMES) if port == HTTP_PORT else set())
    cookie = f"gatesearch_{port}"  # a browser sends a host's cookies to all ports of the host

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ.get("HTTP_HOST", "").lower() not in hosts:
            return _refuse(start_response, f"this dashboard answers http://{HOST}:{port} alone")
        if _equals(_cookies(environ).get(cookie), token):
            return app(environ, start_response)
        if _equals(dict(parse_qsl(environ.get("QUERY_STRING", ""))).get(TOKEN_KEY), token):
            path = "/" + environ.get("PATH_INFO", "/").lstrip("/")
            value = f"{cookie}={token}; Path=/; HttpOnly; SameSite=Strict"
            start_response("303 See Other", [("Location", quote(path)), ("Set-Cookie", value)])
            return []
        return _refuse(start_response, "open the address with the token that gatesearch dashboard printed")

    return answer


def _refuse(start_response: Callable[..., Any], reason: str) -> Iterable[bytes]:
    start_response("403 Forbidden", [("Content-Type", "application/json")])
    return [json.dumps({"reason": reason}).encode()]


def _cookies(environ: dict[str, Any]) -> dict[str, str]:
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(environ.get("HTTP_COOKIE", "")).items()}
    except CookieError:
        return {}


def _equals(value: str | None, token: str) -> bool:
    """Compare in constant time, so that the time says nothing about the token."""
    return value is not None and secrets.compare_digest(value.encode(), token.encode())


class _Threads(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Silent(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass
