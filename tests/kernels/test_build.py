"""Tests of compiling the kernels: the cache, broken compilers, and the references that replace missing kernels."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gatesearch import kernels as k
from gatesearch.kernels import build, native


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("CC", "no-such-compiler")
    native.load.cache_clear()
    yield
    native.load.cache_clear()


def test_without_a_compiler_the_references_run_with_one_warning(
    no_compiler: None, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    real = lambda *shape: rng.standard_normal(shape).astype(np.float32)  # noqa: E731
    g = k.Geometry((5, 4), 20, 40, (3, 3), padding=(1, 1))
    weight, x = rng.integers(-127, 128, g.weights).astype(np.int8), rng.integers(0, 256, (5, 4, 20)).astype(np.uint8)
    conv, small = k.Conv(g, real(*g.weights)), k.ConvU8(g, weight)
    image = real(5, 4, 20)
    np.testing.assert_array_equal(conv(image, [1], [0, 2]), conv.reference(image, np.array([1]), np.array([0, 2])))
    np.testing.assert_array_equal(small(x), small.reference(x))
    boost = k.Boost(real(40, 20), real(40), real(40), real(40), real(40), 2)
    for layer, value in ((k.FBSConv(g, real(*g.weights), boost), image), (k.FBSConvU8(g, weight, boost, 1, 1, 9), x)):
        for ours, reference in zip(layer(value), layer.reference(value), strict=True):  # type: ignore[operator, attr-defined]
            np.testing.assert_array_equal(ours, reference)
    pg = k.PGConv(g, weight, 8, 4, 16, np.zeros(3, np.float32))
    phases, count = pg.phases(x)
    assert count == phases.mask.sum() and (pg(x) == phases.output.numpy()).all()
    dense = np.empty((5, 4, 40), np.float32)
    pg.bind(x, dense, dense=True)()
    assert (dense == small.reference(x)).all()
    h = real(6)
    step = k.GRUStep(k.Dense(real(3, 6, 4)), k.Dense(real(3, 6, 6)), real(18), real(18))
    inputs = real(4)
    expected = step.reference(inputs, h)
    step(inputs, h)
    np.testing.assert_array_equal(h, expected)
    head = k.GateHead(real(20), None, 1.0)
    assert head(image) == head.reference(image)
    message = capsys.readouterr().err
    assert message == "kernels: CC=no-such-compiler is not there; the torch reference runs in their place, slower\n"
    assert k.status() == message.strip()


def test_a_compiler_that_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken"
    broken.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo broken 1 && exit\necho "x.c:1: error: nothing" >&2; exit 1\n'
    )
    broken.chmod(0o755)
    monkeypatch.setenv("CC", str(broken))
    with pytest.raises(build.BuildError, match=r"broken failed: x\.c:1: error: nothing"):
        build.library(folder=tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*/*"))


def test_a_compiled_library_is_not_compiled_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler, calls = build.Compiler("cc", "cc 1", "x86_64"), []

    def compiled(_: build.Compiler, flags: object, work: Path) -> Path:
        calls.append(flags)
        (work / "made").write_bytes(b"library")
        return work / "made"

    monkeypatch.setattr(build, "_compile", compiled)
    first = build.library(compiler, folder=tmp_path)
    assert build.library(compiler, folder=tmp_path) == first and first.read_bytes() == b"library"
    assert len(calls) == 1
    assert build.library(compiler, sanitise=True, folder=tmp_path) != first
    assert [path.name for path in first.parent.iterdir()] == [first.name]


FAKE_COMPILER = """#!/bin/sh
[ "$1" = --version ] && echo fake 1 && exit
echo run >> "$0.calls"
for last; do :; done
echo object > "$last"
"""


@pytest.fixture
def fake_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a script that stands in for a compiler.

    Its output file holds one word. Each call adds a line to ``fake.calls``.
    """
    path = tmp_path / "fake"
    path.write_text(FAKE_COMPILER)
    path.chmod(0o755)
    monkeypatch.setenv("CC", str(path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return path


def test_kernels_compiled_beside_other_work_are_there_afterwards(fake_compiler: Path) -> None:
    with build.compile_beside():
        pass
    calls = fake_compiler.with_suffix(".calls").read_text()
    assert build.library().read_bytes() == b"object\n"
    with build.compile_beside():
        pass
    assert fake_compiler.with_suffix(".calls").read_text() == calls


def test_work_that_fails_leaves_no_compiler_and_no_file(fake_compiler: Path, tmp_path: Path) -> None:
    fake_compiler.write_text(FAKE_COMPILER.replace("echo run", "exec sleep 60; echo run"))
    start = time.monotonic()
    with pytest.raises(KeyError), build.compile_beside():
        raise KeyError
    assert time.monotonic() - start < 30
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


@pytest.mark.parametrize("reply", ["echo x.c:1: error: nothing >&2; exit 1", "exit 1"])
def test_a_compiler_that_fails_beside_other_work_is_quoted_when_kernels_load(fake_compiler: Path, reply: str) -> None:
    fake_compiler.write_text(FAKE_COMPILER.replace("echo run", f"{reply}; echo run"))
    with build.compile_beside():
        finished = True
    assert finished
    with pytest.raises(build.BuildError, match="fake failed"):
        build.library()


@pytest.mark.parametrize("size", [0, 100, -1])
def test_a_truncated_library_is_compiled_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    content = b"library" * 100

    def write_content(_: build.Compiler, flags: object, work: Path) -> Path:
        (work / "made").write_bytes(content)
        return work / "made"

    monkeypatch.setattr(build, "_compile", write_content)
    compiler = build.Compiler("cc", "cc 1", "x86_64")
    path = build.library(compiler, folder=tmp_path)
    path.write_bytes(content[:size])
    assert build.library(compiler, folder=tmp_path).read_bytes() == content


def test_a_planted_library_is_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_content(_: build.Compiler, flags: object, work: Path) -> Path:
        (work / "made").write_bytes(b"ours")
        return work / "made"

    monkeypatch.setattr(build, "_compile", write_content)
    compiler = build.Compiler("cc", "cc 1", "x86_64")
    planted = tmp_path / build.key(compiler, build.FLAGS) / "gatesearch_kernels.so"
    planted.parent.mkdir()
    planted.write_bytes(b"theirs")
    assert build.library(compiler, folder=tmp_path).read_bytes() == b"ours"


@pytest.mark.parametrize(
    "other",
    [build.Compiler("cc", "cc 2", "x86_64"), build.Compiler("cc", "cc 1", "aarch64")],
    ids=["version", "target"],
)
def test_another_compiler_has_a_library_of_its_own(other: build.Compiler) -> None:
    compiler = build.Compiler("cc", "cc 1", "x86_64")
    assert build.key(compiler, build.FLAGS) == build.key(compiler, build.FLAGS) != build.key(other, build.FLAGS)


def test_an_unavailable_instruction_set_is_refused(compiled: k.Library) -> None:
    with pytest.raises(ValueError, match=r"this CPU has .*portable"):
        native.open_library(compiled.path, "mmx")
