"""Tests of loading what a recipe names: data, front end, backbone and search space, and of errors in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from gatesearch import data, recipe
from gatesearch.data import Dataset, Split
from gatesearch.errors import UserError
from gatesearch.frontends import MFCC, Identity, LogMel
from gatesearch.pipeline import problem
from gatesearch.pipeline.problem import Problem, load_problem
from gatesearch.recipe import Recipe
from gatesearch.recipe.schema import Augment, PluginData
from tests import tones


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tones.write(tmp_path_factory.mktemp("setting") / "tones")


@pytest.fixture(scope="module")
def load(words: Path) -> Any:
    return lambda *settings: recipe.load("kws_clips.yaml", [f"data.root={words}", *tones.TINY, *settings])


@pytest.fixture(scope="module")
def speech_problem(load: Any) -> Problem:
    return load_problem(load("augment.renditions=3"))


def test_the_problem_holds_what_the_recipe_names(speech_problem: Problem) -> None:
    assert speech_problem.data.classes == ("up", "down", "_silence_", "_unknown_")
    assert speech_problem.features.shape == (1, 49, 10)
    assert speech_problem.features.bank.shape == (70, 3, 1, 49, 10)
    assert speech_problem.features.positive.tolist() == [True, True, False, False]
    assert [site.name for site in speech_problem.sites][:2] == ["input", "stem"]
    assert [site.name for site in speech_problem.space.cut_sites] == ["blocks.0"]
    assert speech_problem.device.name == "three_core" and speech_problem.space.cores == ("mcu", "npu", "app")
    assert (speech_problem.space.min_gates, speech_problem.space.max_gates) == (1, 1)
    assert speech_problem.augment is not None
    with torch.no_grad():
        assert speech_problem.backbone.eval()(speech_problem.features.test.features).shape == (25, 4)


def test_the_front_end_is_fitted_on_the_training_split(speech_problem: Problem) -> None:
    train = speech_problem.features.train.features
    assert train.mean((0, 1, 2)).tolist() == pytest.approx([0.0] * 10, abs=1e-3)
    assert train.std((0, 1, 2)).tolist() == pytest.approx([1.0] * 10, abs=1e-2)


def test_the_seed_determines_the_features(speech_problem: Problem, load: Any) -> None:
    torch.rand(7)  # earlier random draws must not matter
    again, other = load_problem(load("augment.renditions=3")), load_problem(load("augment.renditions=3", "seed=1"))
    assert torch.equal(again.features.bank, speech_problem.features.bank)
    assert not torch.equal(other.features.bank, speech_problem.features.bank)
    assert torch.equal(other.features.train.features, speech_problem.features.train.features)
    mine, same, another = (parameters(s.backbone) for s in (speech_problem, again, other))
    assert torch.equal(mine, same) and not torch.equal(mine, another)


def parameters(module: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()])


@pytest.mark.parametrize("settings", [("augment=null",), ()])
def test_without_augmentation_there_is_one_rendition(settings: tuple[str, ...], load: Any) -> None:
    plain = load_problem(load(*settings), with_features=bool(settings))
    assert plain.augment is None and plain.features.bank.shape[1] == 1
    assert torch.equal(plain.features.bank[:, 0], plain.features.train.features)


def test_baseline_search_and_retraining_have_schedules_of_their_own(speech_problem: Problem) -> None:
    assert (speech_problem.schedule().epochs, speech_problem.schedule().learning_rate) == (12, 0.01)
    searched = speech_problem.schedule(speech_problem.recipe.search)
    assert (searched.epochs, searched.learning_rate, searched.batch_size) == (1, 0.001, 5)
    assert speech_problem.schedule(speech_problem.recipe.retrain).epochs == 1
    assert speech_problem.gates.learning_rate_scale == 25.0 and speech_problem.gates.alpha == 1.0


class Wrong(nn.Module):
    """A network that returns two logits, whatever the number of classes."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Sequential(nn.Flatten(), nn.Linear(490, 8), nn.ReLU(), nn.Linear(8, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)


