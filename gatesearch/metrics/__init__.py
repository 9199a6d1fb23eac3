"""Quality figures from plain tensors and arrays, for classification, reconstruction and streams.

The functions do not depend on models, gates or recipes. A name is imported when a program first uses it. So programs
without PyTorch can compute figures of streams (:mod:`gatesearch.metrics.streams`), which need only NumPy and SciPy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gatesearch.metrics.classification import LABELLED_FIGURES, Quality, quality
    from gatesearch.metrics.reconstruction import Fidelity, fidelity
    from gatesearch.metrics.routes import reach_by_kind, share
    from gatesearch.metrics.spectra import shortest_waveform, waveform_errors

__all__ = [
    "LABELLED_FIGURES",
    "Fidelity",
    "Quality",
    "fidelity",
    "quality",
    "reach_by_kind",
    "share",
    "shortest_waveform",
    "waveform_errors",
]

_SOURCES = {
    "LABELLED_FIGURES": "classification",
    "Fidelity": "reconstruction",
    "Quality": "classification",
    "fidelity": "reconstruction",
    "quality": "classification",
    "reach_by_kind": "routes",
    "share": "routes",
    "shortest_waveform": "spectra",
    "waveform_errors": "spectra",
}


def __getattr__(name: str) -> Any:
    if name not in _SOURCES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_SOURCES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
