"""A small firmware folder that the tests copy or read."""

from __future__ import annotations

import shutil

import pytest

from gatesearch.export.firmware import Firmware, write_firmware
from gatesearch.kernels import native
from tests.export.firmware.small_bundle import export_listening, make_sound


@pytest.fixture(scope="session")
def small_firmware(tmp_path_factory: pytest.TempPathFactory) -> Firmware:
    """Return firmware with two phases and a gate on the signal; its bundle lies beside it. The path has a space."""
    if native.load() is None or shutil.which("make") is None:
        pytest.skip("needs make and a C compiler")
    folder = tmp_path_factory.mktemp("small firmware")
    bundle = export_listening(folder / "bundle", 320, 2, True, ((0.5, 2, 1), (0.3, 1, 0)))
    return write_firmware(bundle, folder / "firmware", make_sound())
