"""Tests of how a dry run prepares an untrained model for its export."""

from __future__ import annotations

import math

import pytest
import torch

from gatesearch.backbones.codec import Codec
from gatesearch.export import dry_export
from gatesearch.graph.sites import cut_sites
from gatesearch.model import GatedModel
from gatesearch.plan import GatePlan, PlacedGate

SHAPE = (1, 256, 1)


@pytest.mark.parametrize("width", [0.25, 0.5, 1.0])
def test_values_that_only_training_sets_are_made_finite_for_the_dry_export(width: float) -> None:
    torch.manual_seed(0)
    backbone, samples = Codec(SHAPE, width=8, strides=(4, 4), dimension=8, levels=2, codes=16), torch.randn(4, *SHAPE)
    plan = GatePlan((PlacedGate.of("dsl", "quantiser", share=0.5, width=width, keep=0.5),), ("host", "host"))
    model = GatedModel(backbone, plan, cut_sites(backbone, samples[:1]), SHAPE)
    assert math.isnan(model.gates[0].q)
    dry_export.prepare_untrained(model, samples)
    assert not any(value.isnan().any() for value in model.state_dict().values())
    assert model.gates[0].theta == -math.inf  # a huge finite number in its place would have no int8 scale
