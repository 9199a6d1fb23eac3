"""Runs a row of the ``dsg`` benchmark: builds, trains and tests a network with gates, and writes the result."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import nn

from gatesearch._lib import console
from gatesearch.backbones.m_cifarnet import MCifarNet
from gatesearch.data import cifar10
from gatesearch.graph.sites import layer_sites
from gatesearch.model import GatedModel
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.plan import GatePlan
from results.dsg import measure
from results.dsg.protocol import Protocol
from results.dsg.rows import CORES, Spec
from results.dsg.threshold_shift import shift_thresholds
from results.dsg.train import Data, Training, quantised, save, start_clips, train
from results.trainings import is_done, read_machine, training_name, write_result

BASE = "base"  # name of the baseline, the network without gates from which rows start
SETTLED_ON = 256  # number of validation images that set the shifts of thresholds
SPLIT_SEED = 0  # seed of the split; the seed of a row sets only the random parts of its training


@dataclass
class Bench:
    """Runs the rows of one protocol, which share a folder, the data and the baseline.

    Args:
        folder: folder of the protocol, with a folder for each row and seed.
        protocol: settings of the training.
        device: device on which rows are trained.
        root: path of the data for :func:`gatesearch.data.cifar10.load`; the data are loaded at the first training.
    """

    folder: RunFolder
    protocol: Protocol
    device: torch.device
    root: str | None

    def done(self, spec: Spec, seed: int) -> bool:
        """Return whether the result of a row is stored."""
        return is_done(self.folder, spec.name, seed)

    def run(self, spec: Spec, seed: int) -> None:
        """Train a row, from its checkpoint if there is one, test it, and write the result."""
        backbone, name = self._backbone(seed), training_name(spec.name, seed)
        sites = layer_sites(backbone, torch.zeros(1, *self.data.shape))
        model = GatedModel(backbone, spec.plan(sites), (), self.data.classes, layers=sites).to(self.device)
        if self.protocol.clip_start is not None:
            images, _ = next(self.data.train.batches())
            start_clips(model, images, self.protocol.clip_start)
        training = Training(model, self.data.train, self.protocol, "", seed)
        held_out = self.data.validation.first(SETTLED_ON)

        def bits() -> float:
            return measure.observed_bits(spec, measure.sparsity(measure.observe(model, held_out)[1], sites)) or 0.0

        # After each leg of the training, shift the thresholds so that the average bits reach the goal of the row in
        # equal steps by the middle of the training, and stay there.
        def move() -> None:
            if spec.goal is not None:
                now = bits()
                shift_thresholds(model, now + (spec.goal - now) / training.legs_to_half, bits)

        train(training, self.folder, name, move)
        accuracy, reports = measure.observe(model, self.data.test)
        sparsity = measure.sparsity(reports, sites)
        average = measure.observed_bits(spec, sparsity)
        if spec.high_bits == spec.bits:
            sparsity = None  # without low bits there is no sparsity to report
        write_result(
            self.folder,
            spec.name,
            seed,
            {
                "accuracy": accuracy,
                "sparsity": sparsity.winners if sparsity else None,
                "sparsity_everywhere": sparsity.everywhere if sparsity else None,
                "sparsity_weighted": sparsity.weighted if sparsity else None,
                "average_bits": average,
                "saving_paper": measure.saving_paper(spec, average),
                "saving_network": measure.saving_of_network(spec, model, sites, reports),
                "target": next((layer.settings.target for layer in quantised(model)), None),
                "layers": reports,
                **self._circumstances(training),
            },
        )
        (self.folder / f"{name}/last.pt").unlink()
        console.say(f"{name}: accuracy {accuracy:.2%}, {training.seconds:.0f} s")

    @cached_property
    def data(self) -> Data:
        """The data set, on the device."""
        loaded = cifar10.load(self.root, self.protocol.train, self.protocol.validation, SPLIT_SEED)
        return Data.copy_to(self.device, loaded)

    def _backbone(self, seed: int) -> nn.Module:
        """Return the network from which a row starts: the trained baseline of its seed, or an untrained network."""
        torch.manual_seed(seed)
        shape, classes = self.data.shape, self.data.classes
        net = MCifarNet(classes, shape, self.protocol.width, self.protocol.dropout)
        if not self.protocol.base_epochs:
            return net
        weights = self.folder / f"{training_name(BASE, seed)}/model.pt"
        if not weights.exists():
            model = GatedModel(net, GatePlan((), CORES), (), classes).to(self.device)
            training = Training(model, self.data.train, self.protocol, "base_", seed)
            train(training, self.folder, training_name(BASE, seed))
            accuracy, _ = measure.observe(model, self.data.validation)
            result = {"validation_accuracy": accuracy, **self._circumstances(training)}
            write_result(self.folder, BASE, seed, result)
            save(self.folder, f"{training_name(BASE, seed)}/model.pt", model.stages[0].state_dict())
            (self.folder / f"{training_name(BASE, seed)}/last.pt").unlink()
        net.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
        # Gates draw random numbers when they are built. With this seed they draw the same numbers after a training of
        # the baseline as after loading it.
        torch.manual_seed(seed)
        return net

    def _circumstances(self, training: Training) -> dict[str, Any]:
        accelerator = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else None
        return {"seconds": training.seconds, "steps": training.step, **read_machine(accelerator)}
