"""The plug point for export formats: an exporter turns a compiled stage into the file that a core runs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, ClassVar

import numpy.typing as npt

from gatesearch.devices.profile import Core
from gatesearch.errors import UserError, unknown
from gatesearch.export.compiled import CompiledStage

GROUP = "gatesearch.exporters"
Array = npt.NDArray[Any]


class Exporter:
    """A format of artifacts. Conformance: :class:`gatesearch.testing.exporters.ExporterConformance`.

    Attributes:
        name: in recipes, device profiles and manifests; the name of its entry point.
        suffix: the suffix of its files.
        extra: the extra of the package that installs what it needs; None where that is always there.
    """

    name: ClassVar[str]
    suffix: ClassVar[str]
    extra: ClassVar[str | None] = None

    def write(self, stage: CompiledStage) -> bytes:
        """Return the file of a stage.

        Raises:
            UserError: the core of the stage does not run the format.
        """
        raise NotImplementedError

    def run(self, model: bytes, features: Array) -> tuple[Array, ...] | None:
        """Run a file on one window of float features [1, *shape], channels first.

        Returns:
            The outputs in float, channels first; None where this host cannot run the format.
        """
        return None

    def inspect(self, model: bytes, source: bytes) -> str | None:
        """Check what can be checked of a file that this host does not run.

        Args:
            model: the file.
            source: the .tflite of the same stage.

        Returns:
            What is wrong in one line, empty where nothing is; None where the format offers no check.
        """
        return None


def formats_of(core: Core, formats: Sequence[str]) -> list[str]:
    """Return what is written for a core: its .tflite first, which the NPU's file and verification start from.

    Args:
        core: with the formats that it runs.
        formats: to write where a core runs them; the only format of a core is always written.
    """
    others = [name for name in core.formats if name != "tflite"]
    return ["tflite", *(name for name in others if name in formats or len(core.formats) == 1)]


@cache
def _points() -> dict[str, EntryPoint]:
    return {point.name: point for point in sorted(entry_points(group=GROUP), key=lambda point: point.name)}


def exporter(name: str) -> Exporter:
    """Return the exporter of a format.

    Raises:
        UserError: there is none, or its extra is not installed.
    """
    points = _points()
    if name not in points:
        raise unknown("export.formats", "format", name, points)
    try:
        instance: Exporter = points[name].load()()
    except ImportError as error:
        raise UserError(f"export.formats: {name!r} cannot be loaded: {error}") from error
    return instance
