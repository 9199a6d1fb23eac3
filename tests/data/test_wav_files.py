"""Tests of folders of recordings that contain links, hidden files and unusual file names."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatesearch._lib.console import collect_warnings
from gatesearch.data import Dataset, load_dataset
from gatesearch.data.speech import load
from gatesearch.errors import UserError

Writer = Callable[..., Path]
LISTS = ("validation_list.txt", "testing_list.txt")


def load_tree(root: Path, **changes: Any) -> tuple[Dataset, list[str]]:
    values: dict[str, Any] = {
        "positives": ["yes", "no"],
        "negatives": {"_unknown_": ["*"]},
        "seed": 0,
        "clips_per_class": 10,
        "seconds": 0.1,
    }
    with collect_warnings() as lines:
        return load(str(root), **{**values, **changes}), lines


def names(data: Dataset) -> list[tuple[str, ...]]:
    return [split.names for split in (data.train, data.validation, data.test)]


def rewrite(tree: Path, change: Callable[[str], bytes]) -> None:
    for name in LISTS:
        (tree / name).write_bytes(change((tree / name).read_text()))


FORMS: dict[str, Callable[[str], bytes]] = {
    "byte order mark": lambda text: text.encode("utf-8-sig"),
    "UTF-16": lambda text: text.encode("utf-16"),
    "UTF-16 of the other order": lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
    "backslashes": lambda text: text.replace("/", "\\").encode(),
    "Windows lines": lambda text: text.replace("\n", "\r\n").encode(),
    "all of Windows": lambda text: text.replace("/", "\\").replace("\n", "\r\n").encode("utf-8-sig"),
    "spaces and empty lines": lambda text: text.replace("\n", "  \n\n").encode(),
    "a dot in front": lambda text: "".join(f"./{line}\n" for line in text.splitlines()).encode(),
    "no line at the end": lambda text: text.rstrip().encode(),
    "a file twice": lambda text: (text + text).encode(),
}


@pytest.mark.parametrize("form", FORMS)
def test_lists_written_on_other_systems_give_the_same_splits(tree: Path, form: str) -> None:
    expected = names(load_tree(tree)[0])
    rewrite(tree, FORMS[form])
    assert names(load_tree(tree)[0]) == expected


def test_a_list_in_another_encoding_is_named(tree: Path) -> None:
    rewrite(tree, lambda text: text.encode() + b"caf\xe9/a.wav\n")
    with pytest.raises(UserError, match=r"validation_list\.txt:5: is no UTF-8"):
        load_tree(tree)


def test_speech_commands_may_lack_a_word(tree: Path) -> None:
    for path in (tree / "bird").iterdir():
        path.unlink()
    (tree / "bird").rmdir()
    (tree / "dog").mkdir()
    for path in (tree / "_silence_").iterdir():
        path.rename(tree / "dog" / path.name)
    rewrite(tree, lambda text: text.replace("_silence_/", "dog/").encode())
    data, lines = load_tree(tree)
    assert {name.split("/")[0] for split in names(data) for name in split} == {"yes", "no", "dog"}
    message = "the lists name 2 files of folders that are not there, first: 'bird/speaker2_nohash_3.wav'"
    assert any(message in line for line in lines)


def test_lists_of_another_data_set_are_refused(tree: Path) -> None:
    rewrite(tree, lambda text: "".join(f"elsewhere/{line}\n" for line in text.splitlines()).encode())
    with pytest.raises(UserError, match=r"validation_list\.txt:1: no file 'elsewhere/yes"):
        load_tree(tree)


def test_hidden_files_are_no_clips(tree: Path) -> None:
    expected = names(load_tree(tree)[0])
    for name in ("._speaker0_nohash_1.wav", ".a.wav", ".DS_Store"):
        (tree / "yes" / name).write_bytes(b"\0\5\x16\7 Mac OS X")
    (tree / ".hidden").mkdir()
    (tree / "._yes").write_bytes(b"")
    data, lines = load_tree(tree)
    assert names(data) == expected
    assert any("2 hidden files are left out, first: 'yes/._speaker0_nohash_1.wav'" in line for line in lines)


def test_other_sound_and_deeper_folders_are_named(tree: Path) -> None:
    (tree / "yes" / "a.flac").write_bytes(b"fLaC")
    (tree / "no" / "more").mkdir()
    _, lines = load_tree(tree)
    assert any("1 sound files are not .wav files and are left out, first: 'yes/a.flac'" in line for line in lines)
    assert any("1 folders within class folders are left out, first: 'no/more'" in line for line in lines)


@pytest.mark.parametrize("written", ["NFC", "NFD"])
@pytest.mark.parametrize("stored", ["NFC", "NFD"])
def test_a_name_is_the_same_in_both_forms_of_unicode(tree: Path, write_wav: Writer, written: str, stored: str) -> None:
    word, speaker = unicodedata.normalize(stored, "größe"), unicodedata.normalize(stored, "é")
    (tree / "yes").rename(tree / word)
    for path in (tree / word).iterdir():
        path.rename(path.with_name(path.name.replace("speaker", speaker)))
    rewrite(
        tree,
        lambda text: unicodedata.normalize(written, text.replace("yes/speaker", "größe/é")).encode(),
    )
    data, lines = load_tree(tree, positives=[unicodedata.normalize(written, "größe"), "no"])
    assert sum(name.startswith("größe/é") for split in names(data) for name in split) == 4 and not lines


def test_two_forms_of_one_name_are_refused(tree: Path, write_wav: Writer) -> None:
    for form in ("NFC", "NFD"):
        write_wav(f"yes/{unicodedata.normalize(form, 'é')}.wav")
    with pytest.raises(UserError, match=r"holds two files named 'é\.wav'"):
        load_tree(tree)


def test_caches_of_links_are_read_as_files(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    expected = names(load_tree(tree)[0])
    blobs = tmp_path_factory.mktemp("blobs")
    for number, path in enumerate(sorted(tree.rglob("*.*"))):
        path.rename(blobs / str(number))
        path.symlink_to(blobs / str(number))
    other = tmp_path_factory.mktemp("links")
    for path in tree.iterdir():
        (other / path.name).symlink_to(path)
    assert names(load_tree(other)[0]) == expected


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_paths_that_are_no_file_are_named_or_left_out(tree: Path, make: Callable[[Path], None]) -> None:
    make(tree / "yes" / "a.wav")
    with pytest.raises(UserError, match=r"a\.wav is no regular file; data\.skip_bad_files=true leaves"):
        load_tree(tree)
    data, lines = load_tree(tree, skip_bad_files=True)
    assert any("1 unusable file left out" in line for line in lines) and "1 unusable file" in data.source


def test_a_folder_name_that_is_no_text_is_named(tree: Path) -> None:
    os.mkdir(os.fsencode(tree) + b"/caf\xe9")
    with pytest.raises(UserError, match=r"caf\\xe9: its name has characters that cannot be printed"):
        load_tree(tree)


def test_a_negative_class_named_positive_is_refused(tree: Path) -> None:
    with pytest.raises(UserError, match=r"data\.negatives\.positive: this name stands for all positives"):
        load_tree(tree, negatives={"positive": ["bird"]})


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text(st.characters(exclude_characters="/\0", codec="utf-8"), max_size=12).map(str.encode)
    | st.binary(max_size=20)
)
def test_any_name_of_a_file_is_read_or_refused(tree: Path, name: bytes) -> None:
    name = name.replace(b"/", b"").replace(b"\0", b"")
    path = os.fsencode(tree) + b"/yes/" + name + b".wav"
    with open(path, "wb") as file:
        file.write((tree / "no" / "speaker0_nohash_2.wav").read_bytes())
    try:
        data, _ = load_tree(tree)
    except UserError as error:
        assert "\n" not in str(error) and str(error).encode()
    else:
        is_hidden = name[:1] in (b"", b".")
        assert len(data.train) == 6 + (not is_hidden)
    finally:
        os.unlink(path)


def test_sound_follows_links_and_leaves_hidden_files_out(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("links")
    for number, name in enumerate(("yes", "no", "bird")):
        (other / f"{number}").mkdir()
        (other / f"{number}" / name).symlink_to(tree / name)
    (other / "0" / "circle").symlink_to(other)
    (other / "0" / "._a.wav").write_bytes(b"")
    with collect_warnings() as lines:
        data = load_dataset("sound", root=str(other), sample_rate=16000, seconds=0.05)
    assert data.classes == ("0", "1", "2") and any("1 hidden files are left out" in line for line in lines)
