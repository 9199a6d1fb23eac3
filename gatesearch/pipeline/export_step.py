"""What a run exports: the bundle of the picked plan, and the ungated rival as one program."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatesearch.compile import passes, tflite
from gatesearch.export import bundle
from gatesearch.model import GatedModel

if TYPE_CHECKING:
    from gatesearch.pipeline.steps import Run


def write(run: Run, path: Path) -> None:
    """Export what a run picked; the thresholds of its model become those of the artifacts."""
    s = run.setting
    [whole] = passes.run(run.reference, run.calibration, s.device, until="rescale")
    rival = s.device.core(run.cost.ungated()[0].cores[0])
    run.folder.write("best/ungated.tflite", tflite.compile(whole, getattr(s.frontend, "output_range", None)))
    run.folder.write_json("best/plan.json", run.picked.plan.to_dict())
    write_bundle(run, path, run.model, {"ungated": {"core": rival.name, "arithmetic": whole.arithmetic}})


def write_bundle(run: Run, path: Path, model: GatedModel, about: Mapping[str, Any]) -> None:
    """Export a trained model of a run, whose thresholds become those of its artifacts; about goes into the manifest."""
    s = run.setting
    frontend: dict[str, Any] = getattr(s.frontend, "describe", dict)()
    bundle.write(
        path,
        model,
        s.device,
        run.calibration,
        s.features.validation,
        s.features.positive,
        formats=run.recipe.export.formats,
        classes=s.data.classes,
        about={
            "recipe": run.recipe.name,
            "synthetic_data": s.data.synthetic,
            "frontend": frontend,
            **about,
        },
        input_range=getattr(s.frontend, "output_range", None),
    )
