"""Tests that every shipped exporter passes the conformance suite."""

from __future__ import annotations

from gatesearch.export.shipped import ONNX, TFLite, Vela
from gatesearch.testing.exporters import ExporterConformance


class TestTFLite(ExporterConformance):
    exporter = TFLite


class TestONNX(ExporterConformance):
    exporter = ONNX


class TestVela(ExporterConformance):
    exporter, core = Vela, "npu"
