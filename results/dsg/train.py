"""The trainer: SGD on data that lie on the device, checkpointed every few steps and resumed to the bit.

:func:`gatesearch.training.fit` does not serve here: a target that is moved while a training runs belongs into its
checkpoints, and the images on the device.
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

EVALUATED = 250  # images at a time
LEGS = 10  # in a training at least, and one an epoch


@dataclass(frozen=True, slots=True)
class Images:
    """A split on the device: uint8 images [N, 3, H, W], labels [N], and what normalises the images."""

    inputs: Tensor
    labels: Tensor
    normalise: Normalise

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield normalised images and labels, in order."""
        for inputs, labels in zip(self.inputs.split(EVALUATED), self.labels.split(EVALUATED), strict=True):
            yield channels_last(self.normalise(inputs)), labels

    def first(self, count: int) -> Images:
        """Return the first images."""
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
        """Of one image."""
        return tuple(self.train.inputs.shape[1:])

    @classmethod
    def on(cls, device: torch.device, dataset: Dataset) -> Data:
        """Put a data set on a device; mean and standard deviation of the training split normalise all three."""
        normalise = Normalise().fit(dataset.train.inputs).to(device)
        splits = (dataset.train, dataset.validation, dataset.test)
        images = [Images(split.inputs.to(device), split.labels.to(device), normalise) for split in splits]
        return cls(images[0], images[1], images[2], len(dataset.classes))


class Training:
    """One training of a model, in place.

    Args:
        model: on the images' device.
        images: the training split.
        protocol: how.
        course: whether by the protocol's ``epochs``, ``rate`` and ``decay`` or by those of the shared baseline.
        seed: of the order of the images, of their augmentation and of dropout.
    """

    def __init__(
        self, model: GatedModel, images: Images, protocol: Protocol, course: Literal["", "base_"], seed: int
    ) -> None:
        self.model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.images, self.protocol, self.seed = images, protocol, seed
        self.device = images.inputs.device
        self.rate = getattr(protocol, f"{course}rate")
        self.decay = DECAYS[getattr(protocol, f"{course}decay")]
        self.per_epoch = max(1, len(images.labels) // protocol.batch_size)
        self.total = getattr(protocol, f"{course}epochs") * self.per_epoch
        self.leg = max(1, min(self.per_epoch, math.ceil(self.total / LEGS)))
        self.step, self.seconds = 0, 0.0
        self.augment = ImageAugment(protocol.pad, flip=True, cutout=protocol.cutout).train()
        self.gates = list(model.layer_gates.values())
        # Levels of up to 8 bits are exact in TF32, which convolutions may use as it is. With bfloat16 before it, a
        # quantiser would round what was rounded already.
        self.halves = self.device.type == "cuda" and not quantised(model)
        self.optimizer = torch.optim.SGD(_groups(model, protocol), lr=self.rate, momentum=protocol.momentum)
        torch.manual_seed(seed)

    @property
    def legs_to_half(self) -> float:
        """Legs until half of the training is done, this one included; 1 from there on."""
        return 1 + max(0.0, self.total / 2 - self.step) / self.leg

    def go(self) -> float:
        """Train for a leg, an epoch or a tenth of all steps, whichever is less; return the last step's loss."""
        self.model.train()
        loss = torch.zeros(())
        for batch in self._order()[: self.leg]:
            loss = self._step(batch)
            self.step += 1
        return float(loss)

    def _order(self) -> Sequence[Tensor]:
        """Return the batches that are left of the epoch, as indices."""
        epoch, done = divmod(self.step, self.per_epoch)
        # The order depends on seed and epoch alone: a training that is resumed within an epoch sees the rest of it.
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        order = torch.randperm(len(self.images.labels), generator=generator).to(self.device)
        return order.split(self.protocol.batch_size)[done : self.per_epoch]

    def _step(self, batch: Tensor) -> Tensor:
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * self.decay(self.step / self.total)
        for gate in self.gates:
            gate.anneal(self.step / max(1, self.total - 1))
        inputs = channels_last(self.augment(self.images.normalise(self.images.inputs[batch])))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.halves):
            loss = F.cross_entropy(self.model(inputs).logits, self.images.labels[batch])
        for gate in self.gates:
            loss = loss + gate.loss()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def state(self) -> dict[str, Any]:
        """Return all that the rest of the training depends on."""
        return {
            "step": self.step,
            "seconds": self.seconds,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "targets": [layer.settings.target for layer in quantised(self.model)],
            "random": [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [])],
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a :meth:`state`."""
        self.step, self.seconds = state["step"], state["seconds"]
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        for layer, target in zip(quantised(self.model), state["targets"], strict=True):
            layer.settings = dataclasses.replace(layer.settings, target=target)
        torch.set_rng_state(state["random"][0].cpu())
        torch.cuda.set_rng_state_all([random.cpu() for random in state["random"][1:]])


def train(training: Training, folder: RunFolder, name: str, after_leg: Callable[[], None] = lambda: None) -> None:
    """Train to the end, from where NAME/last.pt in the folder is; leaves the model in evaluation mode.

    On a CPU, a training that was cut off ends in the same weights, to the bit, as one that was not.

    Args:
        training: not begun.
        folder: where NAME/last.pt is written after every leg; it is for the caller to remove.
        name: of the row and its seed.
        after_leg: called after every leg, before the file is written.
    """
    checkpoint = folder / f"{name}/last.pt"
    if checkpoint.exists():
        training.load(torch.load(checkpoint, map_location=training.device, weights_only=True))
    with console.progress(training.total, name) as bar:
        bar.advance(training.step)
        while training.step < training.total:
            before, start = training.step, time.monotonic()
            loss = training.go()
            after_leg()
            training.seconds += time.monotonic() - start
            save(folder, f"{name}/last.pt", training.state())
            bar.advance(training.step - before, note=f"loss {loss:.3f}")
    training.model.eval()


@torch.no_grad()
def start_clips(model: GatedModel, inputs: Tensor, share: float) -> None:
    """Let every clip start at a share of the largest magnitude that it sees in images [N, 3, H, W].

    By itself a gate starts with all of it. A clip learns from what it cuts off, and nothing tells it what it would gain
    by cutting more, so that its decay alone would have to bring it down.
    """
    model.eval()
    ranges = [layer.range for layer in quantised(model)]
    for calibrated in ranges:
        calibrated.train()
    model(inputs)
    for calibrated in ranges:
        for clip in calibrated.parameters():
            clip.mul_(share)


def save(folder: RunFolder, path: str, state: dict[str, Any]) -> None:
    """Write tensors to a file in a run folder, whole or not at all."""
    content = io.BytesIO()
    torch.save(state, content)
    folder.write(path, content.getvalue())


def _groups(model: GatedModel, protocol: Protocol) -> list[dict[str, Any]]:
    """Return the parameters by their decay: weights, clips, and what has none."""
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
    """Return every layer of a model, or part of one, that precision gating computes."""
    return [module for module in model.modules() if isinstance(module, PGLayer)]
