"""Tests that error messages for users have one line, whatever text they quote."""

from __future__ import annotations

import os
import pickle

from hypothesis import given
from hypothesis import strategies as st

from gatesearch.errors import MAX_MESSAGE_CHARACTERS, DataError, UserError


@given(st.text(st.characters(codec=None), max_size=60) | st.binary(max_size=60).map(os.fsdecode))
def test_a_message_is_one_line_that_any_file_takes(quoted: str) -> None:
    message = str(UserError(f"data.root: {quoted}: cannot be read"))
    assert len(message.splitlines()) == 1 and message.encode().decode() == message
    assert message.startswith("data.root: ") and message.endswith(": cannot be read")


def test_bytes_that_are_no_text_are_shown() -> None:
    assert str(UserError(os.fsdecode(b"caf\xe9.wav: bad"))) == "caf\\xe9.wav: bad"
    assert str(UserError("a\nb\x1b[31m")) == "a\\nb\\x1b[31m"
    assert str(UserError("größe 日本.wav")) == "größe 日本.wav"


def test_a_message_has_a_largest_length() -> None:
    assert len(str(UserError("x" * 10**7))) == MAX_MESSAGE_CHARACTERS
    assert str(UserError("y" * MAX_MESSAGE_CHARACTERS)) == "y" * MAX_MESSAGE_CHARACTERS


def test_an_error_passes_from_process_to_process() -> None:
    error = pickle.loads(pickle.dumps(DataError("one\ntwo")))
    assert isinstance(error, ValueError) and str(error) == "one\\ntwo"
