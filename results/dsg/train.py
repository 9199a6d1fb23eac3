"""Trains a network of the ``dsg`` benchmark with SGD, and resumes interrupted trainings from checkpoints.

On a CPU, a resumed training gives the same result bit for bit. The benchmark does not use
:func:`gatesearch.training.fit` for two reasons. The target of a gate changes during a training, so checkpoints have to
hold this target. All images are on the device, so no batch has to be copied there.
"""

from __future__ import annotations

import dataclasses
import io
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from gatesearch._lib import console
from gatesearch._lib.tensors import channels_last
from gatesearch.data import Dataset, ImageAugment
from gatesearch.frontends import Normalise
from gatesearch.gates.pg import PGLayer
from gatesearch.model import GatedModel
from gatesearch.pipeline.run_dir import RunFolder
from results.dsg.protocol import DECAYS, Protocol

EVALUATION_BATCH_SIZE = 250  # images
MIN_LEGS = 10  # least number of legs of a training; a leg is at most an epoch, and a checkpoint follows each leg


@dataclass(frozen=True, slots=True)
class Images:
    """A split on the device: uint8 images [N, 3, H, W], labels [N], and the normalisation of the images."""

    inputs: Tensor
    labels: Tensor
    normalise: Normalise

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield normalised images and labels, in order."""
        batches = zip(self.inputs.split(EVALUATION_BATCH_SIZE), self.labels.split(EVALUATION_BATCH_SIZE), strict=True)
        for inputs, labels in batches:
            yield channels_last(self.normalise(inputs)), labels

    def first(self, count: int) -> Images:
        """Return the first ``count`` images of the split."""
        return Images(self.inputs[:count], self.labels[:count], self.normalise)


@dataclass(frozen=True, slots=True)
class Data:
    """The three splits on the device, the shape of an image and the number of classes."""

    train: Images
    validation: Images
    test: Images
    classes: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one image."""
        return tuple(self.train.inputs.shape[1:])

    @classmethod
    def copy_to(cls, device: torch.device, dataset: Dataset) -> Data:
        """Copy a data set to a device; mean and standard deviation of the training split normalise all three splits."""
        normalise = Normalise().fit(dataset.train.inputs).to(device)
        splits = (dataset.train, dataset.validation, dataset.test)
        images = [Images(split.inputs.to(device), split.labels.to(device), normalise) for split in splits]
        return cls(images[0], images[1], images[2], len(dataset.classes))


class Training:
    """A training that changes the weights of its model in place.

    Args:
        model: the model, on the device of the images.
        images: the training split.
        protocol: settings of the training.
        key_prefix: "" to train a row, with the protocol's ``epochs``, ``rate`` and ``decay``; "base_" to train the
            baseline, with ``base_epochs``, ``base_rate`` and ``base_decay``.
        seed: seed for the order of the images, their augmentation and dropout.
    """

    def __init__(
        self, model: GatedModel, images: Images, protocol: Protocol, key_prefix: Literal["", "base_"], seed: int
    ) -> None:
        self.model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.images, self.protocol, self.seed = images, protocol, seed
        self.device = images.inputs.device
        self.rate = getattr(protocol, f"{key_prefix}rate")
        self.decay = DECAYS[getattr(protocol, f"{key_prefix}decay")]
        self.per_epoch = max(1, len(images.labels) // protocol.batch_size)
        self.total = getattr(protocol, f"{key_prefix}epochs") * self.per_epoch
        self.leg = max(1, min(self.per_epoch, math.ceil(self.total / MIN_LEGS)))
        self.step, self.seconds = 0, 0.0
        self.augment = ImageAugment(protocol.pad, flip=True, cutout=protocol.cutout).train()
        self.gates = list(model.layer_gates.values())
        # bfloat16 would round values before a quantiser rounds them, so a model with quantisers does not use it.
        # Convolutions of such a model may use TF32, which represents quantised values of up to 8 bits exactly.
        self.uses_bfloat16 = self.device.type == "cuda" and not quantised(model)
        self.optimizer = torch.optim.SGD(_groups(model, protocol), lr=self.rate, momentum=protocol.momentum)
        torch.manual_seed(seed)

    @property
    def legs_to_half(self) -> float:
        """Number of legs until half of the training is done, the current leg included; 1 in the second half."""
        return 1 + max(0.0, self.total / 2 - self.step) / self.leg

    def train_leg(self) -> float:
        """Train for one leg and return the loss of its last step.

        A leg is an epoch, or a tenth of all steps if that is less.
        """
        self.model.train()
        loss = torch.zeros(())
        for batch in self._order()[: self.leg]:
            loss = self._step(batch)
            self.step += 1
        return float(loss)

    def _order(self) -> Sequence[Tensor]:
        """Return the remaining batches of the current epoch, as indices of images."""
        epoch, done = divmod(self.step, self.per_epoch)
        # The order depends only on the seed and the epoch, so a resumed training gets the rest of the same order.
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        order = torch.randperm(len(self.images.labels), generator=generator).to(self.device)
        return order.split(self.protocol.batch_size)[done : self.per_epoch]

    def _step(self, batch: Tensor) -> Tensor:
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * self.decay(self.step / self.total)
        for gate in self.gates:
            gate.anneal(self.step / max(1, self.total - 1))
        inputs = channels_last(self.augment(self.images.normalise(self.images.inputs[batch])))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.uses_bfloat16):
            loss = F.cross_entropy(self.model(inputs).logits, self.images.labels[batch])
        for gate in self.gates:
            loss = loss + gate.loss()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def state(self) -> dict[str, Any]:
        """Return the state for a checkpoint: everything on which the rest of the training depends."""
        return {
            "step": self.step,
            "seconds": self.seconds,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "targets": [layer.settings.target for layer in quantised(self.model)],
            "random": [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [])],
        }

    def load(self, state: dict[str, Any]) -> None:
        """Load a state that :meth:`state` returned, to resume the training."""
        self.step, self.seconds = state["step"], state["seconds"]
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        for layer, target in zip(quantised(self.model), state["targets"], strict=True):
            layer.settings = dataclasses.replace(layer.settings, target=target)
        torch.set_rng_state(state["random"][0].cpu())
        torch.cuda.set_rng_state_all([random.cpu() for random in state["random"][1:]])


