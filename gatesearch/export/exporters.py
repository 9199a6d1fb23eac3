"""The plug point for exporters, which turn a compiled stage into the file that a core runs."""

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
    """The base class of an exporter, which writes one format of artifacts.

    :class:`gatesearch.testing.exporters.ExporterConformance` tests a subclass.

    Attributes:
        name: name of the format in recipes, device profiles and manifests, and of its entry point.
        suffix: the suffix of its files.
        extra: the extra (optional dependencies) that installs what the format needs; None if it needs none.
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
            The outputs in float, channels first; None if this host cannot run the format.
        """
        return None

    def inspect(self, model: bytes, source: bytes) -> str | None:
        """Check a file without running it, for formats that this host does not run.

        Args:
            model: the bytes of the file.
            source: the .tflite of the same stage.

        Returns:
            One line that says what is wrong, empty for a good file; None if the format offers no check.
        """
        return None


def formats_of(core: Core, formats: Sequence[str]) -> list[str]:
    """Return the formats that are written for a core, ``"tflite"`` first.

    Every stage has a .tflite: Vela compiles it for an NPU, and verification compares the other files with it.

    Args:
        core: the core, which lists the formats that it runs.
        formats: the requested formats. If a core runs only one format, that format is written in any case.
    """
    others = [name for name in core.formats if name != "tflite"]
    return ["tflite", *(name for name in others if name in formats or len(core.formats) == 1)]


@cache
def _points() -> dict[str, EntryPoint]:
    return {point.name: point for point in sorted(entry_points(group=GROUP), key=lambda point: point.name)}


def exporter(name: str) -> Exporter:
    """Return the exporter of a format.

    Raises:
        UserError: no exporter has this name, or its extra is not installed.
    """
    points = _points()
    if name not in points:
        raise unknown("export.formats", "format", name, points)
    try:
        instance: Exporter = points[name].load()()
    except ImportError as error:
        raise UserError(f"export.formats: {name!r} cannot be loaded: {error}") from error
    return instance
