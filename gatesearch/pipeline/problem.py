"""Loads the problem that a recipe states: data, front end, features, backbone, sites, device, space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import pytorch_lightning as pl
from torch import nn

from gatesearch import backbones, data, frontends
from gatesearch._lib import console
from gatesearch._lib.console import progress
from gatesearch.cost.frontend import follow_core
from gatesearch.data import Dataset
from gatesearch.data.stream_loader import SCENES
from gatesearch.devices import profile
from gatesearch.devices.profile import Device, list_clock_slots
from gatesearch.errors import UserError, nearest
from gatesearch.frontends import Frontend
from gatesearch.graph.sites import CutSite, LayerSite, cut_sites, layer_sites
from gatesearch.pipeline.stream_checks import check_gates_by_hops, check_sites, warn_of_short_streams
from gatesearch.pipeline.stream_hops import HOPS, HopKey, StreamHops, prepare_for_hops
from gatesearch.recipe import Recipe
from gatesearch.recipe.schema import Augment, Group
from gatesearch.search.space import Space
from gatesearch.search.space_builder import build_space
from gatesearch.training import GOALS, Features, GateSettings, Goal, Schedule, prepare

DETECTION = "detection"
FEW_CLIPS = 20  # number of clips in each class of a synthetic data set, if only the shapes of the data matter
WAVE_KEYS = ("shift_ms", "noise_probability", "snr_db", "speed", "gain_db")
FEATURE_KEYS = ("time_masks", "time_width", "freq_masks", "freq_width", "freq_stretch")
IMAGE_KEYS = ("pad", "flip", "cutout")


@dataclass(frozen=True)
class Problem:
    """Everything that a recipe names, loaded; it stays the same during a run.

    Args:
        recipe: the recipe, with all references resolved.
        data: the raw data in three splits.
        frontend: the front end, fitted on the training split.
        features: the inputs of the backbone.
        goal: the task of the backbone: classification, detection or reconstruction.
        augment: changes the features in training; None for no change.
        backbone: the untrained backbone, initialised from the recipe's seed.
        sites: every cut site of the backbone.
        layers: every layer site of the backbone.
        device: the device with its cores, links and constants.
        space: the plans that a search may propose.
        hops: how the backbone runs by hops; None without a stream, or if each hop runs a whole window.
    """

    recipe: Recipe
    data: Dataset
    frontend: Frontend
    features: Features
    goal: Goal
    augment: nn.Module | None
    backbone: nn.Module
    sites: tuple[CutSite, ...]
    layers: tuple[LayerSite, ...]
    device: Device
    space: Space
    hops: StreamHops | None = None

    @property
    def outputs(self) -> tuple[int, ...]:
        """Shape of the backbone's output for one sample."""
        return self.sites[0].output

    @property
    def gates(self) -> GateSettings:
        """The settings for the training of gates."""
        settings = self.recipe.gates.model_dump()
        target = settings.pop("target") or self.goal.gate_targets[0]
        return GateSettings(**settings, target=target, shares=self.shares)

    @property
    def shares(self) -> Mapping[str, float]:
        """Share of each kind of window in use: from the validation stream if there is one, else from the recipe."""
        stream = self.features.validation.stream
        if stream is not None:
            return stream.shares(self.features.kind_names)
        return dict.fromkeys(self.features.kind_names, 0.0) | dict(self.recipe.stream.shares or {})

    @property
    def period_s(self) -> float:
        """Seconds from one window to the next: the hop of the stream, or else the recipe's ``stream.period_s``."""
        stream = self.features.validation.stream
        return self.recipe.stream.period_s if stream is None else stream.hop_s

    def schedule(self, step: Group | None = None) -> Schedule:
        """Return the schedule of the recipe's training; keys of a ``step``, such as ``recipe.retrain``, win."""
        training = self.recipe.training
        return Schedule(**(training if step is None else training.updated(step)).model_dump())


class Inputs(NamedTuple):
    """The network and the data that a calling program passes in place of those that a recipe names."""

    backbone: nn.Module
    dataset: Dataset


