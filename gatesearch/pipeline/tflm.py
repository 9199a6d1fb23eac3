"""Writes and checks the later cores of a run's best plan for TensorFlow Lite Micro (TFLM)."""

from __future__ import annotations

from pathlib import Path

from gatesearch._lib import console
from gatesearch.errors import UserError
from gatesearch.export.tflm import write_tflm
from gatesearch.export.tflm.check import check_tflm
from gatesearch.pipeline.export import PlanBundle
from gatesearch.pipeline.problem import Problem
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.pipeline.stream_sound import read_test_sound

TFLM = "best/tflm"


def export_tflm(problem: Problem, bundle: PlanBundle, folder: Path) -> None:
    """Write the folder of a bundle's later cores, and compare it with the bundle.

    Raises:
        UserError: the run has no detector, the plan has no stage for TFLM, or TFLM cannot run one.
    """
    written = write_tflm(bundle.path, folder, problem.device, read_test_sound(problem))
    console.say(written.describe())
    console.say(check_tflm(folder, bundle.path))


def verify_tflm(bundle: PlanBundle, folder: RunFolder) -> str | None:
    """Check the run's folder for TFLM if there is one; return why it fails, or None."""
    if not (folder / TFLM).exists():
        return None
    try:
        console.say(check_tflm(folder / TFLM, bundle.path))
    except UserError as error:
        console.warn(str(error))
        return str(error)
    return None