def train(training: Training, folder: RunFolder, name: str, after_leg: Callable[[], None] = lambda: None) -> None:
    """Train to the end, from the checkpoint NAME/last.pt if there is one; afterwards, the model is in evaluation mode.

    On a CPU, an interrupted and resumed training ends with the same weights, bit for bit, as an uninterrupted one.

    Args:
        training: a training at its first step.
        folder: the folder in which NAME/last.pt is written after every leg; the caller removes the file.
        name: name of the row and its seed.
        after_leg: a function that is called after every leg, before the checkpoint is written.
    """
    checkpoint = folder / f"{name}/last.pt"
    if checkpoint.exists():
        training.load(torch.load(checkpoint, map_location=training.device, weights_only=True))
    with console.progress(training.total, name) as bar:
        bar.advance(training.step)
        while training.step < training.total:
            before, start = training.step, time.monotonic()
            loss = training.train_leg()
            after_leg()
            training.seconds += time.monotonic() - start
            save(folder, f"{name}/last.pt", training.state())
            bar.advance(training.step - before, note=f"loss {loss:.3f}")
    training.model.eval()


@torch.no_grad()
def start_clips(model: GatedModel, inputs: Tensor, share: float) -> None:
    """Set every clip (the learnt upper bound of a quantiser) to a share of the largest magnitude in its input.

    A gate sets its clip to the largest magnitude at first. Only values above a clip give it a gradient. So a clip above
    all values would fall by its weight decay alone.

    Args:
        model: the model, whose clips are set in place.
        inputs: images [N, 3, H, W] from which the magnitudes are measured.
        share: share of the largest magnitude, from 0 to 1.
    """
    model.eval()
    ranges = [layer.range for layer in quantised(model)]
    for quantiser_range in ranges:
        quantiser_range.train()
    model(inputs)
    for quantiser_range in ranges:
        for clip in quantiser_range.parameters():
            clip.mul_(share)


def save(folder: RunFolder, path: str, state: dict[str, Any]) -> None:
    """Write tensors to a file in a run folder; an interrupted write leaves no partial file."""
    content = io.BytesIO()
    torch.save(state, content)
    folder.write(path, content.getvalue())


def _groups(model: GatedModel, protocol: Protocol) -> list[dict[str, Any]]:
    """Return the optimiser's parameter groups: weights, clips, and parameters without weight decay."""
    clips = {id(p) for layer in quantised(model) for p in layer.range.parameters()}
    control_parameters = {id(p) for gate in model.layer_gates.values() for p in gate.control_parameters()}
    groups: list[dict[str, Any]] = [
        {"params": [], "weight_decay": decay} for decay in (protocol.weight_decay, protocol.clip_decay, 0.0)
    ]
    for parameter in model.parameters():
        weights = parameter.ndim > 1 and id(parameter) not in control_parameters
        groups[0 if weights else 1 if id(parameter) in clips else 2]["params"].append(parameter)
    return groups


def quantised(model: GatedModel) -> list[PGLayer]:
    """Return every precision-gated layer of a model, also those inside other gates."""
    return [module for module in model.modules() if isinstance(module, PGLayer)]
