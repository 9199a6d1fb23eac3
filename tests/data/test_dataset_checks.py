"""Tests of checks of data sets: wrong data give an error, doubtful data a warning."""

from __future__ import annotations

import contextlib
import copy
import io
import re

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gatesearch._lib.console import collect_warnings
from gatesearch.data import Dataset, Split, check_dataset, load_dataset
from gatesearch.errors import DataError, UserError
from tests.data.damaged import DOUBTED, KINDS, REFUSED, SPLITS, Damage, Raw, build, raw_dataset


def check(raw: Raw) -> tuple[Dataset, list[str]]:
    with collect_warnings() as lines:
        return check_dataset(build(raw)), lines


@pytest.mark.parametrize("kind", KINDS)
def test_good_data_pass_as_they_are(kind: str) -> None:
    raw = raw_dataset(0, kind)
    before = copy.deepcopy(raw)
    data, lines = check(raw)
    assert lines == []
    for name in SPLITS:
        split = getattr(data, name)
        assert torch.equal(split.inputs, before[name]["inputs"]) and split.inputs.dtype == before[name]["inputs"].dtype
        assert torch.equal(split.labels, before[name]["labels"]) and split.names == before[name]["names"]


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name in REFUSED for kind in REFUSED[name].kinds])
def test_wrong_data_are_refused_in_one_line(name: str, kind: str) -> None:
    raw = raw_dataset(0, kind)
    REFUSED[name].apply(raw)
    with pytest.raises(DataError, match=REFUSED[name].message) as error:
        check(raw)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name in DOUBTED for kind in DOUBTED[name].kinds])
def test_doubtful_data_give_a_warning(name: str, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    raw = raw_dataset(0, kind)
    DOUBTED[name].apply(raw)
    _, lines = check(raw)
    assert any(re.search(DOUBTED[name].message, line) for line in lines), lines
    assert all("\n" not in line and f"warning: {line}" in capsys.readouterr().err for line in lines[:1])


EVERY: dict[str, Damage] = REFUSED | DOUBTED


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_data_never_pass_in_silence(draw: st.DataObject) -> None:
    """One to three damages, in any order, give an error or a warning, and no other exception."""
    kind = draw.draw(st.sampled_from(KINDS))
    usable = [name for name, damage in EVERY.items() if kind in damage.kinds]
    names = draw.draw(st.lists(st.sampled_from(usable), min_size=1, max_size=3, unique=True))
    raw = raw_dataset(draw.draw(st.integers(0, 99)), kind)
    for name in names:
        try:
            EVERY[name].apply(raw)
        except Exception:  # after an earlier damage, this one is not possible
            assume(False)
    with contextlib.redirect_stderr(io.StringIO()):
        try:
            _, lines = check(raw)
        except UserError as error:
            assert "\n" not in str(error)
            return
    assert lines, f"{names} went through in silence"


NUMBERS = st.sampled_from(
    [0.0, -0.0, 0.3, 1.0, -1.0, 2.0, 300.0, 1e20, 1e38, float("nan"), float("inf"), -float("inf")]
)


@settings(max_examples=200, deadline=None)
@given(split=st.sampled_from(SPLITS), index=st.integers(0, 11), position=st.integers(0, 39), value=NUMBERS)
def test_any_value_anywhere_is_accepted_unchanged_or_named(split: str, index: int, position: int, value: float) -> None:
    raw = raw_dataset()
    raw[split]["inputs"][index, position] = value
    expected = raw[split]["inputs"].clone()
    with contextlib.redirect_stderr(io.StringIO()):
        try:
            data, lines = check(raw)
        except DataError as error:
            assert abs(value) > 256 or value != value
            assert f"{split} split, sample {index} ('{split}/{index}.wav')" in str(error)
            return
    assert torch.equal(getattr(data, split).inputs, expected) and abs(value) <= 256
    assert bool(lines) == (abs(value) > 1)


INTEGERS = ["uint8", "int8", "int16", "int32", "int64", ">i4", ">i8", "uint16", "uint32", "uint64"]


@given(st.sampled_from(INTEGERS), st.booleans())
def test_whole_numbers_of_any_type_are_labels(dtype: str, as_array: bool) -> None:
    labels = np.array([0, 1, 2, 1], dtype)
    split = Split(np.zeros((4, 2)), labels if as_array else labels.tolist(), list("abcd"))  # type: ignore[arg-type]
    assert split.labels.dtype == torch.int64 and split.labels.tolist() == [0, 1, 2, 1]
    assert split.names == ("a", "b", "c", "d")


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4", ">f8", "longdouble"])
@pytest.mark.parametrize("order", ["C", "F", "reversed", "read only"])
def test_floats_of_any_type_and_layout_are_the_same_inputs(dtype: str, order: str) -> None:
    values = np.arange(24).reshape(4, 2, 3) / 8
    array = np.asarray(values, dtype, order="F" if order == "F" else "C")
    if order == "reversed":
        array, values = array[::-1], values[::-1]
    array.flags.writeable = order != "read only"
    split = Split(array, [0] * 4, list("abcd"))  # type: ignore[arg-type]
    assert split.inputs.dtype == torch.float32 and np.array_equal(split.inputs.numpy(), values)


def test_a_split_keeps_its_values_when_the_array_changes() -> None:
    array = np.ones((2, 3), np.float32)
    split = Split(array, [0, 1], ("a", "b"))  # type: ignore[arg-type]
    array[:] = 0
    assert bool((split.inputs == 1).all())


def nan_plugin() -> Dataset:
    raw = raw_dataset()
    raw["test"]["inputs"][4, 4] = float("nan")
    return build(raw)


def test_a_plugin_goes_through_the_same_checks() -> None:
    with pytest.raises(DataError, match=r"data 'toy': test split, sample 4 \('test/4.wav'\) holds nan at \[4\]"):
        load_dataset(f"{__name__}:nan_plugin")
    with pytest.raises(DataError, match="data is a dict, not a"):
        check_dataset({"train": 1})


def test_silence_may_be_in_every_split() -> None:
    raw = raw_dataset(0, "int16 sound")
    raw["classes"] = ("yes", "no", "_silence_")
    for name in SPLITS:
        raw[name]["inputs"][raw[name]["labels"] == 2] = 0
    assert check(raw)[1] == []
