"""Compiles the kernels with the system's C compiler, and caches the result by sources, compiler and CPU."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from gatesearch._lib import console, user_cache
from gatesearch._lib.timing import fingerprint
from gatesearch.kernels.library import SOURCES
from gatesearch.kernels.registry import outside_sources

# -ffp-contract=off: fused multiply-adds would make results differ between instruction sets, and from the references.
FLAGS = ("-std=gnu11", "-O3", "-Wall", "-Wextra", "-ffp-contract=off", "-fno-math-errno")
SANITISERS = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")
# By architecture: the instruction sets, the best first, each with the flags that select it.
SETS: Mapping[str, Mapping[str, Sequence[str]]] = {
    "x86_64": {
        "avx512vnni": (
            "-mavx512f",
            "-mavx512bw",
            "-mavx512vl",
            "-mavx512dq",
            "-mavx512vnni",
            "-mavx2",
            "-mfma",
            "-mprefer-vector-width=512",
        ),
        "avx2": ("-mavx2", "-mfma"),
        "portable": (),
    },
    "aarch64": {
        "dotprod": ("-march=armv8.2-a+dotprod", "-fno-schedule-insns"),
        "neon": ("-march=armv8-a", "-fno-schedule-insns"),
        "portable": ("-DGS_PORTABLE",),
    },
}
# Cores without an operating system. The flags alone select the instruction set: SMLAD on the M4 and
# the M33, vectors (MVE) on the M55. With -DGS_PORTABLE the same core runs plain C.
MICRO: Mapping[str, Sequence[str]] = {
    "cortex-m4": ("-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard", "-mthumb"),
    "cortex-m33": ("-mcpu=cortex-m33", "-mfloat-abi=hard", "-mthumb"),
    # -fno-schedule-insns: if the compiler moved loads forward, the sums would not fit the eight vector registers.
    "cortex-m55": ("-mcpu=cortex-m55", "-mfloat-abi=hard", "-mthumb", "-fno-schedule-insns"),
}
LIBRARY_NAME = ("gatesearch_kernels", ".so")  # the file's name before and after the digest of its content
COMPILERS = ("cc", "gcc", "clang")
ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}  # other names that some systems use for an architecture


class BuildError(RuntimeError):
    """There is no C compiler, or it failed; the message is one line."""


@dataclass(frozen=True, slots=True)
class Compiler:
    """A C compiler: its command, the first line that ``--version`` prints, and the architecture of its programs."""

    command: str
    version: str
    architecture: str

    @classmethod
    def find(cls) -> Compiler:
        """Return the compiler that the environment variable CC names, or the system's compiler.

        Raises:
            BuildError: there is no such compiler.
        """
        requested = os.environ.get("CC")
        candidates = [requested] if requested else COMPILERS
        command = next((path for name in candidates if (path := shutil.which(name))), None)
        if command is None:
            reason = f"CC={requested} is not there" if requested else f"no C compiler found ({', '.join(COMPILERS)})"
            raise BuildError(reason)
        version = _run([command, "--version"]).splitlines()[0]
        machine = platform.machine().lower()
        return cls(command, version, ARCHITECTURES.get(machine, machine))

    @property
    def sets(self) -> Mapping[str, Sequence[str]]:
        """The flags for each instruction set of the architecture, the best set first."""
        return SETS.get(self.architecture, {"portable": ()})


def library(compiler: Compiler | None = None, sanitise: bool = False, folder: Path | None = None) -> Path:
    """Return the path of the compiled kernels; compile them if the cache does not have them.

    Args:
        compiler: the C compiler; None means the system's.
        sanitise: whether to compile with AddressSanitizer and UndefinedBehaviorSanitizer, for tests.
        folder: the folder of the cache, to which other users have no access; None means the user's cache folder.

    Raises:
        BuildError: there is no compiler, or it failed.
    """
    compiler = compiler or Compiler.find()
    flags = (*FLAGS, *SANITISERS) if sanitise else FLAGS
    place = _place(compiler, flags, folder)
    path = user_cache.find_file(place, *LIBRARY_NAME)
    if path is None:
        with _work_folder(compiler, place) as work:
            path = user_cache.store_file(place, *LIBRARY_NAME, _compile(compiler, flags, work).read_bytes())
    return path


@contextmanager
def compile_beside() -> Iterator[None]:
    """Compile the kernels in other processes while the ``with`` block runs, unless the cache already has them.

    A failed compilation is not reported. The program compiles again when it loads the kernels, and reports the failure
    then.
    """
    compiler = None
    with suppress(BuildError):
        compiler = Compiler.find()
    place = None if compiler is None else _place(compiler, FLAGS, None)
    if compiler is None or place is None or user_cache.find_file(place, *LIBRARY_NAME) is not None:
        yield
        return
    with _work_folder(compiler, place) as work, ExitStack() as processes:
        running = _start(compiler, FLAGS, work)
        processes.callback(_stop, running)
        yield
        with suppress(BuildError):
            user_cache.store_file(place, *LIBRARY_NAME, _link(compiler, FLAGS, work, running).read_bytes())


def key(compiler: Compiler, flags: Sequence[str]) -> str:
    """Return a digest of everything that the compiled library depends on: sources, flags, compiler and CPU."""
    machine = fingerprint()
    cpu = {name: machine[name] for name in ("cpu", "architecture", "flags", "system")}
    sources = {f"{path.parent.name}/{path.name}": path.read_text() for path in _sources()}
    parts = [sources, flags, compiler.sets, compiler.command, compiler.version, cpu]
    text = json.dumps([dict(part) if isinstance(part, Mapping) else part for part in parts], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def _sources() -> list[Path]:
    return [*sorted(SOURCES.glob("*.[ch]")), *outside_sources()]


def _place(compiler: Compiler, flags: Sequence[str], folder: Path | None) -> Path:
    cache = user_cache.find_folder("kernels") if folder is None else user_cache.close_folder(folder)
    return user_cache.close_folder(cache / key(compiler, flags))


@contextmanager
def _work_folder(compiler: Compiler, place: Path) -> Iterator[Path]:
    console.console(stderr=True).print(f"compiling kernels with {compiler.command}, once", soft_wrap=True)
    with tempfile.TemporaryDirectory(dir=place) as work:
        yield Path(work)


def _compile(compiler: Compiler, flags: Sequence[str], work: Path) -> Path:
    return _link(compiler, flags, work, _start(compiler, flags, work))


def _start(compiler: Compiler, flags: Sequence[str], work: Path) -> list[subprocess.Popen[str]]:
    """Start one compiler process for each object file; the file's path is the last argument of the process."""
    base = [compiler.command, *flags, "-fPIC", "-c", f"-I{SOURCES}"]
    names = '"' + ",".join(compiler.sets) + '"'
    commands = [[*base, f"-DGS_SETS={names}", str(SOURCES / "instruction_sets.c"), "-o", str(work / "sets.o")]]
    units = [SOURCES / "all.c", *outside_sources()]
    for name, extra in compiler.sets.items():
        for number, unit in enumerate(units):
            object_file = str(work / f"{name}_{number}.o")
            commands.append([*base, *extra, f"-DGS_SUFFIX={name}", str(unit), "-o", object_file])
    return [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for command in commands
    ]


def _link(compiler: Compiler, flags: Sequence[str], work: Path, running: Sequence[subprocess.Popen[str]]) -> Path:
    """Wait for the processes of :func:`_start`, and link their object files into a library in the work folder."""
    commands = [[str(argument) for argument in process.args] for process in running]  # type: ignore[union-attr]
    for command, process in zip(commands, running, strict=True):
        output, _ = process.communicate()
        if process.returncode:
            raise BuildError(_failure(command, output))
    path = work / "".join(LIBRARY_NAME)
    _run([compiler.command, "-shared", *flags, *(command[-1] for command in commands), "-o", str(path)])
    return path


def _stop(running: Sequence[subprocess.Popen[str]]) -> None:
    for process in running:
        if process.poll() is None:
            process.kill()
        with process:  # waits for its end and closes its pipe
            pass


def _run(command: Sequence[str]) -> str:
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=True)
    except subprocess.CalledProcessError as error:
        raise BuildError(_failure(command, error.stderr)) from error
    except OSError as error:
        raise BuildError(f"{command[0]}: {error.strerror}") from error
    return result.stdout


def _failure(command: Sequence[str], output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    reason = next((line for line in lines if "error" in line), lines[-1] if lines else "no message")
    return f"{command[0]} failed: {reason}"
