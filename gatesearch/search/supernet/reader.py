"""What any plan of a trained supernet is worth, from the longest beginning of it that was computed before."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from gatesearch.gates import CutGate
from gatesearch.plan import PlacedGate
from gatesearch.search.sampler.neighbours import Gates
from gatesearch.search.supernet.elastic import CALIBRATED
from gatesearch.search.supernet.network import Supernet, fitted
from gatesearch.training import FeatureSplit, Quality
from gatesearch.training.evaluate import heard
from gatesearch.training.tensors import channels_last

MEMORY = 2**30  # bytes of activations that are kept
BATCH = 128  # samples at a time; on a depthwise network a fifth faster than 256, and no slower than 64
FITTED = 128  # samples at most that normalisations take their statistics from


class Activations(NamedTuple):
    """Hidden values of the samples that normalisations are fitted to, and of those that are judged, in batches.

    ``logits`` is what each gate said of the latter, [N].
    """

    calibration: Tensor
    judged: tuple[Tensor, ...]
    logits: tuple[Tensor, ...] = ()

    @property
    def bytes(self) -> int:
        """Size in memory, of the hidden values."""
        return sum(values.numel() * values.element_size() for values in (self.calibration, *self.judged))


@dataclass(frozen=True)
class _Turned:
    cut_gates: Sequence[CutGate]
    answers: Tensor


class Reader:
    """Reads plans. The weights are frozen, so what a plan computes up to a site holds for all that begin alike.

    Args:
        net: trained; its normalisations are given the statistics of each plan in turn.
        split: by which plans are judged and thresholds set: validation.
        positive: whether each class is a positive, [classes].
        kind_names: names of the samples' kinds.
        calibration: training features [n, *shape]; normalisations take their statistics from the first of them.
        memory: bytes of activations to keep; the least recently used go first.
    """

    def __init__(
        self,
        net: Supernet,
        split: FeatureSplit,
        positive: Tensor,
        kind_names: Sequence[str],
        calibration: Tensor,
        memory: int = MEMORY,
    ) -> None:
        self._net, self._split, self._positive, self._names = net.eval(), split, positive, kind_names
        self._inputs = Activations(
            channels_last(calibration[:FITTED]), tuple(map(channels_last, split.features.split(BATCH)))
        )
        self._memory, self._kept = memory, OrderedDict[tuple[Gates, int], Activations]()
        self._said: dict[Gates, tuple[Tensor, Tensor]] = {}

    def __call__(self, gates: Gates) -> Quality:
        """Return the figures of a plan's gates, thresholds set as after a training."""
        program = tuple(map(_uncalibrated, gates))
        if program not in self._said:
            ended = self._behind(program, len(self._net.stages) - 1)
            said = torch.cat(ended.judged).argmax(1)
            logits = torch.stack(ended.logits, 1) if gates else torch.zeros(len(said), 0)
            self._said[program] = logits, said
        model = _Turned([self._net.turned(placed) for placed in gates], torch.zeros(len(gates), dtype=torch.long))
        return heard(model, *self._said[program], self._split, self._positive, self._names)

    def _behind(self, gates: Gates, k: int) -> Activations:
        """Return what leaves stage k behind these gates, of which one may stand right behind that stage."""
        found = self._kept.pop((gates, k), None)
        if found is None:
            if gates and self._net.order(gates[-1]) == k:
                found = self._through(cast(nn.Module, self._net.turned(gates[-1])), self._behind(gates[:-1], k))
            else:
                found = self._through(self._net.stages[k], self._behind(gates, k - 1) if k else self._inputs)
        self._kept[gates, k] = found  # the last of all
        while sum(one.bytes for one in self._kept.values()) > self._memory:
            self._kept.popitem(last=False)
        return found

    @torch.no_grad()
    def _through(self, part: nn.Module, entering: Activations) -> Activations:
        calibration = fitted(part, entering.calibration)
        judged = tuple(part(batch) for batch in entering.judged)
        if isinstance(calibration, Tensor):
            return Activations(calibration, judged, entering.logits)
        said = torch.cat([output.logit for output in judged])
        return Activations(calibration.passed, tuple(output.passed for output in judged), (*entering.logits, said))


def _uncalibrated(placed: PlacedGate) -> PlacedGate:
    """Return a gate without what only its calibration reads: it computes the same whatever that is."""
    kept = {name: value for name, value in placed.params if name not in CALIBRATED[placed.kind]}
    return PlacedGate.of(placed.kind, placed.site, **kept)
