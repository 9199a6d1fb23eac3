"""Tests of what is said before the first training: streams too short for a claim, gates that need whole windows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import gatesearch
from gatesearch._lib import console
from gatesearch.errors import UserError
from gatesearch.graph.sites import cut_sites, layer_sites
from gatesearch.metrics.streams import hours_for
from gatesearch.pipeline import run as pipeline_run
from gatesearch.pipeline.stream_checks import check_gates_by_hops, check_sites
from gatesearch.search.space import Space
from gatesearch.search.space_builder import build_space
from tests.training.test_detection import data

BY_LAYER, BETWEEN = ("fbs", "pg"), ("gc",)


class ProblemLoadedError(Exception):
    """Raised in place of the first step behind the loading of a problem."""


@pytest.fixture
def first_lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Yield the warnings of a run that ends as soon as its problem is loaded."""

    def stop(*_: object) -> None:
        raise ProblemLoadedError

    monkeypatch.setattr(pipeline_run, "dry_run", stop)
    with console.collect_warnings() as lines:
        yield lines


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Unflatten(1, (1, 10, 5)),
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 2),
    )


def test_streams_too_short_for_the_claim_are_named_before_the_training(tmp_path, first_lines: list[str]) -> None:
    with pytest.raises(ProblemLoadedError):
        stream = {"fa_per_hour": 0.5}
        gatesearch.run(network(), data(), out=tmp_path / "run", goal="detection", space="kws_gc", stream=stream)
    for name in ("validation", "test"):
        [line] = [each for each in first_lines if each.startswith(f"{name} stream: ")]
        assert "0.0333 h of stream is too short to claim 0.5 false accepts an hour" in line, line
        assert f"the claim needs {hours_for(0.5):.3g} h" in line


def space_of(kinds: list[str]) -> Space:
    example = torch.zeros(1, 50)
    backbone = network()
    return build_space(
        cut_sites(backbone, example), ["cpu"], {kind: {} for kind in kinds}, layer_sites=layer_sites(backbone, example)
    )


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from(BY_LAYER + BETWEEN), min_size=1, unique=True))
def test_gates_that_need_whole_windows_are_named(kinds: list[str]) -> None:
    space = space_of(kinds)
    needing = [kind for kind in kinds if kind in BY_LAYER]
    with console.collect_warnings() as lines:
        if needing and len(needing) == len(kinds):
            with pytest.raises(UserError) as caught:
                check_gates_by_hops(space)
            assert str(caught.value).endswith("write stream.by=windows, or add a gate between layers, such as gc")
            lines = [str(caught.value)]
        else:
            check_gates_by_hops(space)
    assert len(lines) == bool(needing)
    assert all(f"space.kinds.{kind}" in line for kind in needing for line in lines)


def test_a_space_whose_gates_fit_no_site_is_refused() -> None:
    with pytest.raises(UserError, match=r"space\.kinds: no gate of level can go at a site of this network"):
        check_sites(space_of(["level"]), ["level"])
    check_sites(space_of([]), [])
    check_sites(space_of(["gc", "level"]), ["gc", "level"])
