"""Tests that the dry run refuses, before the first training, networks and gates that cannot be exported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gatesearch import recipe
from gatesearch._lib.console import collect_warnings
from gatesearch.cli import app
from gatesearch.errors import UserError
from gatesearch.export import dry_export
from gatesearch.gates.gc.modes import ActivationGC
from gatesearch.pipeline.dry_run import dry_run
from gatesearch.pipeline.problem import Problem, load_problem
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.search.reduced_space import Variant, variants_of, without_variants
from tests import tones

BOTH_MODES = ("space.kinds.gc.mode=[channel,activation]", "augment=null")


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tones.write(tmp_path_factory.mktemp("dry") / "tones")


@pytest.fixture(scope="module")
def load(words: Path) -> Callable[..., Problem]:
    def load(*settings: str, backbone: str | None = None) -> Problem:
        loaded = recipe.load("kws_clips.yaml", [f"data.root={words}", *tones.TINY, *BOTH_MODES, *settings])
        if backbone is not None:
            space = loaded.space.model_copy(update={"sites": "all"})
            changes = {"backbone": f"{__name__}:{backbone}", "backbone_args": {}, "space": space}
            loaded = loaded.model_copy(update=changes)
        return load_problem(loaded)

    return load


class Net(nn.Module):
    """Two convolutions on the features of the tones; subclasses change what lies between them."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 6, 3, 2), nn.Conv2d(6, 8, 3, 2)
        self.extra = self.layer()
        self.head = nn.Linear(8, num_classes)

    def layer(self) -> nn.Module:
        return nn.ReLU()

    def middle(self, x: Tensor) -> Tensor:
        return self.extra(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.b(self.middle(self.a(x)))).mean((2, 3)))


# Each of the following networks has one part that an export might not support. REFUSED lists the networks that the dry
# run refuses, with the beginning of the message.
class RandomSlope(Net):
    def layer(self) -> nn.Module:
        return nn.RReLU()


class LocalNorm(Net):
    def layer(self) -> nn.Module:
        return nn.LocalResponseNorm(3)


class CrossMapNorm(Net):
    def layer(self) -> nn.Module:
        return nn.CrossMapLRN2d(3)


class FunctionalNorm(Net):
    def middle(self, x: Tensor) -> Tensor:
        return F.local_response_norm(x, 3)


class Product(Net):
    def layer(self) -> nn.Module:
        return nn.Bilinear(4, 4, 4)

    def middle(self, x: Tensor) -> Tensor:
        return self.extra(x, x)


class Ranks(Net):
    def middle(self, x: Tensor) -> Tensor:
        return x.sort(3).values


class Dilated(Net):
    def layer(self) -> nn.Module:
        return nn.MaxPool2d((2, 1), 1, dilation=(2, 1))


class AlwaysDrops(Net):
    def middle(self, x: Tensor) -> Tensor:
        return F.dropout(x, 0.5)


class TwoNames(Net):
    def middle(self, x: Tensor) -> Tensor:
        same = x
        x += 1.0
        return same * x


class Normed(Net):
    def layer(self) -> nn.Module:
        return nn.utils.parametrizations.weight_norm(nn.Conv2d(6, 6, 3, padding=1))


REFUSED = {
    "LocalNorm": r"'extra' \(LocalResponseNorm\) cannot be exported: .*; the nearest layer that can is nn.BatchNorm2d$",
    "CrossMapNorm": r"'extra' \(CrossMapLRN2d\) cannot be exported: .*; the nearest layer that can is nn.BatchNorm2d$",
    "FunctionalNorm": r"'local_response_norm' in its forward cannot be exported: .*; .* is nn.BatchNorm2d$",
    "Product": r"'extra' \(Bilinear\) cannot be exported: ",
    "Ranks": r"'sort' in its forward cannot be exported: .*SORT",
    "Dilated": r"'extra' \(MaxPool2d\) cannot be exported: quantisation to int8 failed",
    "AlwaysDrops": r"'dropout' gives another answer each time",
    "TwoNames": r"the traced graph of TwoNames computes something else than its forward",
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_network_that_cannot_be_exported_names_layer_and_reason(
    name: str, load: Callable[..., Problem], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=f"^backbone: {REFUSED[name]}") as error:
        dry_run(load(backbone=name), RunFolder(tmp_path))
    message = str(error.value)
    assert "\n" not in message and len(message) < 400 and "/site-packages/" not in message


def test_a_random_slope_is_exported_as_its_mean(load: Callable[..., Problem], tmp_path: Path) -> None:
    problem = load(backbone="RandomSlope")
    with collect_warnings() as lines:
        assert dry_run(problem, RunFolder(tmp_path)) is problem
    assert lines == []


def test_a_network_with_computed_weights_passes_the_dry_run(
    load: Callable[..., Problem], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem, folder = load(backbone="Normed"), RunFolder(tmp_path)
    before = {name: value.clone() for name, value in problem.backbone.state_dict().items()}
    state = torch.get_rng_state()
    with collect_warnings() as lines:
        assert dry_run(problem, folder) is problem
    assert lines == [] and torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[name], value) for name, value in problem.backbone.state_dict().items())
    assert problem.backbone.training
    monkeypatch.setattr(dry_export, "try_cores", None)
    assert dry_run(load(backbone="Normed"), folder) is not None  # a network that was tried before is not tried again
    with pytest.raises(UserError, match="'NoneType' object is not callable"):
        dry_run(load("export.formats=[tflite]", backbone="Normed"), folder)


