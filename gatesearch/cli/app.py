"""The command line: ``gatesearch run recipe=kws.yaml``, each step alone, and errors of one line.

Whatever is heavy is imported by the command that needs it, so that help and a bad recipe answer at once.
"""

from __future__ import annotations

import errno
import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from gatesearch._lib.version import __version__
from gatesearch.errors import UserError, unknown

if TYPE_CHECKING:
    from gatesearch.recipe import Recipe


class _Commands(TyperGroup):
    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        if args[0] not in self.commands:
            raise unknown("command line", "command", args[0], self.commands)
        return super().resolve_command(ctx, args)


# An unknown option is read as a key=value, whose error says what to write instead.
_SETTINGS = {"ignore_unknown_options": True, "help_option_names": ["-h", "--help"]}
_FULL = {errno.ENOSPC: "disk full", errno.EDQUOT: "disk quota used up", errno.EFBIG: "file size limit reached"}

app = typer.Typer(
    cls=_Commands,
    add_completion=False,
    rich_markup_mode=None,  # rich's help takes longer to import than all else together
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Find where the gates go: data, a backbone and a device in, a gated network cut over its cores out.",
    epilog="Start with: gatesearch run recipe=kws.yaml",
)

Settings = Annotated[
    list[str] | None,
    typer.Argument(metavar="recipe=NAME key=value", help="A recipe and what to change in it.", show_default=False),
]
RunFolder = Annotated[
    str, typer.Argument(metavar="RUN_DIR", help="A run folder, such as runs/kws-1.", show_default=False)
]


