"""Tests that shipped backbones pass the conformance suite, which names each broken promise."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gatesearch._lib.plugins import plugin_names
from gatesearch.backbones import build
from gatesearch.testing.backbones import BackboneConformance

FRAMES, WAVE = (1, 12, 6), (1, 256, 1)
SHIPPED: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "codec": (WAVE, {"width": 4, "strides": [2, 4], "dimension": 6, "levels": 2, "codes": 8}),
    "ds_cnn": (FRAMES, {"width": 4, "blocks": 1}),
    "har_bilstm": ((9, 6), {"hidden": 5}),
    "kws_gru": (FRAMES, {"hidden": 5}),
    "kws_lstm": (FRAMES, {"hidden": 5}),
    "kwt": (FRAMES, {"width": 8, "blocks": 1, "heads": 2}),
    "m_cifarnet": ((1, 8, 8), {"width": 0.0625}),
    "resnet20": ((3, 8, 8), {"width": 2}),
}


@pytest.mark.parametrize("name", SHIPPED)
class TestShipped(BackboneConformance):
    @pytest.fixture(autouse=True)
    def choose(self, name: str) -> None:
        self.name = name
        self.input_shape, self.arguments = SHIPPED[name]
        self.outputs = WAVE if name == "codec" else 3

    def build(self) -> nn.Module:
        return build(self.name, num_classes=3, input_shape=tuple(self.input_shape), args=self.arguments)


def test_the_suite_covers_every_shipped_backbone() -> None:
    assert set(SHIPPED) == set(plugin_names("gatesearch.backbones"))


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.relu, self.last = nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.last(self.relu(self.first(inputs)))


class Random(Plain):
    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(F.dropout(inputs, 0.5, training=True))


class InPlace(Plain):
    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs.add_(1))


class Hidden(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("shift", torch.randn(4), persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs + self.shift)


class Infinite(Plain):
    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs) / 0


SHARED = Plain()


@pytest.mark.parametrize(
    ("factory", "test", "message"),
    [
        (lambda: SHARED, "test_models_share_no_parameters", "share parameters"),
        (Random, "test_evaluation_is_deterministic", "two answers"),
        (InPlace, "test_evaluation_is_deterministic", "in place|two answers"),
        (Hidden, "test_state_dict_holds_the_whole_state", "does not hold all"),
        (Infinite, "test_gradients_are_finite", "is not finite"),
        (lambda: nn.Linear(4, 3), "test_tracing_leaves_the_model_as_it_is", "no cut site but its input"),
    ],
)
def test_a_broken_promise_is_named(factory: Any, test: str, message: str) -> None:
    suite = BackboneConformance()
    suite.input_shape, suite.outputs, suite.build = (4,), 3, factory  # type: ignore[method-assign]
    with pytest.raises(AssertionError, match=message):
        getattr(suite, test)()
