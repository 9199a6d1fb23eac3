"""Every shipped front end passes the conformance suite, and the suite names each broken requirement."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from gatesearch._lib.plugins import plugin_names
from gatesearch.frontends import Frontend
from gatesearch.frontends.grid import FEATURE_SCALE
from gatesearch.testing.frontends import FrontendConformance


def clips() -> Tensor:
    return (3000 * torch.randn(6, 4000)).short()


def images() -> Tensor:
    return torch.randint(256, (6, 3, 8, 8), dtype=torch.uint8)


def windows() -> Tensor:
    return 5 * torch.randn(6, 20, 3) + 2


SHIPPED: dict[str, tuple[Callable[[], Tensor], dict[str, Any]]] = {
    "identity": (images, {}),
    "image": (images, {}),
    "log_mel": (clips, {"seconds": 0.25}),
    "mfcc": (clips, {"seconds": 0.25, "coefficients": 8}),
    "micro": (clips, {"seconds": 0.25}),
    "sequence": (windows, {"average": 3}),
    "wave": (clips, {}),
}


@pytest.mark.parametrize("shipped", SHIPPED)
class TestShipped(FrontendConformance):
    tolerance = FEATURE_SCALE

    @pytest.fixture(autouse=True)
    def choose(self, shipped: str) -> None:
        self.name = shipped
        self.make_inputs, self.arguments = SHIPPED[shipped]

    def inputs(self) -> Tensor:
        return self.make_inputs()


def test_the_suite_covers_every_shipped_front_end() -> None:
    assert set(SHIPPED) == set(plugin_names("gatesearch.frontends"))


class Mean(Frontend):
    """A front end that subtracts the mean of the training split; the tests name it by its import path."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = torch.zeros(())

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs - self.mean

    def fit(self, inputs: Tensor) -> Mean:
        super().fit(inputs)
        self.mean = inputs.mean()
        return self

    def describe_fit(self) -> dict[str, Any]:
        return {"mean": float(self.mean)}

    def restore_fit(self, description: Any) -> None:
        super().restore_fit(description)
        self.mean = torch.tensor(description["mean"])


class Forgetful(Mean):
    def restore_fit(self, description: Any) -> None:
        super().restore_fit({**description, "mean": 0.0})


class OverTheBatch(Mean):
    def forward(self, inputs: Tensor) -> Tensor:
        return inputs - inputs.mean(0)


class Integers(Mean):
    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.int()


class OutOfRange(Mean):
    output_range = (-0.5, 0.5)  # type: ignore[assignment]


class HalfMacs(Mean):
    def macs(self) -> int:
        return 0.5  # type: ignore[return-value]


class Alone(Mean):
    def fit(self, inputs: Tensor) -> Mean:
        super().fit(inputs)
        return None  # type: ignore[return-value]


def suite_of(frontend: type[Frontend]) -> FrontendConformance:
    class Suite(FrontendConformance):
        name = f"{__name__}:{frontend.__name__}"

        def inputs(self) -> Tensor:
            return torch.randn(8, 5) + 1

    return Suite()


def test_a_front_end_named_by_import_path_conforms() -> None:
    suite = suite_of(Mean)
    for name in dir(suite):
        if name.startswith("test_"):
            getattr(suite, name)()


@pytest.mark.parametrize(
    ("frontend", "test", "message"),
    [
        (Forgetful, "test_a_description_restores_it_bit_for_bit", "does not restore the same features"),
        (OverTheBatch, "test_features_depend_on_their_own_sample_alone", "depend on the rest of its batch"),
        (Integers, "test_features_have_the_output_shape_and_range", "not float"),
        (OutOfRange, "test_features_have_the_output_shape_and_range", "leave the output range"),
        (HalfMacs, "test_macs_are_a_count", "not a count"),
        (Alone, "test_fit_returns_the_front_end_and_leaves_samples_as_they_are", "must return the front end"),
    ],
)
def test_the_suite_names_a_broken_promise(frontend: type[Frontend], test: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        getattr(suite_of(frontend), test)()
