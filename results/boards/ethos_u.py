"""Compares Vela's estimates of the networks' times on an Arm Ethos-U with published times.

The compiler Vela estimates the cycles of a program. The networks have random weights, which compress less than trained
ones; this matters where Vela expects weights to come from a slow memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata

import torch

from gatesearch.compile import tflite, vela
from gatesearch.pipeline.run_dir import RunFolder
from results.benchmark import resume_same
from results.boards.networks import NETWORKS, Reference
from results.boards.published import Npu

FILE = "vela.json"
CALIBRATION_SAMPLES = 32
VERSIONS = ("ethos-u-vela", "litert-torch", "ai-edge-quantizer")


@dataclass(frozen=True)
class NpuTime:
    """A network's time on an NPU.

    Args:
        npu: the NPU.
        task: the network.
        memory: Vela's name of the memories of weights and activations.
        cycles: cycles that Vela estimates.
    """

    npu: Npu
    task: str
    memory: str
    cycles: float

    @property
    def ms(self) -> float:
        """Estimated time."""
        return self.cycles / (1e3 * self.npu.mhz)

    @property
    def published_ms(self) -> float:
        """Published time."""
        return self.npu.ms[self.memory][self.task]

    @property
    def error(self) -> float:
        """Relative error of the estimate."""
        return self.ms / self.published_ms - 1


def estimate(folder: RunFolder, npus: Sequence[Npu]) -> list[NpuTime]:
    """Return Vela's estimates for the networks on NPUs; networks are compiled again if versions or NPUs have changed.

    Args:
        folder: folder that stores the cycles.
        npus: the NPUs.

    Raises:
        UserError: a package of the extra ``export`` is missing.
    """
    keys = [(npu, task, memory) for npu in npus for task in NETWORKS for memory in npu.ms]
    settings = {
        "versions": {name: metadata.version(name) for name in VERSIONS},
        "programs": [[npu.accelerator, npu.system_config, task, memory] for npu, task, memory in keys],
    }
    stored = resume_same(folder, FILE, settings, lambda: {"cycles": _compiled_cycles(keys)})
    return [
        NpuTime(npu=npu, task=task, memory=memory, cycles=cycles)
        for (npu, task, memory), cycles in zip(keys, stored["cycles"], strict=True)
    ]


def _compiled_cycles(keys: Sequence[tuple[Npu, str, str]]) -> list[float]:
    """Return the cycles that Vela estimates for each NPU, network and memory."""
    models = {task: _int8_program(reference) for task, reference in NETWORKS.items()}
    return [vela.compile(models[task], npu.accelerator, npu.system_config, memory).cycles for npu, task, memory in keys]


def _int8_program(reference: Reference) -> bytes:
    torch.manual_seed(0)
    network, inputs = reference.network(), torch.randn(CALIBRATION_SAMPLES, *reference.shape)
    return tflite.quantise(tflite.convert(network, inputs[:1]), tflite.channel_last(inputs.numpy()))
