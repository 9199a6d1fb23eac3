"""Defines the command ``gatesearch`` with its subcommands, and prints each error as one line.

A subcommand imports heavy packages only when it needs them, so that help and the error of a bad recipe come at once.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from gatesearch._lib import interrupts
from gatesearch._lib.cores import choose_wait_policy
from gatesearch._lib.version import __version__
from gatesearch.cli import compare, completion, doctor, hardware, init, listen, picks, recipes, runs, scenes, studies
from gatesearch.cli.arguments import CONTEXT
from gatesearch.errors import UserError, one_line, unknown
from gatesearch.pipeline.steps import STEPS

_PROGRAM = "gatesearch"
_NO_SPACE = {errno.ENOSPC: "disk full", errno.EDQUOT: "disk quota used up", errno.EFBIG: "file size limit reached"}
# Errors of the operating system that a path of the user causes. If such an error names no file, it is a bug.
_PATH_ERRORS = (
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.EEXIST,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
)
_STATUS_USER_ERROR = 2
_STATUS_INTERRUPTED = 130


class _Commands(TyperGroup):
    """The group of all commands; the error for an unknown command names the nearest command."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        if args[0] not in self.commands:
            raise unknown("command line", "command", args[0], self.commands)
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=_Commands,
    add_completion=True,
    rich_markup_mode=None,  # rich's help takes longer to import than all else together
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Find the best gates of an always-on network for a device, and export the network for each core.",
    epilog="Start with: gatesearch run recipe=kws.yaml",
)


def _example(line: str) -> str:
    return f"Example: gatesearch {line}"


@app.callback(invoke_without_command=True)
def _root(
    ctx: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        print(f"{_PROGRAM} {__version__}")
    elif ctx.invoked_subcommand is None:
        print(ctx.get_help())


def _add_commands() -> None:
    """Add every command in the order in which help lists them."""
    for command, example in (
        (runs.run, "run recipe=kws.yaml training.epochs=10 out=runs/short"),
        (init.init, "init data=my_wavs goal=detection device=stm32u3c5"),
        (doctor.doctor, "doctor --json"),
        (recipes.show, "show recipe=kws.yaml space.gates.max=2"),
        (recipes.schema, "schema recipe > recipe.schema.json"),
        (hardware.sites, "sites recipe=kws.yaml"),
        (hardware.measure, "measure recipe=kws.yaml core=host"),
        (scenes.scene, "scene make kws.yaml test.json split=test audio=test.wav"),
        (studies.scaling, "scaling recipe=digits_hybrid.yaml batches=8..512"),
    ):
        app.command(context_settings=CONTEXT, epilog=_example(example))(command)
    for step, do_step in runs.step_commands().items():
        app.command(step, help=STEPS[step], context_settings=CONTEXT, epilog=_example(f"{step} runs/kws-1"))(do_step)
    app.command(context_settings=CONTEXT, epilog=_example("pick runs/kws-1 max_power_mw=0.5"))(picks.pick)
    app.command(context_settings=CONTEXT, epilog=_example("compare runs/kws-1 runs/kws-2"))(compare.compare)
    app.command(context_settings=CONTEXT, epilog=_example("listen runs/wake-1 evening.wav"))(listen.listen)
    app.command(context_settings=CONTEXT, epilog=_example("dashboard runs/kws-1 port=8080"))(studies.dashboard)
    app.command(
        context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
        epilog=_example("bench kws data.root=speech_commands"),
    )(studies.bench)
    app.command(context_settings=CONTEXT, epilog=_example("devices three_core"))(hardware.devices)


_add_commands()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    The status is 0 for success, 2 for an error that the user can fix, and 130 for an interrupted command.
    """
    if completion.VARIABLE in os.environ:
        return _complete()
    choose_wait_policy()
    try:
        with interrupts.as_exceptions():
            return _invoke(list(sys.argv[1:] if arguments is None else arguments))
    except UserError as error:
        return _end(str(error), _STATUS_USER_ERROR)
    except BrokenPipeError:  # no error: in `gatesearch show | head`, `head` ends before all lines are written
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno in _PATH_ERRORS and error.filename is not None:
            return _end(f"{error.filename}: {error.strerror}", _STATUS_USER_ERROR)
        if error.errno not in _NO_SPACE:
            raise
        place = error.filename or "the run folder"
        return _end(
            f"{_NO_SPACE[error.errno]} while writing {place}; free space{_resume_hint(error)}", _STATUS_USER_ERROR
        )
    except (KeyboardInterrupt, SystemExit) as error:
        # A library may turn an interrupt into another error, and that error into an interrupt again.
        causes = [each for each in (error, error.__cause__, error.__context__) if each is not None]
        if not any(isinstance(each, KeyboardInterrupt) for each in causes):
            raise
        hint = next((hint for each in causes if (hint := _resume_hint(each))), "")
        return _end(f"interrupted{hint}", _STATUS_INTERRUPTED)


def _invoke(arguments: list[str]) -> int:
    """Run the command that the arguments name, and return its exit status."""
    # typer's own main() is not used: it turns an interrupt into an exit status, and loses the run folder that the
    # interrupt names.
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:  # run folders and reports hold UTF-8 text
            raise UserError(f"{argument}: not UTF-8 text") from None
    command = typer.main.get_command(app)
    try:
        with command.make_context(_PROGRAM, arguments) as context:
            command.invoke(context)
    except typer.Exit as done:
        return done.exit_code
    except TyperException as error:
        raise UserError(" ".join(str(getattr(error, "message", error)).split())) from None
    return 0


def _complete() -> int:
    """Answer a shell that asks for completions; print nothing if the command line so far is wrong."""
    command = typer.main.get_command(app)
    try:
        completion.answer(lambda: command.main(prog_name=_PROGRAM, complete_var=completion.VARIABLE))
    except UserError:
        return 0
    return 0


def _end(line: str, status: int) -> int:
    print(f"{_PROGRAM}: {one_line(line)}", file=sys.stderr)
    return status


def _resume_hint(error: BaseException) -> str:
    """Return the end of an error's line, which says how to resume; empty if the error names no such command."""
    command = getattr(error, "resume_command", None)
    return f"; go on with: {command}" if command else ""


if __name__ == "__main__":
    sys.exit(main())
