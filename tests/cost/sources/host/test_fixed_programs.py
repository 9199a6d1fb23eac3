"""Tests of the programs that are timed for every backbone: they are converted together, and cached."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gatesearch.cost.sources.host import dispatch, fixed_programs, tiles


class Converter:
    """Stands in for a conversion, which takes seconds: a "program" is the text that describes its module."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    def __call__(self, modules: Sequence[nn.Module], examples: Sequence[Tensor]) -> list[bytes]:
        self.batches.append([str(module) for module in modules])
        return [f"{module} {tuple(example.shape)}".encode() for module, example in zip(modules, examples, strict=True)]


def test_one_conversion_makes_all_programs_and_a_cache_keeps_them(tmp_path: Path) -> None:
    converter = Converter()
    programs = fixed_programs.load(converter, tmp_path)
    assert set(programs) == {*tiles.probe_networks(), *dispatch.stage_networks()}
    assert fixed_programs.load(converter, tmp_path) == programs
    assert [len(batch) for batch in converter.batches] == [len(programs)]


def test_a_damaged_program_is_converted_again_and_the_others_are_not(tmp_path: Path) -> None:
    converter = Converter()
    programs = fixed_programs.load(converter, tmp_path)
    [damaged] = (tmp_path / "programs").glob("stage-gated-*")
    damaged.write_bytes(damaged.read_bytes()[:-1])
    assert fixed_programs.load(converter, tmp_path) == programs
    assert [len(batch) for batch in converter.batches] == [len(programs), 1]


def test_programs_of_other_libraries_are_converted_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    converter = Converter()
    fixed_programs.load(converter, tmp_path)
    monkeypatch.setattr(fixed_programs.timing, "fingerprint", lambda: {"versions": {"litert-torch": "0"}})
    fixed_programs.load(converter, tmp_path)
    assert len(converter.batches) == 2 and converter.batches[0] == converter.batches[1]


@pytest.mark.parametrize("cached", [False, True])
def test_loading_does_not_change_the_random_state(tmp_path: Path, cached: bool) -> None:
    if cached:
        fixed_programs.load(Converter(), tmp_path)
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    fixed_programs.load(Converter(), tmp_path)
    assert torch.equal(torch.rand(4), expected)