def refuse(gate: object) -> None:
    raise RuntimeError("no operator for this gate")


def test_a_gate_that_cannot_be_exported_leaves_the_space_with_a_line(
    load: Callable[..., Problem], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = load()
    monkeypatch.setattr(dry_export, "try_cores", lambda *_, **__: {})
    monkeypatch.setattr(dry_export, "write_bundle", lambda _, model, *__, **___: model.gate(0).lower())
    monkeypatch.setattr(dry_export, "Bundle", lambda _: lambda window: None)
    monkeypatch.setattr(ActivationGC, "lower", refuse)
    with collect_warnings() as lines:
        reduced = dry_run(problem, RunFolder(tmp_path))
    assert lines == [
        "dry run: gc(mode=activation) at 'blocks.0' cannot be exported, and is not searched: no operator for this gate"
    ]
    assert {gate["mode"] for slot in reduced.space.slots for gate in slot.gates} == {"channel"}
    assert 0 < len(reduced.space) < len(problem.space)
    assert all(plan in problem.space for plan in reduced.space.plans())
    monkeypatch.undo()
    with collect_warnings() as again:
        assert dry_run(problem, RunFolder(tmp_path)).space == reduced.space
    assert again == lines
    monkeypatch.setattr(dry_export, "try_cores", lambda *_, **__: {})
    monkeypatch.setattr(dry_export, "try_bundle", lambda *_, **__: 1 / 0)
    with pytest.raises(UserError, match=r"^space: no plan is left; gc\(mode=channel\) at 'blocks.0' cannot be"):
        dry_run(load("space.kinds.gc.mode=[channel]"), RunFolder(tmp_path / "other"))


def test_a_space_without_variants_keeps_whole_products(load: Callable[..., Problem]) -> None:
    space = load("space.sites=[input,blocks.0]").space
    variants = variants_of(space)
    assert [variant.name for variant in variants] == ["gc(mode=channel)", "gc(mode=activation)"]
    reduced = without_variants(space, {("cut:blocks.0", variant) for variant in variants})
    assert [slot.label for slot in reduced.slots] == ["cut:input"] and reduced.max_gates == 1
    none = {(slot.label, variant) for slot in space.slots for variant in variants}
    assert without_variants(space, none).slots == ()
    assert without_variants(space, {("cut:input", Variant("gc", ()))}) == space


def test_a_format_that_no_core_runs_is_refused(load: Callable[..., Problem], tmp_path: Path) -> None:
    problem = load("space.cores=[mcu,npu]")
    with pytest.raises(UserError, match=r"^export\.formats: no core of three_core runs 'onnx' \(mcu: tflite; npu: "):
        dry_run(problem, RunFolder(tmp_path))


@pytest.mark.usefixtures("place")
def test_the_command_ends_with_status_2_before_anything_is_trained(
    words: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    settings = ["space.sites=all", "~backbone_args", f"backbone={__name__}:LocalNorm", f"out={tmp_path / 'run'}"]
    assert app.main(["run", "recipe=kws_clips.yaml", f"data.root={words}", *tones.TINY, *settings]) == 2
    error = capsys.readouterr().err
    assert "backbone: 'extra' (LocalResponseNorm) cannot be exported" in error.splitlines()[-1]
    assert "dry run: 0/" in error
    # A warning may contain the word "train", but a line that begins with it is the progress of a training.
    assert not any(line.startswith("train") for line in error.splitlines())
