"""Tests of the data set of human activities: recorded or synthetic windows, split by subject."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from gatesearch.data import load_dataset
from gatesearch.data.activities import CLASSES, WINDOW_STEPS
from gatesearch.errors import UserError
from gatesearch.frontends import build, restore

REAL = Path(os.environ.get("GATESEARCH_HAR") or "har_windows.npz")


def subjects(split) -> set[str]:
    return {name.split("/")[0] for name in split.names}


def write(path: Path, **changed) -> Path:
    rng = np.random.default_rng(0)
    arrays = {
        "x": rng.standard_normal((60, 16, 6)).astype(np.float16),
        "y": (np.arange(60) % 3).astype(np.uint8),
        "subject": np.repeat(np.arange(6), 10).astype(np.uint8),
        "is_test": np.repeat(np.arange(6), 10) > 3,
        "classes": np.array(["SIT", "STAND", "WALK"]),
    }
    np.savez(path, **{key: value for key, value in (arrays | changed).items() if value is not None})
    return path


def test_the_synthetic_set_is_the_same_every_time_and_labelled():
    first, again, other = (load_dataset("har", windows_per_subject=10, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.train.inputs, again.train.inputs)
    assert not torch.equal(first.test.inputs, other.test.inputs)
    assert first.synthetic and "synthetic" in first.source and first.classes == CLASSES
    assert first.train.inputs.shape[1:] == (WINDOW_STEPS, 6) and first.train.inputs.dtype == torch.float32
    assert all((split.labels.bincount(minlength=5) > 0).all() for split in (first.train, first.validation, first.test))


def test_no_subject_is_in_two_splits():
    data = load_dataset("har", windows_per_subject=10)
    sets = [subjects(split) for split in (data.train, data.validation, data.test)]
    assert [len(s) for s in sets] == [11, 4, 5] and len(set.union(*sets)) == 20


def test_a_recorded_set_keeps_its_test_subjects(tmp_path):
    path = write(tmp_path / "har_windows.npz")
    for root in (path, tmp_path):
        data = load_dataset("har", root=str(root), validation_subjects=1, positives=["WALK"])
        assert not data.synthetic and data.classes == ("SIT", "STAND", "WALK")
        assert (len(data.train), len(data.validation), len(data.test)) == (30, 10, 20)
        assert subjects(data.test) == {"subject04", "subject05"}
        assert data.kind_names == ("positive", "SIT", "STAND")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"subject": None}, "has no array 'subject'"),
        ({"y": np.zeros(7, int)}, "differ in length"),
        ({"is_test": np.zeros(60, bool)}, "leaves one of the splits empty"),
        ({"is_test": np.arange(60) % 2 == 0}, "a subject is both in test and in training"),
        ({"x": np.zeros((60, 6))}, "x is [60, 6]"),
    ],
)
def test_a_file_of_another_form_gives_an_error_of_one_line(tmp_path, changed, message):
    with pytest.raises(UserError) as error:
        load_dataset("har", root=str(write(tmp_path / "x.npz", **changed)))
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_missing_file_or_one_that_is_no_npz_is_refused(tmp_path):
    (tmp_path / "bad.npz").write_text("no")
    for name, message in (("none.npz", "no such file"), ("bad.npz", "cannot be read")):
        with pytest.raises(UserError, match=message):
            load_dataset("har", root=str(tmp_path / name))


@pytest.mark.parametrize(("key", "value"), [("validation_subjects", 0), ("validation_subjects", 15)])
def test_subjects_beyond_those_of_the_set_are_refused(key, value):
    with pytest.raises(UserError, match=f"data.{key}: {value}"):
        load_dataset("har", windows_per_subject=10, **{key: value})


@pytest.mark.skipif(not REAL.exists(), reason=f"no recorded windows at {REAL}; set GATESEARCH_HAR")
def test_the_recorded_set_has_its_windows_classes_and_test_subjects():
    data = load_dataset("har", root=str(REAL))
    assert (len(data.train) + len(data.validation) + len(data.test), len(data.classes)) == (6334, 5)
    assert len(subjects(data.test)) == 6 and not subjects(data.test) & subjects(data.train)


def test_the_front_end_averages_steps_and_normalises_axes():
    windows = torch.randn(20, 10, 3) * torch.tensor([1.0, 5.0, 0.0]) + torch.tensor([0.0, 2.0, 7.0])
    front = build("sequence", average=3).fit(windows)
    out = front(windows)
    assert out.shape == (20, 3, 3) and front.output_shape == (3, 3)
    averaged = windows[:, :9].reshape(20, 3, 3, 3).mean(2)
    torch.testing.assert_close(
        out[..., 1] * averaged[..., 1].std(correction=0) + averaged[..., 1].mean(), averaged[..., 1]
    )
    assert not out[..., 2].abs().max() > 1e-4  # a constant axis becomes zero
    assert front.macs() == 9 * (3 + 1)
    assert torch.equal(restore(front.describe())(windows), out)


def test_the_front_end_refuses_inputs_that_are_no_window():
    with pytest.raises(UserError, match="needs windows"):
        build("sequence").fit(torch.zeros(4, 16000))
    with pytest.raises(UserError, match=r"frontend.average: 0"):
        build("sequence", average=0)
    with pytest.raises(UserError, match="nearest: 'average'"):
        build("sequence", averag=2)
