"""Tests of locks on files: a second process is refused, and a lock ends with its process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gatesearch._lib.locks import lock_with_owner
from gatesearch.errors import UserError

HOLD = """
import sys, time
from pathlib import Path
from gatesearch._lib.locks import lock_with_owner
with lock_with_owner(Path(sys.argv[1]), "run"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_until_the_first_is_dead(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "driver.json"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        with pytest.raises(UserError) as error, lock_with_owner(path, "run folder r"):
            raise AssertionError("locked twice")
        assert str(error.value) == (
            f"run folder r: process {other.pid} on {socket.gethostname()} works on it; let it end, or stop it"
        )
        os.kill(other.pid, signal.SIGKILL)
        other.wait()
    refusal = pytest.raises(UserError, match=f"process {os.getpid()} on ")
    with lock_with_owner(path, "run folder r"), refusal, lock_with_owner(path, "run folder r"):
        raise AssertionError("locked twice")


def test_a_folder_at_the_path_of_the_lock_is_an_error(tmp_path: Path) -> None:
    refusal = pytest.raises(UserError, match="cannot be written: Is a directory; move away what is there")
    with refusal, lock_with_owner(tmp_path, "run"):
        raise AssertionError("locked a folder")
