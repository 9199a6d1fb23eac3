"""Tests of the warnings about a bundle that saves less than its plan promises."""

from __future__ import annotations

from typing import Any

from gatesearch.export.shortcomings import shortcomings


def stage(core: str, size: int, *formats: str, **about: Any) -> dict[str, Any]:
    artifacts = [{"format": name} for name in formats]
    return {"core": core, "program": {"bytes": size}, "artifacts": artifacts, "gate": None, **about}


def test_a_bundle_without_shortcomings_gives_no_line() -> None:
    manifest = {"stages": [stage("mcu", 300, "tflite"), stage("app", 200, "tflite", "onnx")]}
    assert shortcomings(manifest, ["tflite", "onnx"], 500) == []


def test_more_bytes_than_the_ungated_program_are_named() -> None:
    light = {"exit": {"program": {"bytes": 400}}}
    parts = [{"program": {"bytes": 70}}, {"program": {"bytes": 30}}]
    manifest = {"stages": [stage("mcu", 300, "tflite", gate=light), stage("app", 900, "tflite", parts=parts)]}
    assert shortcomings(manifest, ["tflite"], 800) == []
    assert shortcomings(manifest, ["tflite"], 500) == [
        "the bundle's programs have 800 bytes, 1.60 times those of the ungated backbone, 500"
    ]


def test_layers_that_are_computed_in_full_and_formats_without_a_file_are_named() -> None:
    gates = [{"site": "a", "runs": "reference"}, {"site": "b", "runs": "pg"}, {"site": "c", "runs": "reference"}]
    manifest = {"stages": [stage("mcu", 1, "tflite", gated_layers=gates)]}
    assert shortcomings(manifest, ["tflite", "onnx"], 5) == [
        "mcu: the program computes a, c in full and masks; only a kernel would skip work",
        "no onnx file is written: no core of this plan (mcu) runs onnx",
    ]
