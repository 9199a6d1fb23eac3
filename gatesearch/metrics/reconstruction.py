"""Quality of a codec with gates: fidelity, signal to noise, and quality of each path."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from gatesearch.metrics.checks import check_finite, check_lengths
from gatesearch.metrics.classification import LABELLED_FIGURES
from gatesearch.metrics.routes import reach_by_kind, share
from gatesearch.metrics.spectra import waveform_errors

ERROR_CHUNK_SAMPLES = 256  # waveforms whose spectra are held at once
SMALLEST_ENERGY = 1e-9  # of silence, so that a ratio is finite


@dataclass(frozen=True, slots=True)
class Fidelity:
    """Figures of one model on one split. Fidelity is 1 - e / e(silence): 1 is perfect, 0 no better than silence.

    Args:
        fidelity: the fidelity of the hard cascade.
        error: mean error of a sample, e.
        snr_db: energy of the inputs over that of the error, in decibels.
        shares: share of the samples that leaves at each gate, and that leaves at none; they add up to 1.
        paths: fidelity if all samples left at each gate, and if none left anywhere.
        random: fidelity if as many samples as ``shares`` says took each path at random (the expectation).
        passed: for each kind, the share that reaches stage k; the first entry is 1.
        by_class: for each class, the share that leaves at any gate; the model never learned the classes.
        layers: what each gate in the place of a layer observed, by site.
        gate_recalls: none, as there are no positives among negatives.
    """

    fidelity: float
    error: float
    snr_db: float
    shares: tuple[float, ...]
    paths: tuple[float, ...]
    random: float
    passed: Mapping[str, tuple[float, ...]]
    by_class: Mapping[str, float] = field(default_factory=dict)
    layers: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    gate_recalls: tuple[float, ...] = ()

    @property
    def value(self) -> float:
        """The fidelity."""
        return self.fidelity

    @property
    def light_share(self) -> float:
        """Share of the samples that leave at any gate."""
        return 1.0 - self.shares[-1]

    def summary(self) -> dict[str, Any]:
        """Return the figures by the names of summary.json; null for those that need labels."""
        own = {"quality": self.fidelity, "error": self.error, "snr_db": self.snr_db}
        return dict.fromkeys(LABELLED_FIGURES) | own

    def gated_summary(self) -> dict[str, Any]:
        """Return what its gates do, by the names of summary.json; there are no negatives that could be stopped."""
        return {
            "early_stop_rate": None,
            "gate_recall": None,
            "early_stop_by_kind": {},
            "first_gate_stop_by_kind": {},
            "light_share": self.light_share,
            "light_share_by_class": dict(self.by_class),
            "quality_all_heavy": self.paths[-1],
            "quality_all_light": self.paths[0],
            "quality_random": self.random,
        }


def fidelity(
    outputs: Tensor,
    originals: Tensor,
    exits: Tensor,
    path_errors: Tensor,
    labels: Tensor,
    kinds: Tensor,
    kind_names: Sequence[str],
    classes: Sequence[str] = (),
) -> Fidelity:
    """Return the figures from what a cascade did.

    Args:
        outputs: the waveform for each sample, [N, ...].
        originals: the waveform that it should be, [N, ...].
        exits: index of the gate at which each sample left, the number of gates where it left at none, [N].
        path_errors: error of each sample on each path, [N, gates + 1].
        labels: [N]; only ``by_class`` reads them.
        kinds: index into ``kind_names`` of every sample, [N].
        kind_names: names of the kinds.
        classes: names of the classes by label; empty for none.

    Raises:
        DataError: no samples, different lengths, or a value that is not finite.
    """
    check_lengths("fidelity", outputs=outputs, originals=originals, exits=exits, path_errors=path_errors)
    check_finite("fidelity", outputs=outputs, originals=originals, path_errors=path_errors)
    gates = path_errors.shape[1] - 1
    error = _errors(outputs, originals).mean()
    silence = _errors(torch.zeros_like(originals), originals).double().mean().clamp(min=SMALLEST_ENERGY)
    energy = max(SMALLEST_ENERGY, float(originals.square().mean()))
    noise = max(SMALLEST_ENERGY, float((outputs - originals).square().mean()))
    shares = torch.bincount(exits, minlength=gates + 1).double() / len(originals)
    paths = 1 - path_errors.double().mean(0) / silence
    left_early = {name: exits[labels == label] < gates for label, name in enumerate(classes)}
    return Fidelity(
        fidelity=float(1 - error.double() / silence),
        error=float(error),
        snr_db=10 * math.log10(energy / noise),
        shares=tuple(shares.tolist()),
        paths=tuple(paths.tolist()),
        random=float((shares * paths).sum()),
        passed=reach_by_kind(exits, kinds, kind_names, gates),
        by_class={name: share(flags) for name, flags in left_early.items() if len(flags)},
    )


def _errors(outputs: Tensor, originals: Tensor) -> Tensor:
    """Return :func:`waveform_errors`, some waveforms at a time, [N]."""
    pairs = zip(outputs.split(ERROR_CHUNK_SAMPLES), originals.split(ERROR_CHUNK_SAMPLES), strict=True)
    return torch.cat([waveform_errors(output, original) for output, original in pairs])
