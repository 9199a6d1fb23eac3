"""Tests of compiling for a neural processing unit (NPU) with Vela: cache, cycles, operators on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gatesearch._lib.tool_output import ToolError
from gatesearch.compile import flatbuffer, vela


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yield the cache folder of a test, which no other test uses."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    yield tmp_path / "gatesearch" / "vela"


def test_the_cache_distinguishes_models_by_content_and_arguments(vector, cache: Path, monkeypatch):
    first = vela.compile(vector.int8_model)
    [file] = cache.iterdir()
    compiled = []
    monkeypatch.setattr(vela, "_run_vela", lambda *arguments: compiled.append(arguments) or first)
    assert vela.compile(vector.int8_model) == first and not compiled
    vela.compile(vector.int8_model, "ethos-u55-32")
    vela.compile(vector.float_model)
    assert len(compiled) == 2 and len(list(cache.iterdir())) == 3
    file.write_bytes(file.read_bytes()[:100])
    assert vela.compile(vector.int8_model) == first and len(compiled) == 3
    assert vela.compile(vector.int8_model) == first and len(compiled) == 3


@pytest.mark.parametrize("case", ["stage", "input_gate", "tail", "vector"])
def test_each_stage_runs_wholly_on_the_npu(case, request):
    result = vela.compile(request.getfixturevalue(case).int8_model)
    assert result.cpu_operators == ()
    assert result.cycles > 0 and result.sram_bytes > 0 and result.flash_bytes > 0
    assert flatbuffer.operator_names(result.model) == (vela.NPU_OPERATOR,)


def test_operators_that_fall_back_to_the_cpu_are_named(averages):
    assert "MEAN" in vela.compile(averages.int8_model).cpu_operators


def test_a_model_wholly_on_the_cpu_has_no_npu_cycles(averages):
    assert vela.compile(averages.float_model).cycles == 0


def test_a_larger_accelerator_needs_fewer_cycles(stage):
    small, large = (vela.compile(stage.int8_model, f"ethos-u55-{macs}").cycles for macs in (32, 256))
    assert large < small


def test_a_model_that_vela_refuses_gives_one_error_and_prints_nothing(capfd):
    with pytest.raises(ToolError, match="Vela failed"):
        vela.compile(b"not a model")
    with pytest.raises(ToolError, match="invalid choice: 'ethos-u55-129'"):
        vela.compile(b"not a model", "ethos-u55-129")
    assert capfd.readouterr() == ("", "")