def load_problem(
    recipe: Recipe, inputs: Inputs | None = None, *, with_features: bool = True, only_shapes: bool = False
) -> Problem:
    """Load everything that a recipe names.

    Args:
        recipe: a checked recipe.
        inputs: a network and data in place of those that the recipe names.
        with_features: whether a training follows. A training needs augmented clips or windows of a stream; the prices
            of plans need neither.
        only_shapes: whether only the shapes of the data matter; a synthetic data set then has few clips.

    Raises:
        UserError: something that the recipe names does not exist or does not fit.
    """
    device = profile.load(recipe.device)
    dataset = (
        load_data(recipe, only_shapes) if inputs is None else _check_stream(recipe, data.check_dataset(inputs.dataset))
    )
    frontend = frontends.build_for(
        recipe.frontend.name,
        recipe.frontend.arguments,
        sample_rate=dataset.sample_rate,
        samples=dataset.train.inputs.shape[-1],
    )
    _check_rate(recipe, dataset, frontend)
    frontend.fit(dataset.train.inputs)
    follow_core(frontend, device.core(device.sense.core), dataset.train.inputs)
    augment = recipe.augment if with_features else None
    wave, feature_augment = (None, None) if augment is None else augmentation(augment, dataset, frontend)
    renditions = 1 if augment is None or wave is None else augment.renditions
    with progress(3 + renditions if wave is not None else 3, "front end") as bar:
        features = prepare(
            dataset,
            frontend,
            augment=wave,
            renditions=renditions,
            seed=recipe.seed,
            on_step=bar.advance,
            trains=with_features,
        )
    pl.seed_everything(recipe.seed, verbose=False)
    if inputs is None:
        backbone = backbones.build(
            recipe.backbone,
            num_classes=len(dataset.classes),
            input_shape=features.shape,
            args=recipe.backbone_args,
        )
    else:
        backbone = inputs.backbone
    frozen = [name for name, parameter in backbone.named_parameters() if not parameter.requires_grad]
    if frozen:
        console.warn(f"backbone: {len(frozen)} frozen parameters stay as they are, first {frozen[0]}")
    example = features.train.features[:1]
    output_shape = backbones.check_batches(backbone, features.train.features)
    hops, stream = None, features.validation.stream
    if stream is not None and recipe.goal == DETECTION and recipe.stream.by == HOPS:
        by_recipe = inputs is None and recipe.data.name == SCENES
        key = HopKey("data.hop_ms", 1e3 / stream.format.rate) if by_recipe else HopKey("hop_s", 1 / stream.format.rate)
        backbone, hops = prepare_for_hops(backbone, features.shape, frontend, stream.format.hop, key)
    sites, layers = cut_sites(backbone, example), layer_sites(backbone, example)
    if not sites or sites[0].macs_before + sites[0].macs_after == 0:
        raise UserError(f"backbone: {type(backbone).__name__}: no layer multiplies, so gates have no work to leave out")
    goal = GOALS[recipe.goal](features, dataset.classes, recipe.stream.fa_per_hour)
    goal.check(output_shape)
    _check_limits(recipe, goal)
    if recipe.gates.target not in (None, *goal.gate_targets):
        raise UserError(
            f"gates.target: {recipe.gates.target}: goal {goal.name} has no classes to accept; wanted: "
            f"{' or '.join(goal.gate_targets)}"
        )
    space = build_space(
        sites,
        device.core_names,
        recipe.space.kinds,
        cut_names=recipe.space.sites,
        core_names=recipe.space.cores,
        clocks=list_clock_slots(device),
        min_work=recipe.space.min_work,
        min_gates=recipe.space.gates.min,
        max_gates=recipe.space.gates.max,
        layer_sites=layers,
        layer_names=recipe.space.layers.sites,
        together=recipe.space.layers.together,
    )
    check_sites(space, recipe.space.kinds)
    if hops is not None:
        check_gates_by_hops(space)
    if goal.name == DETECTION and not only_shapes:
        warn_of_short_streams(features, recipe.stream.fa_per_hour)
    return Problem(
        recipe=recipe,
        data=dataset,
        frontend=frontend,
        features=features,
        goal=goal,
        augment=feature_augment,
        backbone=backbone,
        sites=sites,
        layers=layers,
        device=device,
        space=space,
        hops=hops,
    )


def _check_rate(recipe: Recipe, dataset: Dataset, frontend: Frontend) -> None:
    """Refuse data without a sample rate if the front end needs the rate and the recipe does not set it."""
    needed = "sample_rate" in frontend.arguments and "sample_rate" not in recipe.frontend.arguments
    if needed and dataset.sample_rate is None:
        raise UserError(
            f"frontend.name: {frontend.name} needs the sample rate of the data, and {dataset.name} has none; wanted: "
            "frontend.sample_rate, or sample_rate of the Dataset"
        )


