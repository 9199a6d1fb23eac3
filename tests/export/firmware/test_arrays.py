"""Numbers in C text read back as the same values."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gatesearch.export.firmware.arrays import ConstantArrays, number


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_single_reads_back_as_itself(value):
    text = number(np.float32(value))
    assert text.endswith("f") and np.float32(float.fromhex(text[:-1])) == np.float32(value)


@given(st.floats(allow_nan=False))
def test_a_double_reads_back_as_itself(value):
    text = number(value)
    back = {"HUGE_VAL": math.inf, "-HUGE_VAL": -math.inf}.get(text)
    assert (float.fromhex(text) if back is None else back) == value


def test_equal_arrays_are_written_once_and_types_are_told_apart():
    arrays = ConstantArrays()
    names = [arrays.add(np.array(values, kind)) for values, kind in (([1, 2], "i1"), ([1, 2], "u1"), ([1, 2], "i1"))]
    assert names == ["c0", "c1", "c0"] and arrays.bytes == 4