@app.callback(invoke_without_command=True)
def _root(
    ctx: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        print(f"gatesearch {__version__}")
    elif ctx.invoked_subcommand is None:
        print(ctx.get_help())


@app.command(context_settings=_SETTINGS)
def run(settings: Settings = None) -> None:
    """Do everything, from data to report.

    out=DIR names the run folder, else runs/RECIPE-N; resume=RUN_DIR alone goes on with a stopped run.
    """
    written = list(settings or [])
    resume, out = _pop(written, "resume"), _pop(written, "out")
    if resume is None:
        recipe = _recipe("run", written)
        from gatesearch.pipeline import run as pipeline

        pipeline.run(recipe, Path(out) if out else None, None)
        return
    if written or out:
        raise UserError(f"resume={resume} goes on with the run as it is: leave out {' '.join(written) or f'out={out}'}")
    folder = _run_folder("run resume=", resume)
    from gatesearch.pipeline import run as pipeline
    from gatesearch.recipe import load

    pipeline.run(load(folder / "recipe.yaml"), None, folder)


@app.command(context_settings=_SETTINGS)
def show(settings: Settings = None) -> None:
    """Print the recipe, overrides and search space in place."""
    from gatesearch.recipe import to_yaml

    written = list(settings or [])
    recipe = _recipe("show", written)
    print(f"# gatesearch run {' '.join(shlex.join(written).split())}\n{to_yaml(recipe)}", end="")


@app.command(context_settings=_SETTINGS)
def sites(settings: Settings = None) -> None:
    """Print where gates can go in the recipe's backbone."""
    recipe = _recipe("sites", list(settings or []))
    from gatesearch.cli import tables

    tables.sites(recipe)


@app.command(context_settings=_SETTINGS)
def measure(settings: Settings = None) -> None:
    """Fill the latency tables of the recipe's device and print them; core=NAME for one core alone.

    Or those of cores that are not this machine: kit=DIR writes a folder to take to a board (recipe= adds its layers),
    import=FILE takes in what was printed there (name=, kit=, clock_mhz=, device= and core= say how), board=NAME counts
    the instructions of an emulated one.
    """
    written = list(settings or [])
    taken = {key: _pop(written, key) for key in ("import", "kit", "board")}
    if any(taken.values()):
        _measure_board(written, taken)
        return
    core = _pop(written, "core")
    recipe = _recipe("measure", written)
    from gatesearch.cli import tables

    tables.measure(recipe, core)


def _measure_board(written: list[str], taken: dict[str, str | None]) -> None:
    source, kit, board = taken["import"], taken["kit"], taken["board"]
    from gatesearch.cli import measure

    if source is not None:
        keys = ("name", "device", "core", "clock_mhz")
        name, device, core, clock = (_pop(written, key) for key in keys)
        _nothing_else(written, [*keys, "kit"])
        folder = Path(kit) if kit else None
        measure.take_in(
            Path(source), name or "my_core", folder, device or "host", core, None if clock is None else _positive(clock)
        )
    elif kit is not None:
        recipe = _recipe("measure", written) if any(word.startswith("recipe=") for word in written) else None
        if recipe is None:
            _nothing_else(written, ["recipe"])
        measure.write_kit(Path(kit), recipe)
    elif board is not None:
        _nothing_else(written, [])
        measure.count_board(board)


def _nothing_else(written: Sequence[str], keys: Sequence[str]) -> None:
    for word in written:
        raise unknown("measure", "key", word.partition("=")[0], keys)


def _positive(written: str) -> float:
    try:
        value = float(written)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise UserError(f"clock_mhz={written}: a number above 0")
    return value


@app.command(context_settings=_SETTINGS)
def scaling(settings: Settings = None) -> None:
    """Study how many steps the recipe's training takes at each batch size.

    batches=8..4096, trials=, pilot=, seeds=, goal=, epochs=, cap=, ghost= and micro= say how; all else is the recipe's.
    """
    from gatesearch.batch_study.settings import parted

    written = list(settings or [])
    chosen, overrides = parted(written)
    recipe = _recipe("scaling", overrides)
    from gatesearch.batch_study import command

    command.run(recipe, chosen, written)


def _step(name: str, text: str) -> None:
    """Add a command that does one step of the pipeline on a run folder."""

    def step(folder: RunFolder = "") -> None:
        found = _run_folder(f"{name} ", folder)
        from gatesearch.pipeline import run as pipeline

        getattr(pipeline, name)(found)

    app.command(name, help=text, context_settings=_SETTINGS)(step)


_step("search", "Search for plans; goes on with a search begun.")
_step("retrain", "Train the picked plan, calibrate its thresholds.")
_step("export", "Cut the model into stages, an artifact for each core.")
_step("verify", "Compare every artifact with the model.")
_step("report", "Write report.html and summary.json.")


@app.command(context_settings=_SETTINGS)
def dashboard(
    folder: RunFolder = "",
    settings: Annotated[list[str] | None, typer.Argument(metavar="[port=N]", help="Where to listen.")] = None,
) -> None:
    """Show a search in the browser, also while it goes on."""
    written = list(settings or [])
    port = _pop(written, "port") or "0"
    if written:
        raise unknown("dashboard", "argument", written[0], ["port=N"])
    if not port.isdigit() or int(port) > 65535:
        raise UserError(f"dashboard: port={port}: not a port, which is a number up to 65535")
    found = _run_folder("dashboard ", folder)
    from gatesearch.cli import dashboard as served

    served.serve(found, int(port))


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def bench(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Which benchmark.", show_default=False)] = "",
    arguments: Annotated[list[str] | None, typer.Argument(metavar="[ARGUMENT]...", help="What it takes.")] = None,
) -> None:
    """Run a benchmark of a checkout; writes results/NAME/README.md and rows.json. NAME --help lists its keys."""
    from gatesearch.cli.checkout import run_benchmark

    run_benchmark(name, list(arguments or []))


@app.command(context_settings=_SETTINGS)
def devices(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="A device to show.", show_default=False)] = "",
) -> None:
    """List the devices, or the constants of one."""
    from gatesearch._lib.console import say, table
    from gatesearch.devices import profile

    rows: list[tuple[object, ...]]
    if not name:
        found = [profile.load(each) for each in profile.names()]
        rows = [(each.name, ", ".join(core.name for core in each.cores), each.description) for each in found]
        table("devices", ("name", "cores", "description"), rows)
        return
    device = profile.load(name)
    rows = [(path, one.value, one.unit, one.provenance, one.source) for path, one in profile.constants(device)]
    table(name, ("constant", "value", "unit", "provenance", "source"), rows)
    from gatesearch.cost.sources import board

    for core in device.cores:
        if known := board.table_of(core):
            say(f"core {core.name}: {known.summary}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status: 0, 2 for what the user can mend, 130 when interrupted."""
    try:
        with _termination_interrupts():
            return _invoke(list(sys.argv[1:] if arguments is None else arguments))
    except UserError as error:
        return _end(str(error), 2)
    except BrokenPipeError:  # `gatesearch show | head`: nobody reads on, and that is no error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno not in _FULL:
            raise
        what = error.filename or "the run folder"
        return _end(f"{_FULL[error.errno]} while writing {what}; free space{_go_on(error)}", 2)
    except (KeyboardInterrupt, SystemExit) as error:
        # Lightning turns an interrupted fit into SystemExit(1).
        cause = error if isinstance(error, KeyboardInterrupt) else error.__context__
        if not isinstance(cause, KeyboardInterrupt):
            raise
        return _end(f"interrupted{_go_on(error) or _go_on(cause)}", 130)


def _invoke(arguments: list[str]) -> int:
    # Not typer's own main(): it turns an interrupt into an exit status and loses what it carries.
    command = typer.main.get_command(app)
    try:
        with command.make_context("gatesearch", arguments) as context:
            command.invoke(context)
    except typer.Exit as done:
        return done.exit_code
    except TyperException as error:
        raise UserError(" ".join(str(getattr(error, "message", error)).split())) from None
    return 0


@contextmanager
def _termination_interrupts() -> Iterator[None]:
    """Treat SIGTERM as Ctrl-C: the run folder is left so that the run can go on."""

    def interrupt(signum: int, frame: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _end(line: str, status: int) -> int:
    print(f"gatesearch: {line}", file=sys.stderr)
    return status


def _go_on(error: BaseException) -> str:
    """Return the rest of the line that says how to resume, where the pipeline told which run it was."""
    folder = getattr(error, "run_dir", None)
    return f"; go on with: gatesearch run resume={folder}" if folder else ""


def _pop(written: list[str], key: str) -> str | None:
    """Take ``key=...`` out of the words; UserError where it comes twice or empty."""
    found = [word for word in written if word.startswith(f"{key}=")]
    if len(found) > 1:
        raise UserError(f"{' '.join(found)}: give {key}= once")
    for word in found:
        written.remove(word)
        if word == f"{key}=":
            raise UserError(f"{word} names nothing")
        return word.partition("=")[2]
    return None


FIRST = "kws.yaml"  # the recipe to begin with


def _recipe(command: str, written: list[str]) -> Recipe:
    from gatesearch.recipe import available, load

    overrides = list(written)
    name = _pop(overrides, "recipe")
    if name is None:
        known = available()
        line = f"gatesearch {command} recipe={FIRST if FIRST in known else [*known, 'FILE'][0]}"
        raise UserError(f"no recipe= given; write: {line} (available: {', '.join(known)})")
    return load(name, overrides)


def _run_folder(command: str, written: str) -> Path:
    """Return the run folder; UserError where it is none, with the nearest under ./runs."""
    known = [str(path.parent) for path in sorted(Path("runs").glob("*/recipe.yaml"))]
    if not written:
        raise UserError(f"no run folder given; write: gatesearch {command}{known[-1] if known else 'RUN_DIR'}")
    folder = Path(written)
    if not folder.is_dir():
        if not known:
            raise UserError(f"{written}: no such run folder, and none under ./runs")
        raise unknown("command line", "run folder", written, known)
    if not (folder / "recipe.yaml").is_file():
        raise UserError(f"{written}: not a run folder: it holds no recipe.yaml")
    return folder


if __name__ == "__main__":
    sys.exit(main())
