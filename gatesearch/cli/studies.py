"""The commands ``scaling`` (batch-size study), ``dashboard`` (of a search) and ``bench`` (benchmarks)."""

from __future__ import annotations

from typing import Annotated

import typer

from gatesearch.cli.arguments import RunFolder, Settings, find_run_folder, load_recipe, take, take_trust
from gatesearch.errors import UserError, unknown

_MAX_PORT = 65535


def scaling(settings: Settings = None) -> None:
    """Count the steps that a training needs at each batch size.

    batches=8..4096, trials=, pilot=, seeds=, goal=, epochs=, cap=, ghost= and micro= set up the study. All other keys
    change the recipe.
    """
    from gatesearch.batch_study.settings import split_words

    words = list(settings or [])
    study, overrides = split_words(words)
    recipe = load_recipe("scaling", overrides)
    from gatesearch.batch_study import command

    command.run(recipe, study, words)


def dashboard(
    folder: RunFolder = "",
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="[port=N trust=true]", help="Port to listen on, and whether to trust the run folder."),
    ] = None,
) -> None:
    """Show a search in the browser, even while it runs."""
    words = list(settings or [])
    trust = take_trust(words)
    port = take(words, "port") or "0"
    if words:
        raise unknown("dashboard", "argument", words[0], ["port=N", "trust=true"])
    if not port.isdigit() or int(port) > _MAX_PORT:
        raise UserError(f"dashboard: port={port}: not a port, which is a number up to {_MAX_PORT}")
    path = find_run_folder("dashboard ", folder)
    from gatesearch.cli.dashboard import serve

    serve(path, int(port), trust=trust)


def bench(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Which benchmark.", show_default=False)] = "",
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[ARGUMENT]...", help="Arguments of the benchmark, as key=value.")
    ] = None,
) -> None:
    """Run a benchmark of a checkout.

    The benchmark writes results/NAME/README.md and rows.json. bench NAME --help lists its keys.
    """
    from gatesearch.cli.checkout import run_benchmark

    run_benchmark(name, list(arguments or []))
