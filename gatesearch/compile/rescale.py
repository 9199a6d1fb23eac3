"""Pass: scales the outputs of a stage so that int8 steps are fine near the gate's threshold.

Assumes a stage whose body is as it will run, with samples. Guarantees a head that decides alike: a gate's logit is
exported around its threshold only, class logits above a floor only. Any other output stays as it is.
"""

from __future__ import annotations

import math
from dataclasses import replace

from torch import Tensor, nn
from torch.nn import functional as F

from gatesearch.compile.stage import StageGraph

HALF_WIDTH = 0.5  # of the exported logit, in standard deviations of the gate's logit
LEAST_HALF_WIDTH = 1e-3
FLOOR_MARGIN = 0.2  # of the span of the logits that matter, for samples that were not there


class LogitWindow(nn.Module):
    """Gate head whose logit fills the int8 range with the neighbourhood of its threshold: 0 to 6, the threshold at 3.

    How far a sample lies on its side of the threshold does not matter, and a logit that spans from plain silence to
    plain speech would leave the threshold between two coarse steps. The exported logit e stands for the gate's logit
    center + (e - 3) half_width / 3.
    """

    def __init__(self, head: nn.Module, center: float, half_width: float) -> None:
        super().__init__()
        self.head, self.center, self.half_width = head, center, half_width

    @property
    def window(self) -> dict[str, float]:
        """Center and half width of the part of the logit that is exported."""
        return {"center": self.center, "half_width": self.half_width}

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Map what the body gives to (passed, exported logit [N, 1])."""
        passed, logit = self.head(hidden)
        return passed, F.relu6((logit - self.center) * (3 / self.half_width) + 3)


class AboveFloor(nn.Module):
    """relu(logits - lowest): the largest stays the largest, and int8 steps are not spent on classes that cannot win."""

    def __init__(self, lowest: float) -> None:
        super().__init__()
        self.lowest = lowest

    def forward(self, logits: Tensor) -> Tensor:
        """Map class logits [N, classes]."""
        return F.relu(logits - self.lowest)


def rescale_head(stage: StageGraph) -> StageGraph:
    """Return the stage with the head that int8 needs."""
    outputs = stage.body(stage.samples)
    if stage.threshold is not None:
        _, logit = stage.head(outputs)
        center = stage.threshold if math.isfinite(stage.threshold) else float(logit.min())
        half_width = max(LEAST_HALF_WIDTH, HALF_WIDTH * float(logit.std()))
        return replace(stage, head=LogitWindow(stage.head, center, half_width))
    if outputs.ndim == 2:
        return replace(stage, head=AboveFloor(_lowest_that_matters(outputs)))
    return stage


def _lowest_that_matters(logits: Tensor) -> float:
    """Return a bound below winner and runner-up of every sample, with a margin."""
    top = logits.topk(min(2, logits.shape[1])).values
    return float(top.min() - FLOOR_MARGIN * (top.max() - top.min()))
