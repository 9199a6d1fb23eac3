"""Folders of later cores for TensorFlow Lite Micro (TFLM), and the calls that a simulated interpreter of TFLM plays."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from gatesearch.devices import profile
from gatesearch.export.firmware import Firmware, write_firmware
from gatesearch.export.tflm import Tflm, write_tflm
from gatesearch.export.tflm.programs import Tensor, TflmProgram
from gatesearch.kernels import native
from gatesearch.runtime.program import Array, Program
from tests.export.firmware.small_bundle import export_listening, make_sound

HERE = Path(__file__).parent
Call = tuple[tuple[Array, ...], tuple[Array, ...]]


@dataclass(frozen=True)
class Device:
    """A bundle, its firmware, its folder for TFLM, and each call of a model on the golden vectors.

    Args:
        bundle: the folder of the bundle.
        firmware: the firmware.
        tflm: the later cores.
        calls: inputs and outputs of each call, by the model in the bundle.
    """

    bundle: Path
    firmware: Firmware
    tflm: Tflm
    calls: dict[bytes, list[Call]]


@contextmanager
def recorded_calls() -> Iterator[dict[bytes, list[Call]]]:
    """Record each call of a program that LiteRT's reference kernels run."""
    calls: dict[bytes, list[Call]] = {}
    run = Program.__call__

    def record(self: Program, x: Array, *state: Array) -> tuple[Array, ...]:
        outputs = run(self, x, *state)
        if self.engine == "reference":
            calls.setdefault(self.model, []).append(((x, *state), outputs))
        return outputs

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Program, "__call__", record)
        yield calls


def build(bundle: Path, device: str) -> Device:
    """Write firmware and the folder for TFLM beside a bundle."""
    firmware = write_firmware(bundle, bundle.parent / "firmware", make_sound())
    with recorded_calls() as calls:
        tflm = write_tflm(bundle, bundle.parent / "tflm", profile.load(device), make_sound())
    return Device(bundle, firmware, tflm, calls)


@pytest.fixture(scope="session")
def two_cores(tmp_path_factory: pytest.TempPathFactory) -> Device:
    """Return a device whose later core runs two stages."""
    if native.load() is None or shutil.which("make") is None or shutil.which("c++") is None:
        pytest.skip("needs make and compilers of C and C++")
    cores = ("stm32u3c5", ("m33", "hsp", "hsp"))
    folder = tmp_path_factory.mktemp("two cores") / "bundle"
    return build(export_listening(folder, 640, 1, False, ((0.5, 1, 0), (0.3, 2, 3)), device=cores), cores[0])


@pytest.fixture(scope="session")
def with_npu(small_firmware: Firmware) -> Device:
    """Return a device with an NPU; the stage has two phases."""
    folder = small_firmware.folder.parent
    with recorded_calls() as calls:
        tflm = write_tflm(folder / "bundle", folder / "tflm", profile.load("three_core"), make_sound())
    return Device(folder / "bundle", small_firmware, tflm, calls)


def write_recorded(device: Device, operators: int, path: Path, failure: int = -1) -> None:
    """Write recorded.h: for each model, the calls that the simulated interpreter knows.

    Args:
        device: the device.
        operators: number of operators that the resolver has to hold.
        path: the file.
        failure: number of the call that fails; -1 for none.
    """
    texts, rows = ['#include "gs_tflm_plan.h"'], []
    for program in device.tflm.programs:
        calls = _graph_order(device, program)
        size = len(calls[0]) if calls else 1
        values = ",\n".join("{" + ",".join(map(str, call.tolist())) + "}" for call in calls) or "{0}"
        texts.append(f"static const int8_t {program.name}_values[][{size}] = {{\n{values}}};")
        pointers = ", ".join(f"{program.name}_values[{k}]" for k in range(max(1, len(calls))))
        texts.append(f"static const int8_t *const {program.name}_calls[] = {{{pointers}}};")
        sizes = ", ".join("{" + ", ".join(map(str, each)) + "}" for each in map(_sizes, _ends(program)))
        counts = ", ".join(str(len(each)) for each in _ends(program))
        rows.append(f"{{{program.name}, {{{counts}}}, {{{sizes}}}, {len(calls)}, {program.name}_calls}}")
    texts.append(
        f"#define RECORDED_OPERATORS {operators}\n#define RECORDED_FAILURE {failure}\n"
        "struct recorded_model {\n  const unsigned char *model;\n  int count[2];\n  size_t bytes[2][16];\n"
        "  int calls;\n  const int8_t *const *values;\n};\n"
        f"static const recorded_model recorded_models[] = {{\n{','.join(rows)}}};\n"
    )
    path.write_text("\n".join(texts))


def _ends(program: TflmProgram) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    return program.inputs, program.outputs


def _sizes(tensors: Sequence[Tensor]) -> list[int]:
    return [each.bytes for each in sorted(tensors, key=lambda each: each.position)]


def _graph_order(device: Device, program: TflmProgram) -> list[Array]:
    """Return each call of a program as one array: its inputs, then its outputs, in the order of the model's graph."""
    from gatesearch.runtime.manifest import read_artifact

    model = read_artifact(device.bundle, program.source)
    rows = []
    for call in device.calls.get(model, []):
        parts = []
        for values, tensors in zip(call, _ends(program), strict=True):
            order = sorted(range(len(tensors)), key=lambda k: tensors[k].position)
            parts += [values[k].ravel() for k in order]
        rows.append(np.concatenate(parts))
    return rows
