"""Tests that stages with C kernels agree with the model, with or without a C compiler.

Such a stage consists of parts: programs of ordinary operators, and kernels between them. The layer gates are feature
boosting and suppression (``fbs``), precision gating (``pg``), both in one (``fbs_pg``), hybrid matrix decomposition
(``hmd``) and low-rank matrix factorisation (``lmf``).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gatesearch import kernels
from gatesearch.compile.tflite import channel_last
from gatesearch.devices import profile
from gatesearch.errors import UserError
from gatesearch.export.bundle import artifacts, write_bundle
from gatesearch.graph.sites import cut_sites, layer_sites
from gatesearch.kernels import native
from gatesearch.model import GatedModel
from gatesearch.plan import GatePlan, PlacedGate
from gatesearch.runtime.bundle import Bundle
from gatesearch.runtime.parts_program import PartsProgram
from gatesearch.runtime.program import Program
from gatesearch.training import FeatureSplit

pytestmark = pytest.mark.skipif(native.load() is None, reason="no C compiler")
CLASSES = ("a", "b", "none")
POSITIVE = torch.tensor([True, True, False])


class Residual(nn.Module):
    """A network with a stem, a residual block of two convolutions, pooling and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32)
        self.first, self.between = nn.Conv2d(32, 48, 3, 2, padding=1, bias=False), nn.BatchNorm2d(48)
        self.second, self.behind = nn.Conv2d(48, 48, 3, padding=1, bias=False), nn.BatchNorm2d(48)
        self.shortcut = nn.Conv2d(32, 48, 1, 2)
        self.relu0, self.relu1, self.relu2 = nn.ReLU(), nn.ReLU(), nn.ReLU()
        self.pool, self.flatten, self.last = nn.AvgPool2d(4), nn.Flatten(), nn.Linear(48, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Map images [N, 3, 8, 8] to logits [N, 3]."""
        x = self.relu0(self.norm(self.stem(x)))
        y = self.relu1(self.between(self.first(x)))
        y = self.relu2(self.behind(self.second(y)) + self.shortcut(x))
        return self.last(self.flatten(self.pool(y)))


class Sequence(nn.Module):
    """Two recurrent layers, and a linear layer that reads the last step."""

    def __init__(self, cell: type[nn.RNNBase], both: bool) -> None:
        super().__init__()
        self.rnn = cell(6, 24, num_layers=2, batch_first=True, bidirectional=both)
        self.last = nn.Linear(48 if both else 24, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, 11, 6] to logits [N, 3]."""
        states, _ = self.rnn(x)
        return self.last(states[:, -1])


class Case(NamedTuple):
    net: Callable[[], nn.Module]
    shape: tuple[int, ...]
    gates: tuple[PlacedGate, ...]
    kernels: tuple[str | None, ...]  # kernel of each part in order; None for a program


PG = {"bits": 8, "high_bits": 4, "weight_bits": 7}
WIDE = {"bits": 8, "high_bits": 4}  # weights also have 8 bits
HMD = PlacedGate.of("hmd", "rnn", factor=2)
LMF = PlacedGate.of("lmf", "rnn", factor=2)
CUT = PlacedGate.of("gc", "relu0", mode="channel", keep=0.5, recall=0.9)
CASES = {
    "one after the other": Case(
        Residual, (3, 8, 8),
        tuple(PlacedGate.of("fbs", site, density=0.5, block=16) for site in ("first", "second")),
        (None, "fbs", "fbs", None),
    ),
    "a shortcut around": Case(
        Residual, (3, 8, 8), (PlacedGate.of("fbs", "second", density=0.6, block=16),), (None, "fbs", None)
    ),
    "in front of all": Case(Residual, (3, 8, 8), (PlacedGate.of("fbs", "stem", density=0.5, block=16),), ("fbs", None)),
    "in levels": Case(
        Residual, (3, 8, 8),
        (PlacedGate.of("pg", "first", mask="m2-16", **PG), PlacedGate.of("pg", "second", mask="3d", **PG)),
        (None, "pg", "pg", None),
    ),
    "mixed, one without a kernel": Case(
        Residual, (3, 8, 8),
        (PlacedGate.of("fbs", "first", density=0.4, block=16), PlacedGate.of("pg", "second", mask="3d", bits=16)),
        (None, "fbs", None),
    ),
    "single channels": Case(
        Residual, (3, 8, 8),
        tuple(PlacedGate.of("fbs", site, density=0.5, block=1) for site in ("stem", "first", "second")),
        ("fbs_single", "fbs_single", "fbs_single", None),
    ),
    "single channels behind blocks": Case(
        Residual, (3, 8, 8),
        (PlacedGate.of("fbs", "first", density=0.6, block=16), PlacedGate.of("fbs", "second", density=0.5, block=1)),
        (None, "fbs", "fbs_single", None),
    ),
    "blocks behind single channels": Case(
        Residual, (3, 8, 8),
        (PlacedGate.of("fbs", "first", density=0.6, block=1), PlacedGate.of("fbs", "second", density=0.5, block=16)),
        (None, "fbs_single", "fbs", None),
    ),
    "both in one": Case(
        Residual, (3, 8, 8),
        (
            PlacedGate.of("fbs_pg", "stem", density=0.5, block=16, mask="m2-16", **WIDE),
            PlacedGate.of("fbs_pg", "first", density=0.5, block=1, mask="m2-16", **WIDE),
            PlacedGate.of("fbs_pg", "second", density=0.6, block=1, mask="3d", **WIDE),
        ),
        ("fbs_pg", "fbs_pg", "fbs_pg", None),
    ),
    "in levels of any sign": Case(
        Residual, (3, 8, 8),
        (PlacedGate.of("pg", "stem", mask="m1", **WIDE), PlacedGate.of("pg", "last", mask="3d", **WIDE)),
        ("pg", None, "pg", None),
    ),
    "behind a cut": Case(
        Residual, (3, 8, 8),
        (CUT, PlacedGate.of("pg", "first", mask="3d", bits=16), PlacedGate.of("pg", "second", mask="m1", **PG)),
        (None, "pg", None),
    ),
    "lstm": Case(lambda: Sequence(nn.LSTM, False), (11, 6), (HMD,), ("lstm", None)),
    "lstm, low rank": Case(lambda: Sequence(nn.LSTM, False), (11, 6), (LMF,), ("lstm_lmf", None)),
    "lstm without a gate": Case(lambda: Sequence(nn.LSTM, False), (11, 6), (), ("lstm", None)),
    "gru without a gate, both ways": Case(lambda: Sequence(nn.GRU, True), (11, 6), (), ("gru", None)),
    "gru, both ways": Case(lambda: Sequence(nn.GRU, True), (11, 6), (HMD,), ("gru", None)),
}  # fmt: skip


def inputs(shape: tuple[int, ...], count: int, seed: int) -> Tensor:
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))


