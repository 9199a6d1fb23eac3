"""Figures of predictions, from plain tensors: quality of a cascade, and distance between waveforms.

Nothing here knows of models, gates or recipes.
"""

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
