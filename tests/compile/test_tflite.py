"""Tests of conversion to .tflite: programs against PyTorch, and engines against each other."""

from __future__ import annotations

import gc
import os

import numpy as np
import pytest
import torch
from torch import nn

from gatesearch._lib.tool_output import ToolError
from gatesearch.compile import flatbuffer, tflite
from gatesearch.runtime.program import Program
from gatesearch.runtime.tensor_spec import TensorSpec

CASES = ["stage", "input_gate", "tail", "vector"]


@pytest.fixture(params=CASES)
def case(request):
    return request.getfixturevalue(request.param)


def test_float_model_equals_torch_with_outputs_in_the_modules_order(case):
    program = Program(case.float_model)
    for sample in case.samples[:8]:
        result = program(tflite.channel_last(sample[None]))
        for ours, theirs in zip(result, case.expected(sample), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_the_int8_model_has_int8_inputs_and_outputs(case):
    program = Program(case.int8_model)
    assert {spec.dtype for spec in (*program.inputs, *program.outputs)} == {np.dtype(np.int8)}
    assert [spec.shape for spec in program.outputs] == [out.shape for out in case.expected(case.samples[0])]


def test_outputs_have_scales_of_their_own(stage):
    logit, hidden = Program(stage.int8_model).outputs
    assert logit.scale != hidden.scale


def test_micro_equals_reference_bit_for_bit_and_xnnpack_is_close(case):
    engines = {engine: Program(case.int8_model, engine) for engine in ("litert", "reference", "tflm")}
    spec = engines["litert"].inputs[0]
    for sample in case.samples:
        raw = spec.quantise(tflite.channel_last(sample[None]))
        outputs = {engine: program(raw) for engine, program in engines.items()}
        for reference, micro, xnnpack in zip(*(outputs[e] for e in ("reference", "tflm", "litert")), strict=True):
            np.testing.assert_array_equal(reference, micro)
            assert np.abs(reference.astype(int) - xnnpack.astype(int)).max() <= 3


def test_quantised_outputs_follow_the_float_ones_over_their_whole_range(case):
    program = Program(case.int8_model, "tflm")
    errors, sizes = [], []
    for sample in case.samples:
        result = program(program.inputs[0].quantise(tflite.channel_last(sample[None])))
        for spec, raw, expected in zip(program.outputs, result, case.expected(sample), strict=True):
            errors.append(np.abs(spec.dequantise(raw) - expected).max())
            sizes.append(np.abs(expected).max())
    assert max(errors) < 0.06 * max(sizes)


def test_calibration_keeps_both_ends_of_a_logit_that_has_one_value_a_sample(stage):
    logits = [stage.expected(sample)[0].item() for sample in stage.samples]
    spec = Program(stage.int8_model).outputs[0]
    low, high = spec.dequantise(np.array([-128, 127], np.int8))
    assert low <= min(logits) + spec.scale and high >= max(logits) - spec.scale


def test_only_micro_reports_its_memory(stage):
    assert Program(stage.int8_model, "tflm").arena_bytes > 25 * 5 * 16
    assert Program(stage.int8_model, "reference").arena_bytes is None


def test_heads_and_adaptive_pooling_become_operators_that_every_engine_runs_alike(tail):
    assert flatbuffer.operator_names(tail.int8_model) == (
        "CONV_2D",
        "DEPTHWISE_CONV_2D",
        "DEPTHWISE_CONV_2D",
        "CONV_2D",
        "RESHAPE",
    )


def test_a_failed_conversion_says_why_and_restores_the_terminal(capfd):
    class Unknown(nn.Module):
        def forward(self, x):
            return torch.linalg.svdvals(x)

    with pytest.raises(ToolError, match=r"(?s)conversion to \.tflite failed.*svd"):
        tflite.convert(Unknown(), torch.randn(1, 4, 4))
    os.write(1, b"still here")
    assert gc.isenabled()
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("still here", "")


def test_programs_and_quantiser_are_silent(stage, capfd):
    Program(stage.int8_model, "litert").invoke()
    tflite.quantise(stage.float_model, tflite.channel_last(stage.samples[:2]))
    assert capfd.readouterr() == ("", "")


def test_wrong_engine_input_and_samples_are_refused(stage):
    with pytest.raises(ValueError, match="unknown engine 'tpu'"):
        Program(stage.int8_model, "tpu")
    with pytest.raises(ValueError, match=r"int8 \[1, 49, 10, 1\], found float32 \[1, 1, 49, 10\]"):
        Program(stage.int8_model)(stage.samples[:1])
    with pytest.raises(ValueError, match=r"\[n, 49, 10, 1\]"):
        tflite.quantise(stage.float_model, stage.samples)
    with pytest.raises(ToolError, match="loading a model"):
        Program(b"not a model")


def test_spec_rounds_halves_away_from_zero_and_saturates():
    spec = TensorSpec("x", (4,), np.dtype(np.int8), scale=0.5, zero_point=0)
    assert spec.quantise(np.array([0.25, -0.25, 1e3, -1e3])).tolist() == [1, -1, 127, -128]
    plain = TensorSpec("x", (1,), np.dtype(np.float32), scale=0.0, zero_point=0)
    assert plain.dequantise(plain.quantise(np.array([0.3]))).tolist() == pytest.approx([0.3])
