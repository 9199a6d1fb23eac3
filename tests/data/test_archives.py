"""Tests of reading .npz archives: an error names each array that would be misread."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatesearch.data import load_dataset
from gatesearch.errors import UserError


def activities(**changes: Any) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    subject = np.repeat(np.arange(6), 10)
    return {
        "x": rng.standard_normal((60, 16, 6)),
        "y": np.arange(60) % 3,
        "subject": subject,
        "is_test": subject > 3,
        "classes": np.array(["SIT", "STAND", "WALK"]),
    } | changes


def sound(**changes: Any) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {
        "audio": rng.integers(-9000, 9000, (20, 1600)).astype(np.int16),
        "label": np.arange(20) % 2,
        "classes": np.array(["rain", "wind"]),
        "fold": np.arange(20) // 4,
        "sample_rate": np.array(8000),
    } | changes


MAKERS = {"har": activities, "sound": sound}
ARGUMENTS: dict[str, dict[str, Any]] = {"har": {"validation_subjects": 1}, "sound": {"seconds": 0.1}}


def load(folder: Path, name: str, arrays: dict[str, Any]) -> Any:
    path = folder / "a.npz"
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    return load_dataset(name, root=str(path), **ARGUMENTS[name])


def nan_at(row: int) -> np.ndarray:
    x = activities()["x"]
    x[row, 3, 2] = np.nan
    return x


WRONG = [
    ("har", {"x": nan_at(41)}, "window 41 of x is not finite"),
    ("har", {"x": np.full((60, 16, 6), "a")}, r"x is \[60, 16, 6\] of <U1"),
    ("har", {"y": np.arange(60) % 4}, "y holds 0 to 3; wanted: 0 to 2"),
    ("har", {"y": np.arange(60) % 3 - 1}, "y holds -1 to 1"),
    ("har", {"y": (np.arange(60) % 3).astype(float)}, r"y is float64 \[60\]; wanted: whole numbers"),
    ("har", {"y": np.eye(3)[np.arange(60) % 3]}, r"y is float64 \[60, 3\]"),
    ("har", {"subject": np.array([f"s{i // 10}" for i in range(60)])}, "subject is <U2"),
    ("har", {"is_test": np.repeat(np.arange(6), 10) / 5}, "is_test is float64"),
    ("har", {"classes": np.arange(3)}, r"classes is int64 \[3\]; wanted: names"),
    ("har", {"classes": np.array(["SIT", "SIT", "WALK"])}, "'SIT' is named more than once"),
    ("sound", {"audio": sound()["audio"] / 32768}, "audio is float64; wanted: int16"),
    ("sound", {"audio": sound()["audio"].astype(np.int32)}, "audio is int32"),
    ("sound", {"audio": sound()["audio"].reshape(-1)}, r"audio is \[32000\]; wanted: \[20, samples\]"),
    ("sound", {"label": np.arange(20) % 3}, "label holds 0 to 2; wanted: 0 to 1"),
    ("sound", {"label": np.arange(20) % 2 - 1}, "label holds -1 to 0"),
    ("sound", {"label": np.arange(20) % 2 * 1.0}, "label is float64"),
    ("sound", {"label": np.arange(20)[:, None] % 2}, r"label is int64 \[20, 1\]"),
    ("sound", {"fold": np.arange(19) // 4}, r"fold is \[19\]; wanted: \[20\]"),
    ("sound", {"sample_rate": np.array([8000, 16000])}, r"sample_rate is \[8000, 16000\]"),
    ("sound", {"sample_rate": np.array(0)}, "sample_rate is 0"),
    ("sound", {"sample_rate": np.array("8k")}, "sample_rate is '8k'"),
    ("sound", {"sample_rate": np.array(np.nan)}, "sample_rate is nan"),
    ("sound", {"offsets": np.arange(21) * 2000}, "offsets holds 0 to 40000; wanted: 0 to 32000"),
    ("sound", {"offsets": np.arange(20) * 1600}, r"offsets is int64 \[20\]; wanted: whole numbers \[21\]"),
    ("sound", {"offsets": np.arange(21)[::-1] * 1600}, "offsets do not rise"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "changes", "message"), WRONG)
def test_errors_name_wrong_arrays(tmp_path: Path, name: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        load(tmp_path, name, MAKERS[name](**changes))
    assert "\n" not in str(error.value)


def test_a_mask_of_numbers_is_a_mask(tmp_path: Path) -> None:
    expected = load(tmp_path, "har", activities())
    for dtype in (np.uint8, np.int64, np.float32):
        data = load(tmp_path, "har", activities(is_test=activities()["is_test"].astype(dtype)))
        assert data.test.names == expected.test.names and data.train.names == expected.train.names


def npz_bytes() -> bytes:
    file = io.BytesIO()
    np.savez(file, **activities())
    return file.getvalue()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_archive_gives_an_error_of_one_line_or_the_same_arrays(tmp_path: Path, draw: st.DataObject) -> None:
    raw = bytearray(npz_bytes())
    start = draw.draw(st.sampled_from([0, len(raw) - 600]))  # the first header, or the directory at the end
    for _ in range(draw.draw(st.integers(1, 3))):
        raw[start + draw.draw(st.integers(0, 599))] = draw.draw(st.integers(0, 255))
    path = tmp_path / "a.npz"
    path.write_bytes(raw[: draw.draw(st.none() | st.integers(0, len(raw)))])
    try:
        data = load_dataset("har", root=str(path), validation_subjects=1)
    except UserError as error:
        assert "\n" not in str(error) and "data" in str(error)
    else:
        assert (len(data.train), len(data.validation), len(data.test)) == (30, 10, 20)


@pytest.mark.parametrize("name", ["har", "sound", "cifar10"])
def test_a_pipe_is_no_archive(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "a.npz")
    with pytest.raises(UserError):
        load_dataset(name, root=str(tmp_path / "a.npz"))
