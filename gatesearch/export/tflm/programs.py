"""Chooses the programs of a bundle that TensorFlow Lite Micro (TFLM) runs on the plan's later cores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gatesearch.compile import flatbuffer, vela
from gatesearch.compile.signature import describe_signature
from gatesearch.devices.profile import Core, Device, Vela
from gatesearch.errors import UserError
from gatesearch.export.tflm.arena import Arena, measure_arena, model_arena, tensor_bytes
from gatesearch.export.tflm.operators import resolver_methods
from gatesearch.runtime.manifest import read_artifact

# Engines of cores that TFLM can serve. LiteRT serves application cores, and an imagined core runs no file.
ENGINES = ("tflm", "kernels", "reference", "vela")
CATCH_UP, STEP = "catch_up", "step"


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output of a program.

    Args:
        position: its position among the inputs or outputs of the .tflite graph.
        bytes: its size.
    """

    position: int
    bytes: int


@dataclass(frozen=True, slots=True)
class TflmProgram:
    """A program of a stage for TFLM.

    Args:
        stage: index of the stage.
        role: ``"catch_up"`` for a whole window, ``"step"`` for the new frames of a hop.
        core: name of the core.
        model: bytes of the .tflite file.
        source: path and sha256 of the bundle's file that the model is, or from which Vela compiled it.
        npu: whether Vela compiled the model for an NPU.
        inputs: the frames, then the state, each int8.
        outputs: what the firmware reads, then the state, each int8.
        own: number of outputs that the firmware reads.
        arena: the working memory.
    """

    stage: int
    role: str
    core: str
    model: bytes
    source: Mapping[str, str]
    npu: bool
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    own: int
    arena: Arena

    @property
    def name(self) -> str:
        """The name of the model's C array and of its file."""
        return f"gs_stage{self.stage}_{self.role}"

    @property
    def methods(self) -> list[str]:
        """The methods that add the model's operators to a resolver."""
        return resolver_methods([self.model])


def list_programs(folder: Path, manifest: Mapping[str, Any], device: Device) -> list[TflmProgram]:
    """Return the programs of the stages that TFLM can run: int8 stages on other cores than the front end's.

    The front end runs on the core that senses. Its stages belong to them if TFLM is the engine of that core.

    Args:
        folder: the folder of the bundle.
        manifest: its manifest.
        device: the device that has the cores of the plan.

    Raises:
        UserError: there is no such stage, or TFLM cannot run one; the message names it.
    """
    stages = [stage for stage in manifest["stages"] if _fits(device, stage["core"])]
    if not stages:
        cores = ", ".join(f"{stage['core']} ({device.core(stage['core']).engine})" for stage in manifest["stages"])
        raise UserError(
            f"target=tflm: no stage for TFLM: the stages run on {cores}, the front end on {device.sense.core}; wanted: "
            f"a stage on another core of engine {', '.join(ENGINES)}, or target=firmware"
        )
    return [program for stage in stages for program in _read_stage(folder, stage, device.core(stage["core"]))]


def _fits(device: Device, name: str) -> bool:
    engine = device.core(name).engine
    return engine == "tflm" or (name != device.sense.core and engine in ENGINES)


def _read_stage(folder: Path, stage: Mapping[str, Any], core: Core) -> Iterator[TflmProgram]:
    where = f"target=tflm: stage {stage['index']} on {core.name}"
    hops = stage.get("hops")
    if stage["arithmetic"] != "int8":
        raise UserError(f"{where}: its program is in {stage['arithmetic']}; wanted: int8, as gates between stages give")
    if hops is not None and hops["axis"] != 1:
        raise UserError(f"{where}: time is axis {hops['axis']} of its input; wanted: axis 1, which the firmware passes")
    files = {CATCH_UP: stage["program"]} if hops is None else {CATCH_UP: hops["catch_up"], STEP: hops["step"]}
    for role, artifact in files.items():
        try:
            yield _read_program(folder, stage, core, role, artifact)
        except UserError as error:
            raise UserError(f"{where}, {artifact['path']}: {error}") from None


def _read_program(
    folder: Path, stage: Mapping[str, Any], core: Core, role: str, artifact: Mapping[str, Any]
) -> TflmProgram:
    model, npu = read_artifact(folder, artifact), isinstance(core.timing, Vela)
    if isinstance(core.timing, Vela):
        timing = core.timing
        model = vela.compile(model, timing.accelerator, timing.system_config, timing.memory_mode).model
    resolver_methods([model])
    inputs, outputs = read_tensors(model)
    return TflmProgram(
        stage=stage["index"],
        role=role,
        core=core.name,
        model=model,
        source={key: artifact[key] for key in ("path", "sha256")},
        npu=npu,
        inputs=inputs,
        outputs=outputs,
        own=len(stage["outputs"]),
        arena=model_arena(model) if npu else measure_arena(model),
    )


def read_tensors(model: bytes) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Return the inputs and outputs of a model in the order of its signature.

    Raises:
        UserError: one of them is not int8.
    """
    from ai_edge_litert import schema_py_generated as schema

    graph, signature = flatbuffer.read(model).subgraphs[0], describe_signature(model)
    both = []
    for end, indices in (("inputs", graph.inputs), ("outputs", graph.outputs)):
        tensors = [(entry["position"], graph.tensors[indices[entry["position"]]]) for entry in signature[end]]
        for position, tensor in tensors:
            if tensor.type != schema.TensorType.INT8:
                raise UserError(f"one of its {end} (number {position}) is not int8")
        both.append(tuple(Tensor(position, tensor_bytes(tensor)) for position, tensor in tensors))
    return both[0], both[1]
