"""Compiling the kernels with the system's C compiler, once for each version of them, of the compiler and of the CPU."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gatesearch._lib import console
from gatesearch._lib.timing import fingerprint
from gatesearch.kernels.library import SOURCES
from gatesearch.kernels.registry import outside_sources

# Contracted or reordered sums would differ between instruction sets, and from what tests expect.
FLAGS = ("-std=gnu11", "-O3", "-Wall", "-Wextra", "-ffp-contract=off", "-fno-math-errno")
SANITISERS = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")
# By architecture: instruction sets, the best first, and what the compiler has to be told of each.
SETS: Mapping[str, Mapping[str, Sequence[str]]] = {
    "x86_64": {
        "avx512vnni": (
            *("-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx512vnni", "-mavx2", "-mfma"),
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
# Cores without an operating system, whose instruction set is settled when the sources are compiled for them: SMLAD on
# the M4, vectors (MVE) on the M55. With -DGS_PORTABLE the same core runs plain C.
MICRO: Mapping[str, Sequence[str]] = {
    "cortex-m4": ("-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard", "-mthumb"),
    # Scheduled early, loads would drive the sums out of eight vector registers.
    "cortex-m55": ("-mcpu=cortex-m55", "-mfloat-abi=hard", "-mthumb", "-fno-schedule-insns"),
}
COMPILERS = ("cc", "gcc", "clang")
NAMES = {"amd64": "x86_64", "arm64": "aarch64"}


class BuildError(RuntimeError):
    """There is no compiler, or it failed; one line."""


@dataclass(frozen=True, slots=True)
class Compiler:
    """A C compiler: its command, what it says of its version, and the architecture it compiles for."""

    command: str
    version: str
    architecture: str

    @classmethod
    def find(cls) -> Compiler:
        """Return the compiler that CC names, or the system's.

        Raises:
            BuildError: there is none.
        """
        wanted = os.environ.get("CC")
        found = [path for name in ([wanted] if wanted else COMPILERS) if (path := shutil.which(name))]
        if not found:
            reason = f"CC={wanted} is not there" if wanted else f"no C compiler found ({', '.join(COMPILERS)})"
            raise BuildError(reason)
        version = _run([found[0], "--version"]).splitlines()[0]
        machine = platform.machine().lower()
        return cls(found[0], version, NAMES.get(machine, machine))

    @property
    def sets(self) -> Mapping[str, Sequence[str]]:
        """Flags by instruction set, the best first."""
        return SETS.get(self.architecture, {"portable": ()})


def library(compiler: Compiler | None = None, sanitise: bool = False, folder: Path | None = None) -> Path:
    """Return the compiled kernels, from the cache or compiled now.

    Args:
        compiler: None is the system's.
        sanitise: with AddressSanitizer and UndefinedBehaviorSanitizer, for tests.
        folder: the cache; None is the user's cache folder.

    Raises:
        BuildError: there is no compiler, or it failed.
    """
    compiler = compiler or Compiler.find()
    flags = (*FLAGS, *SANITISERS) if sanitise else FLAGS
    if folder is None:
        import platformdirs

        folder = Path(platformdirs.user_cache_dir("gatesearch")) / "kernels"
    made = folder / key(compiler, flags) / "gatesearch_kernels.so"
    if not made.exists():
        console.console(stderr=True).print(f"compiling kernels with {compiler.command}, once", soft_wrap=True)
        made.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=made.parent) as work:
            # Whoever comes second replaces the file by an equal one.
            _compile(compiler, flags, Path(work)).replace(made)
    return made


def key(compiler: Compiler, flags: Sequence[str]) -> str:
    """Return a digest of all that decides what comes out: sources, flags, compiler and CPU."""
    about = fingerprint()
    cpu = {name: about[name] for name in ("cpu", "architecture", "flags", "system")}
    sources = {f"{path.parent.name}/{path.name}": path.read_text() for path in _sources()}
    parts = [sources, flags, compiler.sets, compiler.command, compiler.version, cpu]
    text = json.dumps([dict(part) if isinstance(part, Mapping) else part for part in parts], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def _sources() -> list[Path]:
    return [*sorted(SOURCES.glob("*.[ch]")), *outside_sources()]


def _compile(compiler: Compiler, flags: Sequence[str], work: Path) -> Path:
    base = [compiler.command, *flags, "-fPIC", "-c", f"-I{SOURCES}"]
    names = '"' + ",".join(compiler.sets) + '"'
    commands = [[*base, f"-DGS_SETS={names}", str(SOURCES / "dispatch.c"), "-o", str(work / "dispatch.o")]]
    units = [SOURCES / "all.c", *outside_sources()]
    for name, extra in compiler.sets.items():
        for number, unit in enumerate(units):
            object_file = str(work / f"{name}_{number}.o")
            commands.append([*base, *extra, f"-DGS_SUFFIX={name}", str(unit), "-o", object_file])
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for command in commands
    ]
    for command, process in zip(commands, running, strict=True):
        said, _ = process.communicate()
        if process.returncode:
            raise BuildError(_failure(command, said))
    made = work / "gatesearch_kernels.so"
    objects = [command[-1] for command in commands]
    _run([compiler.command, "-shared", *flags, *objects, "-o", str(made)])
    return made


def _run(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except subprocess.CalledProcessError as error:
        raise BuildError(_failure(command, error.stderr)) from error
    except OSError as error:
        raise BuildError(f"{command[0]}: {error.strerror}") from error
    return done.stdout


def _failure(command: Sequence[str], said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    reason = next((line for line in lines if "error" in line), lines[-1] if lines else "no message")
    return f"{command[0]} failed: {reason}"
