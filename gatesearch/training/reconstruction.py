"""What a gated model that gives back its input is worth, on the hard cascade (techniques section 0.5)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from gatesearch.model import GatedModel
from gatesearch.training.evaluate import BATCH, LABELLED, observed_cascade, reach_by_kind
from gatesearch.training.features import FeatureSplit
from gatesearch.training.spectra import waveform_errors
from gatesearch.training.tensors import channels_last


@dataclass(frozen=True, slots=True)
class Fidelity:
    """Figures of one model on one split. Fidelity is 1 - e / e(silence): 1 is perfect, 0 no better than silence.

    Args:
        fidelity: of the hard cascade.
        error: mean error of a sample, e.
        snr_db: energy of the inputs over that of what is wrong, in decibels.
        shares: of the samples, that leave at each gate, and that leave nowhere; they add up to 1.
        paths: fidelity if all samples left at each gate, and if none left anywhere.
        random: fidelity if as many samples as ``shares`` says took each path, drawn by lot (the expectation).
        passed: for each kind, the share that reaches stage k; the first entry is 1.
        by_class: for each class, the share that leaves at any gate; no class was ever shown to the model.
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
        """Return the figures by the names of summary.json; null what only labels could tell."""
        own = {"quality": self.fidelity, "error": self.error, "snr_db": self.snr_db}
        return dict.fromkeys(LABELLED) | own

    def gated_summary(self) -> dict[str, Any]:
        """Return what its gates do, by the names of summary.json; there are no negatives that could be stopped."""
        return {
            **dict.fromkeys(("early_stop_rate", "gate_recall")),
            "early_stop_by_kind": {},
            "first_gate_stop_by_kind": {},
            "light_share": self.light_share,
            "light_share_by_class": dict(self.by_class),
            "quality_all_heavy": self.paths[-1],
            "quality_all_light": self.paths[0],
            "quality_random": self.random,
        }


@torch.no_grad()
def assess_reconstruction(
    model: GatedModel, split: FeatureSplit, kind_names: Sequence[str], classes: Sequence[str] = ()
) -> Fidelity:
    """Return the figures of a model; see :class:`Fidelity`."""
    cascade, layers = observed_cascade(model, split.features)
    wanted = split.features
    silence = _errors(torch.zeros_like(wanted), wanted)
    # A gate without an exit leaves silence.
    routed = cascade.logits.nan_to_num(0.0)
    error, left = _errors(routed, wanted).mean(), (routed - wanted).square().mean()
    by_path = path_errors(model, wanted)
    gates = len(model.gates)
    shares = torch.bincount(cascade.exit, minlength=gates + 1).double() / len(wanted)
    scale = silence.double().mean().clamp(min=1e-9)
    paths = 1 - by_path.double().mean(0) / scale
    return Fidelity(
        fidelity=float(1 - error.double() / scale),
        error=float(error),
        snr_db=10 * math.log10(max(1e-9, float(wanted.square().mean())) / max(1e-9, float(left))),
        shares=tuple(shares.tolist()),
        paths=tuple(paths.tolist()),
        random=float((shares * paths).sum()),
        passed=reach_by_kind(cascade.exit, split.kinds, kind_names, gates),
        by_class={
            name: float((cascade.exit[split.labels == i] < gates).double().mean())
            for i, name in enumerate(classes)
            if bool((split.labels == i).any())
        },
        layers=layers,
    )


@torch.no_grad()
def path_errors(model: GatedModel, features: Tensor) -> Tensor:
    """Return the error of every sample on every path, [N, gates + 1]: leaving at each gate, and nowhere."""
    model.eval()
    parts = []
    for batch in features.split(BATCH):
        output = model(channels_last(batch))
        ends = [torch.zeros_like(batch) if gate.exit is None else gate.exit for gate in output.gates]
        parts.append(torch.stack([waveform_errors(end, batch) for end in [*ends, output.logits]], 1))
    return torch.cat(parts)


def _errors(found: Tensor, wanted: Tensor) -> Tensor:
    pairs = zip(found.split(BATCH), wanted.split(BATCH), strict=True)
    return torch.cat([waveform_errors(a, b) for a, b in pairs])