class Picky(nn.Module):
    """A network that accepts 99 features only."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.layer = nn.Linear(99, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x.flatten(1))


class Branching(nn.Module):
    """A network that cannot be traced, because it branches on a value."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(490, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x.flatten(1)) if x.sum() > 0 else self.layer(-x.flatten(1))


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (
            ("backbone=tests.pipeline.test_problem:Wrong",),
            "backbone: returns [2, 2] for 2 samples; gates need logits [2, 4]",
        ),
        (
            ("backbone=tests.pipeline.test_problem:Picky",),
            "backbone: Picky does not accept an input [1, 1, 49, 10]: mat1 and mat2",
        ),
        (("backbone=tests.pipeline.test_problem:Branching",), "backbone: Branching cannot be traced by torch.fx"),
        (("backbone=tests.pipeline.test_problem:Wrng",), "unknown name 'Wrng'; nearest: 'Wrong'"),
        (("frontend={name: mfc}",), "unknown front end 'mfc'; nearest: 'mfcc'"),
        (("space.sites=[blocks.9]",), "space.sites: unknown site 'blocks.9'; nearest: 'blocks."),
        (("space.gates={min: 2, max: 2}",), "space.gates.min: 2 gates, and only 1 sites"),
    ],
)
def test_mistakes_of_the_user_give_an_error_of_one_line(settings: tuple[str, ...], line: str, load: Any) -> None:
    problem = load(*settings, "augment=null")
    if problem.backbone != "ds_cnn":
        problem = problem.model_copy(update={"backbone_args": {}})
    with pytest.raises(UserError) as error:
        load_problem(problem)
    assert line in str(error.value) and "\n" not in str(error.value)


@pytest.fixture
def plugged(load: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recipe]:
    """Return a recipe with the data set of a plug-in, whose classes the recipe's schema cannot know."""
    split = Split(torch.zeros(4, 3), torch.tensor([0, 1, 0, 1]), ("a", "b", "c", "d"))
    dataset = Dataset("other", "made up", True, ("yes", "hum"), (True, False), split, split, split, None, None)
    monkeypatch.setattr(data, "load_dataset", lambda name, **_: dataset)
    problem_recipe = load()
    yield problem_recipe.model_copy(update={"data": PluginData.model_construct(name="other")})


def test_a_stream_with_unknown_kinds_is_refused(plugged: Recipe) -> None:
    with pytest.raises(UserError, match=r"stream\.shares\._(silence|unknown)_: the data has no kind"):
        problem.load_data(plugged)
    stream = plugged.stream.model_copy(update={"shares": {"positive": 0.5, "hum": 0.5}})
    assert problem.load_data(plugged.model_copy(update={"stream": stream})).name == "other"


def digits(*settings: str) -> Recipe:
    return recipe.load("digits_hybrid.yaml", ["backbone_args.width=0.0625", *settings])


@pytest.fixture(scope="module")
def pictures() -> Problem:
    return load_problem(digits("augment={pad: 1, flip: true, cutout: 2}"))


def test_images_have_an_augmentation_of_their_own(pictures: Problem) -> None:
    augment = pictures.augment
    assert isinstance(augment, data.ImageAugment)
    assert (augment.pad, augment.flip, augment.cutout) == (1, True, 2)
    images = pictures.features.train.features[:40]
    torch.manual_seed(0)
    changed = augment.train()(images)
    assert changed.shape == images.shape and not torch.equal(changed, images)
    assert torch.equal(augment.eval()(images), images)
    # The augmentation changes images anew for every batch; the bank holds the unchanged images.
    assert pictures.features.bank.shape == (1079, 1, 1, 8, 8)
    assert torch.equal(pictures.features.bank[:, 0], pictures.features.train.features)


def test_layer_sites_are_searched_if_the_space_names_them(pictures: Problem) -> None:
    assert [site.name for site in pictures.layers] == [*(f"conv{i}.0" for i in range(8)), "classifier"]
    assert [site.name for site in pictures.space.layer_sites] == [f"conv{i}.0" for i in range(1, 8)]
    assert len(pictures.space.layer_slots) == 1 and pictures.space.max_gates == 0
    assert pictures.device.name == "host" and all(pictures.features.positive)
    # 3 x 3 x 2 choices of pg, 5 of fbs, 4 x 2 x 2 of fbs_pg, and 1 without gates.
    assert len(pictures.space) == 18 + 5 + 16 + 1


