"""The quality of a gated network that reconstructs its input: fidelity, also by path, and signal-to-noise ratio."""

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

ERROR_CHUNK_SAMPLES = 256  # number of waveforms whose spectra are in memory at a time
SMALLEST_ENERGY = 1e-9  # lower bound that keeps ratios to silence finite


@dataclass(frozen=True, slots=True)
class Fidelity:
    """Figures of one model on one split.

    Fidelity is 1 - e / e(silence), where e is the mean error of the output and e(silence) the mean error of silence.
    Fidelity is 1 for a perfect output, and 0 for an output that is no better than silence.

    Args:
        fidelity: the fidelity of the hard cascade, in which gates stop samples as on a device.
        error: mean error e of the hard cascade.
        snr_db: energy of the inputs divided by the energy of the error, in decibels.
        shares: share of the samples that leave at each gate, then the share that leaves at none; they add up to 1.
        paths: for each gate, the fidelity if all samples left at this gate; then the fidelity if no sample left early.
        random: expected fidelity if samples took the paths at random, with the same ``shares``.
        passed: for each kind of sample, the shares that reach stages 0, 1, 2 and so on; the first entry is 1.
        by_class: for each class, the share of samples that leave at a gate; training does not use the classes.
        layers: the report of each layer gate, by site.
        gate_recalls: empty, since there are no positives.
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
        """Share of the samples that leave at a gate."""
        return 1.0 - self.shares[-1]

    def summary(self) -> dict[str, Any]:
        """Return the figures, named as in summary.json; figures that need labels are null."""
        own = {"quality": self.fidelity, "error": self.error, "snr_db": self.snr_db}
        return dict.fromkeys(LABELLED_FIGURES) | own

    def gated_summary(self) -> dict[str, Any]:
        """Return the figures of the model's gates, named as in summary.json; figures about negatives are null."""
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
    """Return the figures of a cascade from its outputs and exits.

    Args:
        outputs: output waveform of each sample, [N, ...].
        originals: input waveform of each sample, [N, ...].
        exits: index of the gate at which each sample left, or the number of gates if it left at none, [N].
        path_errors: error of each sample on each path, [N, gates + 1]. Column k holds the errors if all samples left at
            gate k; the last column holds them if no sample left at a gate.
        labels: class of each sample, [N]; only ``by_class`` uses it.
        kinds: for every sample, an index into ``kind_names``, [N].
        kind_names: names of the kinds of samples: the positives together, then each negative class.
        classes: names of the classes by label; empty for none.

    Raises:
        DataError: there are no samples, lengths differ, or a value is not finite.
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
    """Return :func:`waveform_errors` of all waveforms, [N]; they are computed in chunks to limit memory."""
    pairs = zip(outputs.split(ERROR_CHUNK_SAMPLES), originals.split(ERROR_CHUNK_SAMPLES), strict=True)
    return torch.cat([waveform_errors(output, original) for output, original in pairs])