SHORT = (
    "one after the other",
    "both in one",
    "behind a cut",
    "gru, both ways",
    "lstm without a gate",
)  # the other cases are marked slow, because conversions take seconds


class Exported(NamedTuple):
    model: GatedModel
    folder: Path
    manifest: dict[str, Any]

    @property
    def stage(self) -> dict[str, Any]:
        return self.manifest["stages"][-1]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Exported]:
    """A function that returns the bundle of a named case; each is written once, as a conversion takes a second."""
    result: dict[str, Exported] = {}

    def export_case(name: str) -> Exported:
        if name not in result:
            case = CASES[name]
            torch.manual_seed(1)
            backbone, x = case.net(), inputs(case.shape, 48, 1)
            cuts = sum(gate.kind == "gc" for gate in case.gates)
            plan = GatePlan(case.gates, ("host",) * (cuts + 1))
            model = GatedModel(backbone, plan, cut_sites(backbone, x[:1]), 3, layers=layer_sites(backbone, x[:1]))
            for _ in range(2):  # sets the statistics of normalisations and the ranges of quantisers
                model.train()(x)
            split = FeatureSplit(x, torch.arange(48) % 3, (torch.arange(48) % 3 == 2).long())
            folder = tmp_path_factory.mktemp("parts") / "bundle"
            manifest = write_bundle(
                folder, model.eval(), profile.load("host"), x[:16], split, POSITIVE,
                formats=["tflite"], classes=CLASSES, about={},
            )  # fmt: skip
            result[name] = Exported(model, folder, manifest)
        return result[name]

    return export_case


@pytest.mark.parametrize(
    "name", [*SHORT, *(pytest.param(name, marks=pytest.mark.slow) for name in sorted(set(CASES) - set(SHORT)))]
)
def test_parts_agree_with_the_model(exported: Callable[[str], Exported], name: str) -> None:
    result, case = exported(name), CASES[name]
    assert tuple(part["kernel"] for part in result.stage["parts"]) == case.kernels
    loaded, floor = Bundle(result.folder), result.stage["logit_offset"]
    last = loaded.programs[-1]
    assert isinstance(last, PartsProgram)
    x = inputs(case.shape, 20, 2)
    body = result.model.stages[-1]
    if len(result.model.gates):  # the activations that pass the cut, in float, because the stage before is in int8
        with torch.no_grad():
            full = result.model.gate(0)(result.model.stages[0](x)).passed
        remaining = full[:, result.manifest["stages"][0]["channels"]]
    else:
        full = remaining = x
    with torch.no_grad():
        expected = body(full).clamp(min=floor).numpy()
    outputs = np.array([last(channel_last(one[None].numpy()))[0][0] + floor for one in remaining])
    assert np.ptp(expected, axis=0).max() > 0.01
    same = np.isclose(outputs, expected, rtol=1e-4, atol=2e-4).all(1)
    assert same.mean() >= 0.95  # where two blocks are equally strong, rounding decides which one wins


