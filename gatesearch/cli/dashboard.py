"""optuna-dashboard on the search of a run folder: for this machine alone, and read-only."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from gatesearch._lib import console
from gatesearch._lib.plugins import need
from gatesearch.errors import UserError
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.pipeline.study import Study
from gatesearch.recipe import load_run
from gatesearch.search import storage
from gatesearch.search.storage.place import show_place

HOST = "127.0.0.1"
READING_METHODS = ("GET", "HEAD")

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def serve(
    folder: Path, port: int = 0, ready: Callable[[WSGIServer], None] | None = None, *, trust: bool = False
) -> None:
    """Show a search, also while it goes on, until Ctrl-C.

    Args:
        folder: the run folder.
        port: to listen on; 0 for one that is free.
        ready: called with the server before it begins to serve.
        trust: read the storage that the folder's recipe names, wherever the folder was made.

    Raises:
        UserError: optuna-dashboard is not installed, the port is taken, or no search has begun.
    """
    need("dashboard", "optuna_dashboard")
    from optuna_dashboard import wsgi

    study = Study.find(load_run(folder, trust=trust), RunFolder(folder))
    if not study.read().trials:
        raise UserError(f"{folder}: its search has no trial yet")
    logging.getLogger("optuna").setLevel(logging.ERROR)
    app = refuse_changes(wsgi(storage.open_storage(study.place)))
    try:
        server = make_server(HOST, port, app, server_class=_Threads, handler_class=_Silent)
    except OSError as error:
        raise UserError(f"dashboard: port={port}: {(error.strerror or str(error)).lower()}") from None
    with server:
        console.say(f"dashboard of {study.name} in {show_place(study.place)}: http://{HOST}:{server.server_port}/")
        console.say("Ctrl-C ends it")
        if ready is not None:
            ready(server)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            console.say()


def refuse_changes(app: App) -> App:
    """Return an app that answers requests that read, and refuses all others: only the search writes trials."""

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in READING_METHODS:
            return app(environ, start_response)
        start_response(
            "405 Method Not Allowed", [("Content-Type", "application/json"), ("Allow", ", ".join(READING_METHODS))]
        )
        return [b'{"reason": "gatesearch dashboard only shows; to change a study: optuna-dashboard STORAGE"}']

    return answer


class _Threads(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Silent(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass
