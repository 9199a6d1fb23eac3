"""Settings and fixtures for all tests: hypothesis, a configuration folder, and small features."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from gatesearch.training import Features

# PyTorch reads this variable when it is imported. The tensors of the tests are so small that several threads would
# mostly wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# The examples of hypothesis may be slow, because other programs may use the machine.
settings.register_profile(
    "patient",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize="CI" in os.environ,  # same examples in each CI run: only changed code can fail
)
settings.load_profile("patient")


@pytest.fixture(scope="session", autouse=True)
def configuration(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give the tests a configuration folder of their own; it holds the key that marks the user's run folders."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("configuration")))
        yield


@pytest.fixture(scope="module")
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield a working folder for all tests of a file, with a cache of its own, so that the tests share cost tables."""
    from tests.places import working_in  # not at the top of the module, because it imports torch

    folder = tmp_path_factory.mktemp(request.module.__name__.removeprefix("test_"))
    with working_in(folder):
        yield folder


@pytest.fixture
def features() -> Features:
    """Return small feature maps of three classes, the first one positive; each training sample has two versions."""
    import torch  # not at the top of the module, so that tests without torch do not wait for it

    from gatesearch.training import Features, FeatureSplit

    generator = torch.Generator().manual_seed(0)

    def split(count: int) -> FeatureSplit:
        labels = torch.arange(count) % 3
        means = torch.randn(3, 1, 12, 6, generator=torch.Generator().manual_seed(1))
        return FeatureSplit(means[labels] + torch.randn(count, 1, 12, 6, generator=generator), labels, labels)

    train = split(96)
    noisy = train.features + 0.1 * torch.randn(train.features.shape, generator=generator)
    return Features(
        bank=torch.stack([train.features, noisy], 1),
        labels=train.labels,
        train=train,
        validation=split(60),
        test=split(60),
        positive=torch.tensor([True, False, False]),
        kind_names=("positive", "unknown", "silence"),
    )