def test_a_stage_runs_again_and_again_with_the_same_answer(exported: Callable[[str], Exported]) -> None:
    """Parts share buffers, so a window could leave values for the next one."""
    result = exported("one after the other")
    loaded, windows = Bundle(result.folder), inputs((3, 8, 8), 6, 3).numpy()
    first = [loaded(window).logits for window in windows]
    assert np.ptp(np.array(first), axis=0).max() > 1e-3
    for window, before in zip(windows[::-1], first[::-1], strict=True):
        np.testing.assert_array_equal(loaded(window).logits, before)


def test_a_layer_without_a_kernel_is_named_as_one_that_the_reference_runs(exported: Callable[[str], Exported]) -> None:
    stage = exported("behind a cut").stage
    assert {layer["site"]: layer["runs"] for layer in stage["gated_layers"]} == {"first": "reference", "second": "pg"}


def test_a_kernel_reads_only_the_blocks_that_the_one_before_computed(exported: Callable[[str], Exported]) -> None:
    [_, first, second, _] = exported("one after the other").stage["parts"]
    assert (first["source"], second["source"]) == (None, 1)
    assert (first["whole"], second["whole"]) == (False, True)


def test_channels_that_win_singly_are_read_singly(exported: Callable[[str], Exported]) -> None:
    first, second, third, _ = exported("both in one").stage["parts"]
    # The shortcut also reads the first part's output, so the second part reads all of it. The third part reads only the
    # channels that the second one computed.
    assert (first["source"], second["source"], third["source"]) == (None, None, 1)
    assert (first["whole"], second["whole"], third["whole"]) == (True, False, True)


def test_without_a_compiler_the_reference_runs(
    exported: Callable[[str], Exported], monkeypatch: pytest.MonkeyPatch
) -> None:
    result = exported("one after the other")
    with_kernels = Bundle(result.folder)
    monkeypatch.setattr(native, "load", lambda: None)
    without = Bundle(result.folder)
    assert isinstance(without.programs[0], Program)
    for window in inputs((3, 8, 8), 5, 4).numpy():
        np.testing.assert_allclose(without(window).logits, with_kernels(window).logits, rtol=1e-4, atol=1e-4)


def test_other_engines_run_the_reference(exported: Callable[[str], Exported]) -> None:
    loaded = Bundle(exported("one after the other").folder, {"host": "reference"})
    assert isinstance(loaded.programs[0], Program)


def test_a_part_that_was_changed_is_refused(exported: Callable[[str], Exported], tmp_path: Path) -> None:
    import shutil

    shutil.copytree(exported("gru, both ways").folder, tmp_path / "copy")
    [changed] = (tmp_path / "copy" / "host").glob("*.npz")
    changed.write_bytes(changed.read_bytes() + b"x")
    with pytest.raises(UserError, match="sha256"):
        Bundle(tmp_path / "copy")


def test_the_input_of_a_stage_in_parts_is_checked(exported: Callable[[str], Exported]) -> None:
    loaded = Bundle(exported("gru, both ways").folder)
    with pytest.raises(ValueError, match="input must be float32"):
        loaded.run(np.zeros((1, 3), np.float32))


def test_every_artifact_is_in_the_manifest(exported: Callable[[str], Exported]) -> None:
    result = exported("behind a cut")
    manifest = json.loads((result.folder / "manifest.json").read_text())
    named = {artifact["path"] for artifact in artifacts(manifest)}
    on_disk = {str(p.relative_to(result.folder)) for p in result.folder.rglob("*") if p.is_file()} - {"manifest.json"}
    assert named == on_disk


def test_values_of_a_program_are_where_it_reads_and_writes_them() -> None:
    from gatesearch.compile.tflite import convert

    class Two(nn.Module):
        def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
            return a + 2 * b, a - b

    a, b = torch.rand(1, 2, 3, 3), torch.rand(1, 2, 3, 3)
    program = Program(convert(Two(), (a, b)))
    (into_a, into_b), (total, difference) = program.memory()
    into_a[...], into_b[...] = channel_last(a.numpy()), channel_last(b.numpy())
    program.invoke()
    np.testing.assert_allclose(total, channel_last((a + 2 * b).numpy()), rtol=1e-6)
    np.testing.assert_allclose(difference, channel_last((a - b).numpy()), rtol=1e-5, atol=1e-6)
    assert kernels.status()
