"""Tests that a bundle's stages by hops equal its stages on whole windows bit for bit, whatever gates did before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatesearch.compile.tflite import channel_last
from gatesearch.export.hop_verify import verify_hops
from gatesearch.runtime.bundle import Bundle
from gatesearch.runtime.cascade import Array, requantise
from gatesearch.runtime.hop_chain import HopChain
from tests.export.hop_model import BEHIND_THE_POOLING, FRAMES, TWO_GATES, export_by_hops
from tests.schema_checks import check_document

# For each hop, the number of gates that it passes.
HISTORIES = st.lists(st.integers(0, 2), min_size=1, max_size=12)
SETTINGS = settings(max_examples=30, deadline=None)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return export_by_hops(tmp_path_factory.mktemp("hops") / "bundle")


@pytest.fixture(scope="module")
def phased(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    # A hop of one frame is half the stride of the stem. So hops take turns with two states, the phases.
    return export_by_hops(tmp_path_factory.mktemp("phases") / "bundle", hop=1, phases=2)


def window_outputs(bundle: Bundle, raw: Array, stages: int) -> Iterator[tuple[Array, ...]]:
    """Yield the outputs of the first stages on a whole window."""
    for k in range(stages):
        program = bundle.programs[k]
        outputs = program(np.ascontiguousarray(raw))
        yield outputs
        if k + 1 < len(bundle.programs):
            raw = requantise(outputs[0], program.outputs[0], bundle.programs[k + 1].inputs[0])


def check_history(bundle: Bundle, history: list[int], seed: int) -> list[int]:
    """Compare each hop with its whole window; return how often each stage caught up."""
    chain, hop_frames = HopChain(bundle), bundle.manifest["hops"]["hop"]
    stages = len(bundle.programs)
    noise = np.random.default_rng(seed).normal(0, 1.5, (1, 1, FRAMES + hop_frames * len(history), 10))
    raw = bundle.programs[0].inputs[0].quantise(channel_last(noise))
    for hop, passed in enumerate([stages - 1, *history]):
        window = raw[:, hop * hop_frames :][:, :FRAMES]
        chain.take(window if hop == 0 else window[:, -hop_frames:])
        runs = min(passed + 1, stages)
        for k, expected in enumerate(window_outputs(bundle, window, runs)):
            for got, whole in zip(chain.run(k), expected, strict=True):
                np.testing.assert_array_equal(got, whole[:, -got.shape[1] :] if got.ndim == 4 else whole)
        chain.close(runs)
    return chain.catch_ups


@SETTINGS
@given(HISTORIES, st.integers(0, 99))
def test_every_hop_equals_its_window_after_any_history_of_gates(bundle, history, seed):
    catch_ups = check_history(bundle, history, seed)
    open_hops = [[min(passed, 2) >= k for passed in [2, *history]] for k in range(3)]
    openings = [sum(now and not before for before, now in zip([False, *row], row, strict=False)) for row in open_hops]
    assert catch_ups == openings


@SETTINGS
@given(HISTORIES, st.integers(0, 99))
def test_phases_take_turns_where_a_stride_does_not_divide_the_hop(phased, history, seed):
    check_history(phased, history, seed)


def test_a_stage_behind_the_pooling_runs_whole_and_the_manifest_says_so(tmp_path: Path) -> None:
    bundle = export_by_hops(tmp_path / "bundle", BEHIND_THE_POOLING)
    assert bundle.manifest["stages"][1]["hops"] is None
    assert check_history(bundle, [1, 0, 1, 1, 0], 3) == [1, 0]


def test_the_manifest_describes_the_programs_and_their_state(bundle: Bundle) -> None:
    manifest = bundle.manifest
    check_document("manifest", bundle.folder / "manifest.json")
    assert manifest["hops"] == {"window": 49, "hop": 2, "phases": 1}
    for stage, program, hops in zip(manifest["stages"], bundle.programs, bundle.hop_programs(), strict=True):
        entry = stage["hops"]
        assert hops is not None and (entry["axis"], entry["fresh"]) == (1, hops.step.inputs[0].shape[1])
        assert entry["window"] == program.inputs[0].shape[1]
        states = [(tuple(row["shape"]), row["scale"], row["zero_point"]) for row in entry["state"]]
        assert states == [(spec.shape, spec.scale, spec.zero_point) for spec in hops.step.inputs[1:]]
        # The step quantises its outputs with the same scale and zero point as the program on whole windows.
        for spec, whole in zip(hops.step.outputs, program.outputs, strict=False):
            assert (spec.scale, spec.zero_point) == (whole.scale, whole.zero_point)
    assert [stage["core"] for stage in manifest["stages"]] == list(TWO_GATES.cores)


def test_verification_compares_hops_with_windows_and_counts_what_differs(bundle: Bundle) -> None:
    windows = np.random.default_rng(4).normal(0, 1.5, (1, FRAMES + 2 * 40, 10)).astype(np.float32)
    stream = np.stack([windows[:, first : first + FRAMES] for first in range(0, 2 * 40 + 1, 2)])
    parity = verify_hops(bundle, stream)
    assert (parity.hops, parity.differences) == (41, 0) and parity.openings > 5
    shuffled = verify_hops(
        bundle, stream[np.random.default_rng(5).permutation(41)]
    )  # shuffled windows do not overlap, so they form no stream
    assert shuffled.differences > 0 and "differ" in shuffled.describe()
