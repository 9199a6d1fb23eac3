"""What a gated model is worth, on the hard cascade (techniques section 0.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from typing import Any, Protocol

import torch
from torch import Tensor

from gatesearch.gates import CutGate
from gatesearch.model import Cascade, GatedModel
from gatesearch.training.features import FeatureSplit
from gatesearch.training.tensors import channels_last

BATCH = 256
LABELLED = ("accuracy", "accuracy_all_classes", "precision", "recall")


@dataclass(frozen=True, slots=True)
class Quality:
    """Figures of one model on one split.

    Args:
        accuracy: a positive must be given its own class; a negative is right where nothing is reported, whether a gate
            stopped it or the last stage called it any negative class. The ungated backbone is scored the same way.
        accuracy_all_classes: every class by itself; a stopped sample counts as the negative class that its gate mostly
            stops.
        precision: share of reported positives that are right.
        recall: share of positives that are reported as what they are.
        gate_recall: share of positives that pass every gate, GR.
        early_stop_rate: share of negatives, by class count of the split, that some gate stops, ES.
        gate_recalls: share of positives passing gate k of those that reached it, GR_k.
        passed: for each kind, the share that reaches stage k; the first entry is 1.
        layers: what each gate in the place of a layer observed over the samples that came to it, by site.
    """

    accuracy: float
    accuracy_all_classes: float
    precision: float
    recall: float
    gate_recall: float
    early_stop_rate: float
    gate_recalls: tuple[float, ...]
    passed: Mapping[str, tuple[float, ...]]
    layers: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def value(self) -> float:
        """The accuracy."""
        return self.accuracy

    def summary(self) -> dict[str, Any]:
        """Return the figures by the names of summary.json."""
        values = asdict(self)
        return {key: values[key] for key in LABELLED}

    def gated_summary(self) -> dict[str, Any]:
        """Return what its gates do, by the names of summary.json."""
        negatives = {kind: row for kind, row in self.passed.items() if kind != "positive"}
        return {
            "early_stop_rate": self.early_stop_rate,
            "early_stop_by_kind": {kind: 1 - row[-1] for kind, row in negatives.items()},
            "first_gate_stop_by_kind": {kind: 1 - row[1] for kind, row in negatives.items() if len(row) > 1},
            "gate_recall": self.gate_recall,
        }


@torch.no_grad()
def run_cascade(model: GatedModel, features: Tensor) -> Cascade:
    """Run the hard cascade over features [N, *shape] in batches."""
    model.eval()
    parts = [model.cascade(channels_last(batch)) for batch in features.split(BATCH)]
    return Cascade(*(torch.cat(column) for column in zip(*parts, strict=True)))


def observed_cascade(model: GatedModel, features: Tensor) -> tuple[Cascade, dict[str, dict[str, float]]]:
    """Run the hard cascade; return what each gate in the place of a layer observed in it, by site, as well."""
    for layer_gate in model.layer_gates.values():
        layer_gate.reset()
    cascade = run_cascade(model, features)
    return cascade, {site: dict(gate.report()) for site, gate in model.layer_gates.items()}


@torch.no_grad()
def gate_logits(model: GatedModel, features: Tensor) -> Tensor:
    """Return what every gate says of every sample, [N, gates], nothing being stopped."""
    model.eval()
    parts = []
    for batch in features.split(BATCH):
        output = model(channels_last(batch))
        parts.append(
            torch.stack([g.logit for g in output.gates], 1) if output.gates else batch.new_zeros(len(batch), 0)
        )
    return torch.cat(parts)


def calibrate(model: GatedModel, split: FeatureSplit, positive: Tensor) -> None:
    """Set every threshold on held-out data, gate by gate, each on the samples that the gates before it let through.

    Also notes for each gate the negative class that it mostly stops, which is the answer for a stopped sample.

    Args:
        model: changed in place.
        split: the validation split.
        positive: whether each class is a positive, [classes].
    """
    set_thresholds(model, gate_logits(model, split.features), split.labels, positive)


class Stopping(Protocol):
    """What decides about samples: the gates in order, and the class that each gives what it stops, [gates]."""

    @property
    def cut_gates(self) -> Sequence[CutGate]: ...  # noqa: D102

    @property
    def answers(self) -> Tensor: ...  # noqa: D102


def set_thresholds(model: Stopping, logits: Tensor, labels: Tensor, positive: Tensor) -> Tensor:
    """Do what :func:`calibrate` does from what the gates say, [N, gates]; return the gate at which each leaves, [N]."""
    exits = torch.full((len(labels),), len(model.cut_gates))
    is_positive = positive[labels]
    for k, gate in enumerate(model.cut_gates):
        reached = exits > k
        gate.calibrate(logits[reached, k], is_positive[reached])
        exits[reached & (logits[:, k] <= gate.theta)] = k
        model.answers[k] = most_stopped(labels[exits == k], labels[reached], positive)
    return exits


def heard(
    model: Stopping, logits: Tensor, said: Tensor, split: FeatureSplit, positive: Tensor, kind_names: Sequence[str]
) -> Quality:
    """Set thresholds and return the figures that follow, from what was computed of every sample, nothing stopped.

    Args:
        model: its thresholds and answers are set.
        logits: what every gate says, [N, gates].
        said: the class that the last stage gives, [N].
        split: whose samples these are.
        positive: whether each class is a positive, [classes].
        kind_names: names of the kinds.
    """
    exits = set_thresholds(model, logits, split.labels, positive)
    stopped, answers = exits < logits.shape[1], said.clone()
    answers[stopped] = model.answers[exits[stopped]]
    return quality(exits, answers, split.labels, positive, split.kinds, kind_names, logits.shape[1])


def most_stopped(stopped: Tensor, reached: Tensor, positive: Tensor) -> int:
    """Return the negative class of which the largest share of what arrived is stopped."""
    arrived = torch.bincount(reached, minlength=len(positive)).clamp(min=1)
    share = torch.bincount(stopped, minlength=len(positive)) / arrived
    share[positive] = -1.0
    return int(share.argmax())


def quality(
    exits: Tensor,
    predictions: Tensor,
    labels: Tensor,
    positive: Tensor,
    kinds: Tensor,
    kind_names: Sequence[str],
    gates: int,
) -> Quality:
    """Work out the figures from what a cascade, or an exported bundle, did.

    Args:
        exits: index of the gate that stopped each sample, ``gates`` where none did, [N].
        predictions: the class reported for each sample, [N]; for a stopped one the answer of its gate.
        labels: [N].
        positive: whether each class is a positive, [classes].
        kinds: index into ``kind_names`` of every sample, [N]; 0 is positive.
        kind_names: names of the kinds.
        gates: number of gates.

    >>> yes, no, noise = 0, 1, 2
    >>> q = quality(torch.tensor([1, 1, 0, 0, 1]), torch.tensor([yes, yes, noise, noise, noise]),
    ...             torch.tensor([yes, no, no, noise, noise]), torch.tensor([True, True, False]),
    ...             torch.tensor([0, 0, 0, 1, 1]), ["positive", "noise"], gates=1)
    >>> q.accuracy, q.recall, q.precision, round(q.gate_recall, 3), q.early_stop_rate
    (0.6, 0.3333333333333333, 0.5, 0.667, 0.5)
    """
    wanted = positive[labels]
    reported = positive[predictions] & (exits == gates)
    right_class = predictions == labels
    correct = torch.where(wanted, reported & right_class, ~reported)
    passed = reach_by_kind(exits, kinds, kind_names, gates)
    reach = passed[kind_names[0]]
    return Quality(
        accuracy=_share(correct),
        accuracy_all_classes=_share(right_class),
        precision=_share(right_class[reported]),
        recall=_share((reported & right_class)[wanted]),
        gate_recall=reach[-1],
        early_stop_rate=_share(exits[~wanted] < gates),
        gate_recalls=tuple(b / a if a else 0.0 for a, b in pairwise(reach)),
        passed=passed,
    )


def reach_by_kind(exits: Tensor, kinds: Tensor, kind_names: Sequence[str], gates: int) -> dict[str, tuple[float, ...]]:
    """Return for each kind the share of its samples that reaches stage k; see :func:`quality` for the arguments."""
    return {name: tuple(_share(exits[kinds == i] >= k) for k in range(gates + 1)) for i, name in enumerate(kind_names)}


def assess(model: GatedModel, split: FeatureSplit, positive: Tensor, kind_names: Sequence[str]) -> Quality:
    """Return the figures of a model on the hard cascade; see :func:`quality` for the arguments."""
    cascade, layers = observed_cascade(model, split.features)
    answers = predictions(cascade, model.answers)
    found = quality(cascade.exit, answers, split.labels, positive, split.kinds, kind_names, len(model.gates))
    return replace(found, layers=layers)


def predictions(cascade: Cascade, answers: Tensor) -> Tensor:
    """Return the class of every sample, [N]: the last stage's where it came so far, else its gate's answer."""
    result = cascade.logits.nan_to_num(-torch.inf).argmax(1)
    stopped = cascade.exit < len(answers)
    result[stopped] = answers[cascade.exit[stopped]]
    return result


def _share(flags: Tensor) -> float:
    return float(flags.double().mean()) if len(flags) else 0.0
