"""The conformance suite of exporters: tests of the promises that an exporter has to keep.

An exporter is a plug-in that writes a stage in a file format.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from gatesearch.devices.profile import load
from gatesearch.export.compiled import CompiledStage, compile_stages
from gatesearch.export.exporters import Exporter, exporter
from gatesearch.model import GatedModel
from gatesearch.plan import GatePlan

# Largest error of an output: this value plus this share of the largest output. A share of 5 % is about as much as a few
# quantisation steps of int8.
TOLERANCE = 0.05


class ExporterConformance:
    """Tests the promises of an exporter. In your own tests, derive a class that names the exporter::

    class TestMyFormat(ExporterConformance):
        exporter = MyFormat
        device, core = "three_core", "app"  # a core that runs the format

    Attributes:
        exporter: the class of the exporter.
        device: name of a shipped device profile, or the path of a profile.
        core: a core of the device that runs the format.
    """

    exporter: ClassVar[type[Exporter]]
    device: ClassVar[str] = "three_core"
    core: ClassVar[str] = "app"

    @pytest.fixture(scope="class")
    def stage(self) -> CompiledStage:
        """Return the compiled stage of a small network on the core."""
        torch.manual_seed(0)
        layers = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(4), nn.Flatten(), nn.Linear(16, 3)]
        model = GatedModel(nn.Sequential(*layers).eval(), GatePlan((), (self.core,)), (), 3)
        [stage] = compile_stages(model, torch.randn(32, 1, 10, 10), load(self.device))
        return stage

    def test_it_is_found_by_its_name(self) -> None:
        """The entry point has the exporter's own name."""
        assert isinstance(exporter(self.exporter.name), self.exporter)

    def test_its_suffix_ends_a_file_name(self) -> None:
        """The suffix contains its dot, and no slash."""
        assert "." in self.exporter.suffix and "/" not in self.exporter.suffix

    def test_a_stage_has_one_file(self, stage: CompiledStage) -> None:
        """An exporter writes the same bytes for the same stage."""
        form = self.exporter()
        blob = form.write(stage)
        assert blob and form.write(stage) == blob

    def test_the_file_computes_what_the_stage_computes(self, stage: CompiledStage) -> None:
        """If the machine of the test runs the format, the file's outputs equal the stage's outputs up to rounding."""
        form = self.exporter()
        blob = form.write(stage)
        for sample in stage.graph.samples[:8].split(1):
            outputs = form.run(blob, sample.numpy())
            if outputs is None:
                pytest.skip(f"this host does not run {form.name}")
            with torch.no_grad():
                expected = stage.graph.program(sample).numpy()
            np.testing.assert_allclose(outputs[0], expected, atol=TOLERANCE * float(np.abs(expected).max()) + TOLERANCE)
