"""Tests that a damaged bundle gives an error of one line that names the file, or still runs."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatesearch.errors import DataError, UserError
from gatesearch.export.artifact_checks import check_artifacts
from gatesearch.runtime.bundle import Bundle
from gatesearch.runtime.manifest import read_artifact
from tests.export.small_model import Exported

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.sampled_from(["", "..", "/etc/passwd", "../../x", "a\0b", "x" * 5000, "mcu", "litert", "tflm", "0" * 64]),
    st.text(max_size=5),
    st.lists(st.integers(-3, 3), max_size=3),
    st.just({}),
    st.just({"program": None}),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value in a JSON document."""
    inside: list[tuple[Any, ...]] = []
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            inside += [(*path, key), *places(value[key], (*path, key))]
    return inside


def change(document: Any, path: tuple[Any, ...], action: str, value: Any) -> None:
    """Replace, drop or repeat the value at a path of a JSON document."""
    for key in path[:-1]:
        document = document[key]
    if action == "drop":
        del document[path[-1]]
    elif action == "double" and isinstance(document, list):
        document.append(document[path[-1]])
    else:
        document[path[-1]] = value


@pytest.fixture(scope="module")
def copy(exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("damaged") / "bundle"
    shutil.copytree(exported.folder, folder)
    return folder


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_manifest_gives_an_error_of_one_line(data: st.DataObject, exported: Exported, copy: Path) -> None:
    manifest = json.loads((exported.folder / "manifest.json").read_text())
    for _ in range(data.draw(st.integers(1, 2), "changes")):
        path = data.draw(st.sampled_from(places(manifest)), "path")
        action = data.draw(st.sampled_from(["replace", "drop", "double"]), "action")
        change(manifest, path, action, data.draw(VALUES, "value"))
    (copy / "manifest.json").write_text(json.dumps(manifest))
    window = exported.test.features[0].numpy()
    try:
        Bundle(copy)(window)
    except DataError as error:  # without its first stage, a bundle takes windows of another shape
        assert str(error).startswith("window: [") and "\n" not in str(error)
    except UserError as error:
        assert "\n" not in str(error) and str(copy) in str(error)


@settings(max_examples=60)
@given(position=st.integers(0, 10_000), text=st.binary(max_size=20), cut=st.booleans())
def test_a_manifest_with_other_bytes_gives_an_error_of_one_line(
    exported: Exported, copy: Path, position: int, text: bytes, cut: bool
) -> None:
    content = (exported.folder / "manifest.json").read_bytes()
    position %= len(content)
    changed = content[:position] + text + (b"" if cut else content[position + len(text) :])
    (copy / "manifest.json").write_bytes(changed)
    try:
        Bundle(copy)
    except UserError as error:
        assert "\n" not in str(error) and str(copy) in str(error)


def test_endless_nesting_gives_an_error_of_one_line(copy: Path) -> None:
    (copy / "manifest.json").write_text("[" * 100_000)
    with pytest.raises(UserError, match="not JSON"):
        Bundle(copy)


def test_a_bundle_of_symbolic_links_runs(exported: Exported, tmp_path: Path) -> None:
    """Caches of model hubs store files under their digests, so a downloaded bundle consists of links."""
    blobs, links = tmp_path / "blobs", tmp_path / "snapshots" / "main"
    blobs.mkdir()
    for i, path in enumerate(sorted(p for p in exported.folder.rglob("*") if p.is_file())):
        (blobs / str(i)).write_bytes(path.read_bytes())
        link = links / path.relative_to(exported.folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blobs / str(i), link.parent))
    window = exported.test.features[0].numpy()
    assert Bundle(str(links))(window).exit == exported.loaded(window).exit


def test_paths_that_are_no_file_are_refused(exported: Exported, copy: Path) -> None:
    (copy / "manifest.json").write_bytes((exported.folder / "manifest.json").read_bytes())
    program = copy / exported.manifest["stages"][0]["program"]["path"]
    content = program.read_bytes()
    program.unlink()
    os.mkfifo(program)
    try:
        with pytest.raises(UserError, match=r"is no file; export again"):
            Bundle(copy)
    finally:
        program.unlink()
        program.write_bytes(content)


@pytest.mark.parametrize("path", ["../bundle/x", "mcu/../x", "elsewhere/../x", "..", "a\\..\\x", "/etc/passwd"])
def test_a_path_that_leaves_the_bundle_is_refused(path: str, tmp_path: Path) -> None:
    """Behind a folder that is a link, a path with ".." leads out of the bundle, although it looks as if it did not."""
    (tmp_path / "other" / "inside").mkdir(parents=True)
    (tmp_path / "other" / "x").write_text("secret")
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "elsewhere").symlink_to(tmp_path / "other" / "inside")
    with pytest.raises(UserError, match="lies outside the bundle"):
        read_artifact(folder, {"path": path, "sha256": hashlib.sha256(b"secret").hexdigest()})


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_changed_byte_of_any_file_ends_verification(data: st.DataObject, exported: Exported, tmp_path: Path) -> None:
    folder = tmp_path / "changed"
    shutil.copytree(exported.folder, folder, dirs_exist_ok=True)
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json")
    path = data.draw(st.sampled_from(paths))
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"{path.name}: sha256 .* export again"):
        check_artifacts(Bundle(folder), exported.test.features[:2].numpy())
