"""Lists a bundle's shortcomings: missing formats, layers computed in full, large programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def shortcomings(manifest: Mapping[str, Any], formats: Sequence[str], ungated_bytes: int) -> list[str]:
    """Return a line for each shortcoming of a bundle.

    Args:
        manifest: the manifest of the bundle.
        formats: the formats that the recipe asks for.
        ungated_bytes: size of the ungated backbone as one .tflite.

    >>> program = {"bytes": 900}
    >>> stage = {"core": "mcu", "program": program, "artifacts": [{"format": "tflite"}], "gate": None}
    >>> shortcomings({"stages": [stage]}, ["tflite"], 600)
    ["the bundle's programs have 900 bytes, 1.50 times those of the ungated backbone, 600"]
    """
    stages = manifest["stages"]
    lines = []
    for stage in stages:
        masked = [gate["site"] for gate in stage.get("gated_layers", ()) if gate.get("runs") == "reference"]
        if masked:
            sites = ", ".join(masked)
            lines.append(
                f"{stage['core']}: the program computes {sites} in full and masks; only a kernel would skip work"
            )
        if stage.get("parts_in_float"):
            lines.append(f"{stage['core']}: the stage with gated layers is in float32: {stage['parts_in_float']}")
    size = count_bytes(manifest)
    if size > ungated_bytes:
        ratio = f"{size / ungated_bytes:.2f} times those of the ungated backbone, {ungated_bytes:,}"
        lines.append(f"the bundle's programs have {size:,} bytes, {ratio}")
    written = {artifact["format"] for stage in stages for artifact in stage["artifacts"]}
    for name in formats:
        if name not in written:
            cores = ", ".join(dict.fromkeys(stage["core"] for stage in stages))
            lines.append(f"no {name} file is written: no core of this plan ({cores}) runs {name}")
    return lines


def count_bytes(manifest: Mapping[str, Any]) -> int:
    """Return the size in bytes of all programs that the cores of a bundle run."""
    return sum(_stage_bytes(stage) for stage in manifest["stages"])


def _stage_bytes(stage: Mapping[str, Any]) -> int:
    """Return the size in bytes of the programs that a core runs for a stage.

    They are the programs of the stage's parts, or its only program if it has no parts. If the stage's gate has a light
    path with a program, that program counts, too.
    """
    parts = stage.get("parts") or ()
    program = sum(part["program"]["bytes"] for part in parts) if parts else stage["program"]["bytes"]
    light = (stage["gate"] or {}).get("exit")
    return int(program + (light["program"]["bytes"] if light is not None else 0))
