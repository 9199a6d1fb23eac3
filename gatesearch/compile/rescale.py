"""Pass: scales the outputs of a stage so that int8 resolves a gate's logit finely near its threshold.

The pass assumes a stage with samples, whose body is final. It replaces the stage's head. The new head makes the same
decisions, but exports a gate's logit only near its threshold, and class logits only above a floor. Any other output
stays as it is.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn
from torch.nn import functional as F

from gatesearch.compile.stage import StageGraph

HALF_WIDTH = 0.5  # half width of the exported part of a gate's logit, in standard deviations of the logit
LEAST_HALF_WIDTH = 1e-3
RANGE_MARGIN = 0.1  # margin beyond the logits of the samples, as a share of the half width
# The floor lies below all logits that can win by this share of their span, so that it suits unseen samples, too.
FLOOR_MARGIN = 0.2


class LogitWindow(nn.Module):
    """Gate head whose exported logit, from 0 to 6, covers only the neighbourhood of the threshold.

    A decision depends on the side of the threshold on which a sample lies, not on the distance. An int8 logit that
    spans from plain silence to plain speech would have few values near the threshold. The exported logit e represents
    the gate's logit center + (e - 3) half_width / 3. So e = 3 represents the center, which is usually the threshold. If
    a gate averages its logits over several hops, the exported logit covers the whole range instead.
    """

    def __init__(self, head: nn.Module, center: float, half_width: float) -> None:
        super().__init__()
        self.head, self.center, self.half_width = head, center, half_width

    @property
    def window(self) -> dict[str, float]:
        """Center and half width of the part of the logit that is exported."""
        return {"center": self.center, "half_width": self.half_width}

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Map the body's output to (passed, exported logit [N, 1])."""
        passed, logit = self.head(hidden)
        return passed, F.relu6((logit - self.center) * (3 / self.half_width) + 3)


class AboveFloor(nn.Module):
    """Head that returns relu(logits - lowest), so that no int8 values are spent on low logits.

    The class with the largest logit does not change.
    """

    def __init__(self, lowest: float) -> None:
        super().__init__()
        self.lowest = lowest

    def forward(self, logits: Tensor) -> Tensor:
        """Map class logits [N, classes]."""
        return F.relu(logits - self.lowest)


def rescale_head(stage: StageGraph) -> StageGraph:
    """Return the stage with a head whose output suits int8."""
    outputs = stage.body(stage.samples)
    if stage.threshold is not None:
        _, logit = stage.head(outputs)
        window = (
            _whole_range(logit, stage.threshold) if stage.averages_logits else _neighbourhood(logit, stage.threshold)
        )
        return replace(stage, head=LogitWindow(stage.head, *window))
    if outputs.ndim == 2:
        return replace(stage, head=AboveFloor(_lowest_that_matters(outputs)))
    return stage


def _neighbourhood(logit: Tensor, threshold: float) -> tuple[float, float]:
    """Return center and half width of a range around the threshold.

    A threshold outside the logits counts as the end of their range that is nearest to it. A center far away would give
    the exported logit a bias that is millions of times larger than its steps, and no int8 program can hold such a bias.
    """
    center = min(max(threshold, float(logit.min())), float(logit.max()))
    return center, max(LEAST_HALF_WIDTH, HALF_WIDTH * float(logit.std()))


def _whole_range(logit: Tensor, threshold: float) -> tuple[float, float]:
    """Return center and half width of a range that holds all logits, and the threshold if that lies near them.

    A threshold far away, or an infinite one, does not widen the range, because int8 would no longer tell the logits
    apart. It counts as the end of the range that is nearest to it.
    """
    low, high = float(logit.min()), float(logit.max())
    spread = high - low
    if low - spread <= threshold <= high + spread:
        low, high = min(low, threshold), max(high, threshold)
    return (low + high) / 2, max(LEAST_HALF_WIDTH, (1 + RANGE_MARGIN) * (high - low) / 2)


def _lowest_that_matters(logits: Tensor) -> float:
    """Return a bound that lies, by a margin, below the two largest logits of every sample."""
    top = logits.topk(min(2, logits.shape[1])).values
    return float(top.min() - FLOOR_MARGIN * (top.max() - top.min()))