def describe_data(problem: Problem) -> str:
    """Return a line that names the origin of the data and the size of each split."""
    dataset = problem.data
    label = "synthetic data" if dataset.synthetic else "data"
    sizes = f"{len(dataset.train)} train, {len(dataset.validation)} validation, {len(dataset.test)} test"
    return f"{label}: {dataset.source} ({sizes})"


def augmentation(chosen: Augment, dataset: Dataset, frontend: Frontend) -> tuple[nn.Module | None, nn.Module]:
    """Return two modules that augment inputs and features in training; the first is None if inputs stay as they are.

    Raises:
        UserError: a key for images is set for sound, a key for sound is set for images, a key for sounds is set though
            no copy of them is made, or the frequency axis is stretched where features have none.
    """
    inputs = dataset.train.inputs
    # Data of a sensor also have a sample rate, but several channels. Augmentation of sound is for one channel.
    sound = dataset.sample_rate is not None and inputs.ndim == 2
    for key in IMAGE_KEYS if not sound and inputs.ndim != 4 else ():
        if getattr(chosen, key) != type(chosen).model_fields[key].default:
            raise UserError(f"augment.{key}: is for images, and samples of {dataset.name} are {list(inputs.shape[1:])}")
    for key in IMAGE_KEYS if sound else ("renditions", *WAVE_KEYS, *FEATURE_KEYS):
        if getattr(chosen, key) != type(chosen).model_fields[key].default:
            raise UserError(f"augment.{key}: is for {'images' if sound else 'sound'}, and {dataset.name} is not")
    if not sound:
        return None, data.ImageAugment(**{key: getattr(chosen, key) for key in IMAGE_KEYS})
    if chosen.freq_stretch and not frontend.gives_spectrum:
        raise UserError(
            f"augment.freq_stretch: the features of {frontend.name} are no spectrum; wanted: log_mel or micro"
        )
    features = data.SpecAugment(**{key: getattr(chosen, key) for key in FEATURE_KEYS})
    settings = {key: getattr(chosen, key) for key in WAVE_KEYS}
    if not chosen.renditions:
        for key, value in settings.items():
            if value != type(chosen).model_fields[key].default:
                raise UserError(f"augment.{key}: changes sounds, and augment.renditions: 0 makes no copy of them")
        return None, features
    wave = data.WaveAugment(dataset.noise, sample_rate=dataset.sample_rate or 0, **settings)
    return wave, features


def load_data(recipe: Recipe, only_shapes: bool = False) -> Dataset:
    """Load the data set that a recipe names, and check that the recipe's stream names kinds of the data set.

    Args:
        recipe: a checked recipe.
        only_shapes: whether only the shapes of the data matter; a synthetic data set then has few clips, and scenes
            are short.
    """
    arguments = dict(recipe.data.arguments)
    if only_shapes and arguments.get("root") is None and "clips_per_class" in arguments:
        arguments["clips_per_class"] = min(arguments["clips_per_class"], FEW_CLIPS)
    if only_shapes and data.takes_argument(recipe.data.name, "only_shapes"):
        return _check_stream(recipe, data.load_dataset(recipe.data.name, **arguments, only_shapes=True))
    if arguments.get("root") is not None or not data.takes_argument(recipe.data.name, "progress"):
        return _check_stream(recipe, data.load_dataset(recipe.data.name, **arguments))
    with progress(None, "loading data") as bar:
        reported = 0

        def advance(done: int, total: int) -> None:
            nonlocal reported
            bar.advance(done - reported)
            reported = done

        return _check_stream(recipe, data.load_dataset(recipe.data.name, **arguments, progress=advance))


def _check_stream(recipe: Recipe, dataset: Dataset) -> Dataset:
    """Return the data set; refuse a stream that names kinds that the data set does not have."""
    for name in recipe.stream.shares or ():
        if name not in dataset.kind_names:
            close = nearest(name, dataset.kind_names)
            raise UserError(f"stream.shares.{name}: the data has no kind {name!r}; nearest: {close!r}")
    return dataset


def _check_limits(recipe: Recipe, goal: Goal) -> None:
    """Refuse a bound on a figure that the goal does not have."""
    for key, limit in recipe.constraints.quality.items():
        if limit is not None and key not in goal.limits:
            raise UserError(
                f"constraints.{key}: goal {goal.name} has no such figure; set it to null (it has: "
                f"{', '.join(goal.limits)})"
            )
