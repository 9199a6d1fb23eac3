"""Runs the kernel tests again, with address and undefined-behaviour sanitizers in the kernels."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gatesearch.kernels import build

HERE = Path(__file__).parent
NOT_SANITISED = (Path(__file__).stem, "test_native_layers")  # the latter loads kernels without sanitizers


def preloaded() -> str:
    """Return the paths of the libraries to load before Python's own: AddressSanitizer, and that of C++.

    AddressSanitizer looks for the functions of C++ exceptions when it starts; without them, a package that throws one,
    such as matplotlib, ends the process.
    """
    try:
        compiler = build.Compiler.find().command
    except build.BuildError as error:
        pytest.skip(str(error))
    paths = []
    for name in ("libasan.so", "libstdc++.so"):
        path = subprocess.run([compiler, f"-print-file-name={name}"], capture_output=True, text=True).stdout.strip()
        if Path(path).is_absolute():
            paths.append(str(Path(path).resolve()))
        elif name == "libasan.so":
            pytest.skip(f"{compiler} has no AddressSanitizer")
    return ":".join(paths)


def run(*command: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "LD_PRELOAD": preloaded(),
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=0:exitcode=99",  # Python itself has leaks
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "GATESEARCH_SANITISE": "1",
    }
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, env=environment)


@pytest.mark.slow
def test_every_kernel_under_address_and_undefined_behaviour_sanitizers() -> None:
    tests = [str(path) for path in sorted(HERE.glob("test_*.py")) if path.stem not in NOT_SANITISED]
    done = run("-m", "pytest", "-s", "-x", "-p", "no:cacheprovider", *tests)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    assert " passed" in done.stdout


@pytest.mark.slow
def test_the_sanitizers_detect_a_read_beyond_an_array() -> None:
    script = (
        "import numpy as np; from gatesearch.kernels import build, native;"
        "library = native.open_library(build.library(sanitise=True)); x = np.zeros(4096, np.uint8);"
        "out = np.zeros(4096, np.int32);"
        "library.function('pool_u8')(x.ctypes.data, 4097, 1, None, 0, out.ctypes.data, None)"
    )
    done = run("-c", script)
    assert done.returncode and "heap-buffer-overflow" in done.stderr