def test_images_may_have_no_augmentation() -> None:
    assert load_problem(digits("augment=null")).augment is None
    plain = load_problem(digits("augment.pad=0"))
    assert isinstance(plain.augment, data.ImageAugment)
    images = plain.features.train.features[:5]
    assert torch.equal(plain.augment.train()(images), images)


SOUND = ["shift_ms=50", "noise_probability=0.2", "snr_db=[0,9]", "speed=[0.8,1.0]", "gain_db=[0,1]", "renditions=3"]


@pytest.mark.parametrize("written", [*SOUND, "time_masks=1", "freq_width=3"])
def test_images_refuse_the_keys_of_sound(written: str) -> None:
    with pytest.raises(UserError) as error:
        load_problem(digits(f"augment.{written}"))
    assert str(error.value) == f"augment.{written.split('=')[0]}: is for sound, and digits is not"


@pytest.mark.parametrize("written", ["pad=2", "flip=true", "cutout=4"])
def test_sound_refuses_the_keys_of_images(written: str, load: Any) -> None:
    with pytest.raises(UserError) as error:
        load_problem(load(f"augment.{written}"))
    assert str(error.value) == f"augment.{written.split('=')[0]}: is for images, and tones is not"


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (("space.layers.sites=[conv1]",), "space.layers.sites: unknown site 'conv1'; nearest: 'conv1.0'"),
        (("space.layers.sites=[classifier]", "space.kinds={fbs: {}}"), "no gate of fbs can go at 'classifier'"),
        (("space.kinds={pg: {bits: [4], high_bits: [8]}}",), "high_bits: 8 is not a whole number from 1 to bits, 4"),
    ],
)
def test_mistakes_in_recipes_of_images_give_an_error_of_one_line(settings: tuple[str, ...], line: str) -> None:
    with pytest.raises(UserError) as error:
        load_problem(digits(*settings))
    assert line in str(error.value) and "\n" not in str(error.value)


def other_data(shape: tuple[int, ...], sample_rate: int | None) -> Dataset:
    generator = torch.Generator().manual_seed(0)

    def split() -> Split:
        return Split(torch.randn(8, *shape, generator=generator), torch.arange(8) % 2, tuple("abcdefgh"))

    classes, flags = ("yes", "hum"), (True, False)
    return Dataset("other", "made up", True, classes, flags, split(), split(), split(), None, sample_rate)


def test_sensor_windows_with_a_rate_are_neither_sound_nor_images(load: Any) -> None:
    sensor = other_data((16, 3), sample_rate=50)
    wave, _ = problem.augmentation(Augment(), sensor, Identity())
    assert wave is None
    with pytest.raises(UserError, match=r"augment\.pad: is for images, and samples of other are \[16, 3\]"):
        problem.augmentation(Augment(pad=2), sensor, Identity())
    with pytest.raises(UserError, match=r"augment\.shift_ms: is for sound, and other is not"):
        problem.augmentation(Augment(shift_ms=50), sensor, Identity())


def test_without_copies_sounds_stay_as_they_are_and_features_change() -> None:
    sound = other_data((16000,), sample_rate=16000)
    spectrum = LogMel().fit(sound.train.inputs)
    wave, features = problem.augmentation(Augment(renditions=0, freq_stretch=0.2), sound, spectrum)
    assert wave is None and not torch.equal(features.train()(ramp := torch.arange(40.0).expand(3, 1, 5, 40)), ramp)
    with pytest.raises(UserError, match=r"augment\.gain_db: changes sounds, and augment\.renditions: 0 makes no copy"):
        problem.augmentation(Augment(renditions=0, gain_db=(-3, 3)), sound, spectrum)
    with pytest.raises(UserError, match=r"augment\.freq_stretch: the features of mfcc are no spectrum"):
        problem.augmentation(Augment(freq_stretch=0.2), sound, MFCC().fit(sound.train.inputs))


def test_no_rate_is_assumed(load: Any) -> None:
    sound = other_data((16000,), sample_rate=None)
    stream = {"shares": {"positive": 0.5, "hum": 0.5}}
    changed = load("augment=null").model_copy(update={"stream": load().stream.model_copy(update=stream)})
    with pytest.raises(UserError, match=r"frontend\.name: mfcc needs the sample rate of the data, and other has none"):
        load_problem(changed, problem.Inputs(nn.Linear(490, 2), sound))
