"""Writes the files of a stage and builds its entry in the manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gatesearch._lib.files import write_whole
from gatesearch.compile import tflite
from gatesearch.compile.byte_parts import PartFile, write_parts
from gatesearch.compile.partition import cut_for_kernels
from gatesearch.compile.signature import describe_signature
from gatesearch.devices.profile import Core
from gatesearch.export.compiled import CompiledStage
from gatesearch.export.exporters import exporter, formats_of
from gatesearch.export.hop_stages import HopStage
from gatesearch.export.thresholds import GateThreshold
from gatesearch.gates import cut_gates, layer_gates, work_of
from gatesearch.graph.sites import LayerSite
from gatesearch.model import GatedModel
from gatesearch.plan import PlacedGate
from gatesearch.runtime.tensor_spec import TensorSpec


class StageWriter:
    """Writes stages of a model into the folder of a bundle.

    Args:
        folder: the folder of the bundle.
        model: the model whose stages are written.
        formats: formats besides .tflite; each core gets those of them that it runs.
        listens: whether the bundle listens to a stream. Firmware and listeners run all stages by kernels, whatever
            engine a core has. So a stage with gated or recurrent layers also gets int8 parts for kernels.
    """

    def __init__(self, folder: Path, model: GatedModel, formats: Sequence[str], listens: bool = False) -> None:
        self.folder, self.model, self.formats, self.listens = folder, model, formats, listens

    def write(
        self, k: int, stage: CompiledStage, threshold: GateThreshold | None, hop_stage: HopStage | None = None
    ) -> dict[str, Any]:
        """Write stage ``k`` and return its entry.

        Args:
            k: the index of the stage.
            stage: the compiled stage.
            threshold: the threshold of the stage's gate; None for the last stage.
            hop_stage: the stage's programs by hops; None if the stage has none.
        """
        files = self._write_formats(k, stage)
        parts, in_float = self._write_parts(k, stage)
        kernel_parts, obstacle = ([], in_float) if parts else self._write_kernel_parts(k, stage)
        channels = stage.graph.leaving
        return {
            "index": k,
            "core": stage.core.name,
            "engine": stage.program.engine,
            "arithmetic": stage.graph.arithmetic,
            "gated_layers": self._gated_layers(k, parts),
            "program": files[0],
            "parts": parts,
            "parts_in_float": in_float,
            "kernel_parts": kernel_parts,
            "kernel_obstacle": obstacle,
            "artifacts": files + [part["program"] for part in (*parts, *kernel_parts)],
            "input": _describe(stage.program.inputs[0]),
            "outputs": self._outputs(stage, gated=threshold is not None),
            "logit_offset": stage.graph.logit_offset,
            "channels": None if channels is None else list(channels),
            "gate": None if threshold is None else self._gate(k, stage, threshold),
            "hops": None if hop_stage is None else self._hops(k, stage, hop_stage),
        }

    def _hops(self, k: int, stage: CompiledStage, hop_stage: HopStage) -> dict[str, Any]:
        """Write a stage's programs by hops and return their entry."""
        programs, count = hop_stage.programs, len(stage.program.outputs)
        return {
            "step": self._write(k, f"stage{k}_step.tflite", programs.step, stage.core, "tflite"),
            "catch_up": self._write(k, f"stage{k}_catch_up.tflite", programs.catch_up, stage.core, "tflite"),
            "axis": hop_stage.axis,
            "window": hop_stage.window,
            "fresh": hop_stage.fresh,
            "input": _describe(hop_stage.step.inputs[0]),
            "state": [_describe(spec) for spec in hop_stage.step.outputs[count:]],
            "state_inputs": list(range(1, len(hop_stage.step.inputs))),
            "state_outputs": list(range(count, len(hop_stage.step.outputs))),
        }

    def _outputs(self, stage: CompiledStage, gated: bool) -> dict[str, Any]:
        last = "logits" if len(self.model.output_shape) == 1 else "output"
        names = ("passed", "logit") if gated else (last,)
        return {name: _describe(spec) for name, spec in zip(names, stage.program.outputs, strict=True)}

    def _gate(self, k: int, stage: CompiledStage, threshold: GateThreshold) -> dict[str, Any]:
        return {
            **cut_gates(self.model.plan)[k].to_dict(),
            "theta": threshold.theta,
            "theta_integer": threshold.integer,
            "answer": threshold.answer,
            # The exported logit e represents the model's logit, which is center + (e - 3) half_width / 3.
            "logit": stage.graph.logit_window,
            "exit": None if stage.exit is None else self._exit(k, stage.exit),
        }

    def _exit(self, k: int, stage: CompiledStage) -> dict[str, Any]:
        files = self._write_formats(k, stage, "_exit")
        return {
            "program": files[0],
            "artifacts": files,
            "input": _describe(stage.program.inputs[0]),
            "outputs": {"output": _describe(stage.program.outputs[0])},
        }

    def _gated_layers(self, k: int, parts: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the layer gates of a stage, each with the kernel that it needs and the kernel that this bundle has."""
        kernels = {part["site"]: part["kernel"] for part in parts}
        layers = zip(self.model.layer_sites, layer_gates(self.model.plan), self.model.layer_stages, strict=True)
        return [
            {**gate.to_dict(), "kernel": _kernel(site, gate), "runs": kernels.get(gate.site) or "reference"}
            for site, gate, stage in layers
            if stage == k
        ]

    def _write_formats(self, k: int, stage: CompiledStage, suffix: str = "") -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = []
        for form in map(exporter, formats_of(stage.core, self.formats)):
            entry = self._write(k, f"stage{k}{suffix}{form.suffix}", form.write(stage), stage.core, form.name)
            # The .tflite comes first; every other file of the stage holds its sha256 as the source.
            entries.append(entry | ({"source": entries[0]["sha256"]} if entries else {}))
        return entries

    def _write_parts(self, k: int, stage: CompiledStage) -> tuple[list[dict[str, Any]], str]:
        """Write the parts of a stage whose core has kernels for its layers; the whole program is written as well.

        Returns:
            The entries of the parts, and why they are in float32; "" for int8, and for a stage without parts.
        """
        files, in_float = write_parts(stage.graph, tflite.convert, stage.input_range, self.listens)
        return self._write_files(k, stage, files), in_float

    def _write_kernel_parts(self, k: int, stage: CompiledStage) -> tuple[list[dict[str, Any]], str]:
        """Write the int8 parts of a stage that listens on a core whose engine runs no kernels.

        Returns:
            The entries of the parts, and why there are none although .tflite runs the stage in float; else "".
        """
        if not self.listens or stage.graph.arithmetic == "int8":
            return [], ""
        graph = cut_for_kernels(stage.graph)
        if not graph.parts:
            return [], "no kernel replaces its layers in float"
        files, in_float = write_parts(graph, tflite.convert, stage.input_range, self.listens)
        return ([], in_float) if in_float else (self._write_files(k, stage, files), "")

    def _write_files(self, k: int, stage: CompiledStage, files: Sequence[PartFile]) -> list[dict[str, Any]]:
        entries = []
        for i, (entry, blob) in enumerate(files):
            form, suffix = ("tflite", ".tflite") if entry["kernel"] is None else ("kernel", ".npz")
            program = self._write(k, f"stage{k}_part{i}{suffix}", blob, stage.core, form)
            entries.append(entry | {"program": program})
        return entries

    def _write(self, k: int, name: str, blob: bytes, core: Core, form: str) -> dict[str, Any]:
        path = self.folder / core.name / name
        write_whole(path, blob)
        signature = {"signature": describe_signature(blob)} if form == "tflite" else {}
        return {
            "core": core.name,
            "stage": k,
            "format": form,
            "path": str(path.relative_to(self.folder)),
            "bytes": len(blob),
            "sha256": hashlib.sha256(blob).hexdigest(),
            **signature,
        }


def _kernel(site: LayerSite, gate: PlacedGate) -> dict[str, Any]:
    """Describe the kernel that a core needs to skip what the gate leaves out; the .tflite file skips nothing.

    A call is one part of the layer's work, as in :class:`gatesearch.gates.Call`. Its entry holds the magnitude bits of
    activations and weights, the names of what it skips, and its share of the layer's multiplications.
    """
    calls = work_of(site, gate).calls
    return {
        "op": site.op,
        "calls": [
            {"bits": list(call.bits), "skips": [name for name, _ in call.remaining], "size": call.size}
            for call in calls
        ],
    }


def _describe(spec: TensorSpec) -> dict[str, Any]:
    return {
        "shape": list(spec.shape),
        "dtype": str(spec.dtype),
        "scale": float(spec.scale),
        "zero_point": int(spec.zero_point),
    }
