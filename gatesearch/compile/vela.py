"""The back end for Arm Ethos-U: runs the compiler Vela in this process and caches its results.

Results stay in the user's cache folder, under a digest of the model, the arguments and Vela's version.

Every figure of this module is *modelled*. Vela's cycles are the compiler's own estimate; its manual asks users to check
them on a fixed virtual platform or an FPGA. Vela does not estimate energy.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import tempfile
import zipfile
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from gatesearch._lib import user_cache
from gatesearch._lib.plugins import need
from gatesearch._lib.tool_output import ToolError, quiet
from gatesearch.compile.flatbuffer import operator_names

CONFIG = "Arm/vela.ini"
NPU_OPERATOR = "ethos-u"


@dataclass(frozen=True, slots=True)
class VelaResult:
    """A compiled stage, and the compiler's estimates for it.

    Args:
        cycles: modelled cycles of the neural processing unit (NPU) for one inference, without operators on the CPU.
        sram_bytes: largest use of SRAM in the compiler's plan.
        flash_bytes: bytes of constants in flash (compressed weights, biases, commands) in the compiler's layout.
        model: .tflite in which one custom operator stands for everything that the NPU runs.
        cpu_operators: operators that run on the CPU, because the NPU cannot run them.
    """

    cycles: int
    sram_bytes: int
    flash_bytes: int
    model: bytes
    cpu_operators: tuple[str, ...]


def compile(
    model: bytes,
    accelerator: str = "ethos-u55-128",
    system_config: str = "Ethos_U55_High_End_Embedded",
    memory_mode: str = "Shared_Sram",
) -> VelaResult:
    """Compile an int8 .tflite for an Ethos-U; the cycles in the result are the compiler's estimate.

    Args:
        model: int8 model from :func:`gatesearch.compile.tflite.quantise`. Float operators stay on the CPU.
        accelerator: name of the accelerator, such as ``ethos-u55-128`` (128 multiply-accumulates a cycle).
        system_config: section of Vela's configuration file with the bandwidths and latencies of the memories, *relative
            to the NPU's clock*.
        memory_mode: section of the same file that says which memory holds weights and which holds activations.

    Raises:
        ToolError: Vela refuses the model or the configuration.
    """
    folder = user_cache.find_folder("vela")
    stem = _key(model, accelerator, system_config, memory_mode)
    stored = user_cache.read_file(folder, stem, ".zip")
    if stored is not None:
        return _unpack(stored)
    result = _run_vela(model, accelerator, system_config, memory_mode)
    user_cache.store_file(folder, stem, ".zip", _pack(result))
    return result


def _key(model: bytes, *arguments: str) -> str:
    prefix = json.dumps([metadata.version("ethos-u-vela"), CONFIG, *arguments]).encode()
    return hashlib.sha256(prefix + b"\0" + model).hexdigest()[:32]


def _unpack(stored: bytes) -> VelaResult:
    with zipfile.ZipFile(io.BytesIO(stored)) as archive:
        row = json.loads(archive.read("result.json"))
        return VelaResult(**{**row, "cpu_operators": tuple(row["cpu_operators"])}, model=archive.read("model"))


def _pack(result: VelaResult) -> bytes:
    row = {name: value for name, value in asdict(result).items() if name != "model"}
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("result.json", json.dumps(row))
        archive.writestr("model", result.model)
    return stored.getvalue()


def _run_vela(model: bytes, accelerator: str, system_config: str, memory_mode: str) -> VelaResult:
    """Compile an int8 program in a temporary folder, and read cycles and memory from Vela's output."""
    need("Vela (Ethos-U)", "ethosu")
    with tempfile.TemporaryDirectory(prefix="gatesearch-vela-") as folder, quiet("Vela") as output:
        from ethosu.vela import vela

        source = Path(folder, "stage.tflite")
        source.write_bytes(model)
        status = vela.main(
            [
                str(source),
                f"--output-dir={folder}",
                f"--accelerator-config={accelerator}",
                f"--config={CONFIG}",
                f"--system-config={system_config}",
                f"--memory-mode={memory_mode}",
                "--verbose-cycle-estimate",
            ]
        )
        if status:
            raise ToolError(f"exit status {status}")
        compiled = Path(folder, "stage_vela.tflite").read_bytes()
        with open(next(Path(folder).glob("*_summary_*.csv")), newline="") as file:
            summary = next(csv.DictReader(file))
        # The summary file has no column of cycles that can be read by name, but the compiler prints the cycles.
        total = re.search(r"^Total cycles\s+(\d+) cycles/batch", output(), re.MULTILINE)
    operators = operator_names(compiled)
    return VelaResult(
        cycles=int(total.group(1)) if total and NPU_OPERATOR in operators else 0,
        sram_bytes=_bytes(summary["sram_memory_used"]),
        flash_bytes=_bytes(summary["off_chip_flash_memory_used"]) + _bytes(summary["on_chip_flash_memory_used"]),
        model=compiled,
        cpu_operators=tuple(name for name in operators if name != NPU_OPERATOR),
    )


def _bytes(kib: str) -> int:
    return round(float(kib) * 1024)
